"""Limits that are crossed for real: what ends, as what, and that nothing of it is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from limit_support import MIB, assert_ended_by, end_of
from pods.client import aio
from pods.client.pod_handle import Pod
from pods.supervisor.core import Supervisor
from pods_protocol.errors import CapacityReached
from pods_protocol.values import Limits
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client

HOG = """exec python3 -c '
import time
held = [b"x" * (8 << 20) for _ in range(40)]
time.sleep(1000)
'"""
"""Far over any limit here, and no danger to the machine where it is late to look."""
GLUTTON = "python3 -c 'b\"x\" * (200 << 20)'; true"
DETACHED = "for i in $(seq 15); do setsid sleep 1000 & done; wait"
ATTACHED = "for i in $(seq 15); do sleep 1000 & done; wait"


async def turn_of(client: aio.PodsClient, name: str, prompt: str, limits: Limits) -> dict[str, Any]:
    """Let a new pod of these limits do this; how its turn ended."""
    pod = await client.spawn(name, prompt=prompt, limits=limits)
    return await end_of(pod, "turn_ended")


async def test_a_turn_that_crosses_a_limit_ends_as_limit_and_the_pod_goes_on(
    pods_environ: dict[str, str],
) -> None:
    cases = (
        ("memory", HOG, Limits(memory_bytes=64 * MIB), "memory_bytes"),
        ("gone", GLUTTON, Limits(memory_bytes=64 * MIB), "memory_bytes"),
        ("forks", ATTACHED, Limits(processes=8), "processes"),
        ("flood", "yes", Limits(output_bytes=20_000), "output_bytes"),
    )
    async with supervisor_and_client(pods_environ) as (_, client):
        for name, prompt, limits, crossed in cases:
            with trio.fail_after(WAIT_SECONDS):
                end = await turn_of(client, name, prompt, limits)
                assert (end["stop_reason"], end.get("limit")) == ("limit", crossed), name
                assert "over the limit" in end["message"]
                pod = client.pod(name)
                assert (await pod.turn("echo still here")).stop_reason == "end_turn", name
                seen = await pod.inspect()
                assert seen.held_limits[0].name == crossed
        with trio.fail_after(WAIT_SECONDS):
            said = [one async for one in _texts(client.pod("flood"))]
            assert sum(map(len, said)) < 20_000 + len("still here\n")
    assert left_in(pods_environ) == NOTHING


async def _texts(pod: Pod) -> AsyncIterator[str]:
    since = 0
    while True:
        page = await pod.read(since=since)
        for event in page.events:
            if event.type == "text_delta":
                yield event.data["text"]
        if not page.truncated:
            return
        since = page.next


async def test_a_pod_that_crosses_a_limit_ends_with_all_its_processes_and_says_which(
    pods_environ: dict[str, str],
) -> None:
    cases = (
        ("wall", "sleep 1000", Limits(wall_seconds=3.0), "wall_seconds"),
        ("idle", None, Limits(idle_seconds=2.0), "idle_seconds"),
        ("detached", DETACHED, Limits(processes=8), "processes"),
    )
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        for name, prompt, limits, crossed in cases:
            with trio.fail_after(WAIT_SECONDS):
                pod = await client.spawn(name, prompt=prompt, limits=limits)
                await assert_ended_by(supervisor, pod, crossed)
                if prompt is not None:
                    end = await end_of(pod, "turn_ended")
                    assert (end["stop_reason"], end["limit"]) == ("limit", crossed)
                    record = supervisor.table.named(name)
                    assert record is not None
                    assert record.last_turn is not None
                    assert record.last_turn.limit == crossed
                assert (await client.inspect(name)).reason.startswith(f"limit {crossed}")
    assert left_in(pods_environ) == NOTHING


async def test_no_turn_beyond_the_limit_is_accepted_and_a_child_gets_no_more_than_is_left(
    pods_environ: dict[str, str],
) -> None:
    limits = Limits(turns=4, wall_seconds=600, open_files=200)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("lead", limits=limits)
            await pod.turn("true")
            async with _as_pod(supervisor, "lead") as lead:
                with pytest.raises(CapacityReached) as caught:
                    await lead.spawn("greedy", limits=Limits(turns=4))
                assert caught.value.data["limit_name"] == "turns"
                assert (caught.value.data["asked"], caught.value.data["left"]) == (4, 3)
                child = await lead.spawn("child", limits=Limits(open_files=100))
                given = (await client.inspect("child")).limits
                assert (given.turns, given.open_files) == (2, 100)
                assert given.wall_seconds is not None
                assert 0 < given.wall_seconds < 600
                await child.turn("true")
                await lead.stop("child")
                await lead.remove("child")
                with pytest.raises(CapacityReached) as caught:
                    await lead.spawn("again", limits=Limits(turns=3))
                assert caught.value.data["left"] == 2, "what a child used stays used"
            for _ in range(3):
                await pod.turn("true")
            with pytest.raises(CapacityReached, match="do not retry"):
                await pod.turn("true")


async def test_a_child_gets_nothing_of_what_its_parent_takes_itself(
    pods_environ: dict[str, str],
) -> None:
    limits = Limits(processes=12, memory_bytes=256 * MIB)
    crowd = "for i in 1 2 3 4; do setsid sleep 1000 & done"
    holds = 'import time; x = b"x" * (64 << 20); open("held", "w").close(); time.sleep(1000)'
    held = f"cd $TMPDIR; mkfifo held; setsid python3 -c '{holds}' & read line < held"
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("lead", limits=limits)
            await pod.turn(f"{crowd}\n{held}")
            async with _as_pod(supervisor, "lead") as lead:
                with pytest.raises(CapacityReached) as caught:
                    await lead.spawn("greedy", limits=Limits(processes=8))
                assert (caught.value.data["limit_name"], caught.value.data["left"]) == (
                    "processes", 7
                )  # fmt: skip
                await lead.spawn("child")
                given = (await client.inspect("child")).limits
                assert given.processes == 4, "half of what is left"
                assert given.memory_bytes is not None
                assert 16 * MIB < given.memory_bytes < (256 - 64) * MIB / 2
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_is_restored_only_into_what_its_parent_has_left(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("lead", limits=Limits(processes=10, turns=10))
            async with _as_pod(supervisor, "lead") as lead:
                first = await lead.spawn("first", limits=Limits(processes=6, turns=3))
                await first.turn("true")
                await lead.stop("first")
                await lead.spawn("second", limits=Limits(processes=6, turns=6))
                with pytest.raises(CapacityReached, match="stop a child") as caught:
                    await lead.restore("first")
                assert caught.value.data == {
                    "limit_name": "processes", "limit": 10, "in_use": 6, "asked": 6, "left": 4
                }  # fmt: skip
                await lead.stop("second")
                await lead.spawn("third", limits=Limits(processes=4, turns=7))
                await lead.restore("first")
    assert left_in(pods_environ) == NOTHING


def _as_pod(supervisor: Supervisor, name: str) -> Any:
    """A client with the authority of that pod."""
    record = supervisor.table.named(name)
    assert record is not None
    return aio.connect_socket(supervisor.places.socket, supervisor.pods[record.id].token)
