"""Subscribers that stop reading, and connections that break in the middle of a line."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
import psutil
import pytest
import trio
import trio.testing

from pod_support import (
    TOKEN,
    WAIT_SECONDS,
    PodFixture,
    connected,
    living_pod,
    until_idle,
)
from pods.agents.turn import Turn
from pods.journal.retention import MIN_SEGMENT_BYTES, Retention
from pods.rpc.client import open_rpc
from pods.rpc.server import serve_unix
from pods.rpc.stream import UnixStream, connect_unix
from pods.rpc.unix import bind_unix
from pods.rpc.welcome import welcome
from pods_protocol.api import POD_API
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.codec import to_json
from pods_protocol.errors import NotConnected
from pods_protocol.pod_messages import GetStatus, Run

EVENTS = 100_000
BURST = 250
TEXT = {"text": "x" * 100}

MEMORY_BYTES = 12 * 1024 * 1024
"""What a reader that stands still may cost, allocator's waste included: it has 20 MB to read."""


async def echo(turn: Turn) -> None:
    await turn.text(turn.input)


def line(number: int, method: str, **params: Any) -> bytes:
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return orjson.dumps(request) + b"\n"


@asynccontextmanager
async def raw_subscriber(pod: PodFixture) -> AsyncGenerator[UnixStream, None]:
    """A connection that has subscribed, and then reads only when it is told to."""
    stream = await connect_unix(pod.spec.pod_socket)
    stream.send(line(1, "hello", token=TOKEN, protocol=PROTOCOL_VERSION) + line(2, "subscribe"))
    try:
        yield stream
    finally:
        stream.close()


async def lines_until(stream: UnixStream, last: int) -> bytes:
    """All that comes, up to the event of that seq."""
    received = bytearray()
    while not received.endswith(b"\n") or seqs(received[received.rfind(b"\n", 0, -1) :]) != [last]:
        piece = await stream.receive()
        assert piece, "the connection must last"
        received += piece
    return bytes(received)


def seqs(lines: bytes | bytearray) -> list[int]:
    """Seqs of the events in it; a hundred thousand of them should not take seconds."""
    return [int(one) for one in re.findall(rb'"params":\{"seq":(\d+),', lines)]


@pytest.mark.slow
async def test_a_reader_that_stands_still_costs_little_and_gets_all_of_it_once_it_reads(
    short_dir: str,
) -> None:
    async with living_pod(short_dir, echo) as pod, raw_subscriber(pod) as slow:
        assert pod.journal is not None
        journal = pod.journal
        first = journal.last_seq
        await lines_until(slow, first)
        before = psutil.Process().memory_info().rss
        for _ in range(EVENTS // BURST):  # as an agent writes that never waits for anybody
            journal.append_many([("text_delta", TEXT, None)] * BURST)
            await trio.lowlevel.checkpoint()
        assert psutil.Process().memory_info().rss - before < MEMORY_BYTES
        # Meanwhile nobody else waits: neither its agent nor another client.
        async with connected(pod) as other:
            await other.request(Run(input="still here", message_id="m"))
            await until_idle(other)
        found = seqs(await lines_until(slow, journal.last_seq))
        assert found == [*range(first + 1, journal.last_seq + 1)]
        assert len(found) > EVENTS


async def test_a_reader_whose_events_retention_took_is_told_and_goes_on(short_dir: str) -> None:
    retention = Retention(max_bytes=2 * MIN_SEGMENT_BYTES)
    block = {"text": "x" * 30_000}
    async with (
        living_pod(short_dir, echo, retention=retention) as pod,
        raw_subscriber(pod) as slow,
    ):
        journal = pod.journal
        assert journal is not None
        await lines_until(slow, journal.last_seq)
        for _ in range(300):
            journal.append("text", block)
            await trio.lowlevel.checkpoint()
        lines = (await lines_until(slow, journal.last_seq)).splitlines()
        found = [orjson.loads(one)["params"] for one in lines]
    (at,) = [index for index, one in enumerate(found) if one["type"] == "gap"]
    gap = found[at]["data"]
    assert found[at - 1]["seq"] == gap["first"] - 1
    assert found[at]["seq"] == gap["last"]
    after = [one["seq"] for one in found[at + 1 :]]
    assert after == [*range(gap["last"] + 1, journal.last_seq + 1)]


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_connection_that_breaks_in_the_middle_of_a_line_leaves_all_others(
    short_dir: str, end: str
) -> None:
    async with living_pod(short_dir, echo) as pod:
        events: list[Any] = []
        async with connected(pod, events=events) as other, raw_subscriber(pod) as broken:
            assert pod.journal is not None
            for _ in range(40):  # more than a socket holds: it stands still within a line
                pod.journal.append("text", {"text": "x" * 100_000})
            await trio.testing.wait_all_tasks_blocked()
            broken.send(b'{"jsonrpc":"2.0","id":3,"method":"ru')
            if end == "close":
                broken.close()
            else:
                broken._socket.shutdown(socket.SHUT_RDWR)  # pyright: ignore[reportPrivateUsage]  # as a crash would
            await other.request(Run(input="still here", message_id="m"))
            await until_idle(other)
            last = pod.journal.last_seq
            while not events or events[-1].seq < last:
                await trio.testing.wait_all_tasks_blocked()
        assert [event.seq for event in events] == [*range(1, events[-1].seq + 1)]
        async with connected(pod) as again:
            assert (await again.request(GetStatus())).state == "idle"


async def test_a_pod_that_breaks_off_in_the_middle_of_a_line_ends_that_connection_alone(
    short_dir: str,
) -> None:
    listener = bind_unix(f"{short_dir}/half")
    greeted = b'{"jsonrpc":"2.0","id":%d,"result":%b}\n'
    hello = orjson.dumps(to_json(welcome("pod", "worker", "1")))

    async def break_off(stream: UnixStream) -> None:
        request = orjson.loads(await stream.receive())
        stream.send(greeted % (request["id"], hello))
        await stream.receive()
        stream.send(b'{"jsonrpc":"2.0","id":2,"resu')

    async with living_pod(short_dir, echo) as pod, connected(pod) as whole:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_unix, listener, break_off, log=pod.log.append))
            with trio.fail_after(WAIT_SECONDS), pytest.raises(NotConnected):
                async with open_rpc(f"{short_dir}/half", POD_API, token=TOKEN) as client:
                    await client.request(GetStatus())
            nursery.cancel_scope.cancel()
        assert (await whole.request(GetStatus())).state == "idle"
    listener.close()
