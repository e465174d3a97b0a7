"""The connection to an ACP agent's process, with agents that ask on and never listen."""

from __future__ import annotations

import os
import sys

import pytest
import trio

from pod_support import WAIT_SECONDS
from pods.agents.acp import connection as connection_module
from pods.agents.acp.connection import AcpConnection
from pods.agents.acp.peer import METHOD_NOT_FOUND, Asked, Told

FLOOD = """
import json, os, select, sys
line = b'{"jsonrpc":"2.0","id":%d,"method":"x","params":{}}\\n'
sent = 0
while sent < 50_000 and select.select([], [1], [], 0.5)[1]:
    sent += 1
    os.write(1, line % sent)
heard = 0
while heard < sent:
    sys.stdin.readline()
    heard += 1
os.write(1, json.dumps({"jsonrpc": "2.0", "method": "heard", "params": {"n": heard}}).encode())
os.write(1, b"\\n")
sys.stdin.read()
"""
"""Asks until nobody reads on, then reads all answers."""


class Refusing:
    """Refuses what is asked, and notes how much waits to be sent."""

    def __init__(self, connection: AcpConnection) -> None:
        self.connection = connection
        self.asked_for = self.most = 0
        self.heard: dict[str, int] = {}
        self.done = trio.Event()

    def told(self, told: Told) -> None:
        self.heard = told.params
        self.done.set()

    def asked(self, asked: Asked) -> None:
        self.asked_for += 1
        self.connection.refuse(asked, METHOD_NOT_FOUND, "no" * 50)

    def pause(self) -> None:
        peer = self.connection._peer  # pyright: ignore[reportPrivateUsage]  # the buffer itself
        self.most = max(self.most, peer.unsent)


async def test_an_agent_that_reads_no_answer_is_not_heard_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "MAX_UNSENT_BYTES", 100_000)
    monkeypatch.setattr(connection_module, "RECEIVE_BYTES", 4096)
    connection = AcpConnection([sys.executable, "-c", FLOOD], cwd="/", env=dict(os.environ))
    listener = connection.listener = Refusing(connection)
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            await listener.done.wait()
            await connection.close()
    assert listener.most < 200_000
    assert listener.heard == {"n": listener.asked_for}


async def test_an_agent_that_closed_its_input_is_still_heard_and_seen_to_end() -> None:
    line = b'{"id":%d,"method":"x"}\n'
    words = f"import os; os.close(0); [os.write(1, {line!r} % n) for n in range(9)]"
    connection = AcpConnection([sys.executable, "-c", words], cwd="/", env=dict(os.environ))
    listener = connection.listener = Refusing(connection)
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            await connection.ended.wait()
    assert listener.asked_for == 9


async def test_words_that_cannot_be_understood_any_more_are_why_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = "import sys; sys.stdout.write('x' * 40_000_000); sys.stdout.flush(); sys.stdin.read()"
    connection = AcpConnection([sys.executable, "-c", words], cwd="/", env=dict(os.environ))
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            await connection.ended.wait()
    assert "33554432" in connection.describe_end()
