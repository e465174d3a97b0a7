"""What a pod tells its keeper, and what becomes of that where nobody listens."""

from __future__ import annotations

import socket

import pytest
import trio

from pod_support import WAIT_SECONDS, PodFixture, connected, living_pod, until_idle
from pods.agents.turn import Turn
from pods.pod import server as server_module
from pods.pod.turn_marks import BEGINS, GOES_ON, HELD, NONE, OVER, TurnMarks
from pods_protocol.pod_messages import Run


def test_each_thing_that_is_told_is_one_byte_in_order() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        marks = TurnMarks(theirs)
        marks.no_turn()
        marks.turn_begins()
        marks.turn_over()
        marks.hold(held=True)
        marks.hold(held=False)
        assert ours.recv(99) == NONE + BEGINS + OVER + HELD + GOES_ON


def test_a_keeper_that_does_not_read_misses_nothing_but_hears_that_there_is_no_more() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        marks = TurnMarks(theirs)
        for _ in range(100_000):
            marks.turn_begins()
            marks.no_turn()
        heard = bytearray()
        while found := ours.recv(65536):
            heard += found
        assert heard in ((BEGINS + NONE) * (len(heard) // 2 + 1))[: len(heard)]


async def test_a_turn_is_over_for_the_keeper_though_the_disk_refuses_its_end(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STORAGE_RETRY_SECONDS", 0.01)
    pods: list[PodFixture] = []

    async def agent(_: Turn) -> None:
        pods[0].disk.full = True

    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with living_pod(short_dir, agent, tells=theirs) as pod, connected(pod) as client:
            pods.append(pod)
            assert ours.recv(99) == NONE
            await client.request(Run(input="x"))
            with trio.fail_after(WAIT_SECONDS):
                await pod.complained.wait()
            assert ours.recv(99) == BEGINS + OVER
            pod.disk.full = False
            await until_idle(client)
            with trio.fail_after(WAIT_SECONDS):
                await trio.lowlevel.wait_readable(ours)
            assert ours.recv(99) == NONE
