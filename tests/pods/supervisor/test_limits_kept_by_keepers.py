"""Limits that a pod does not see to itself: its keeper does, which no program of it reaches."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from limit_support import MIB, assert_ended_by, end_of
from pods_protocol.values import Limits, RestartPolicy
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    left_in,
    supervisor_and_client,
    wait_text,
)
from supervisor_support import wait_process_ended as ended

pytestmark = pytest.mark.slow

HALT = "kill -STOP $PPID; sleep 1000"
HALT_AGAIN = "while :; do kill -STOP $PPID; sleep 0.02; done"
WEDGED = "supervisor_support:Wedged"
"""Of this agent a pod never sees to its turn's time, also where that is over before the program has
begun to halt it."""
LATE_FORKS = """cd $TMPDIR; mkfifo over; setsid sh -c '
read line < over
for i in $(seq 20); do sleep 1000 & done
wait' &"""
LATE_HOG = """cd $TMPDIR; mkfifo over; setsid python3 -c '
import time
open("over").read()
held = b"x" * (100 << 20)
time.sleep(1000)
' > /dev/null 2>&1 &"""
LATE_HOPPER = """cd $TMPDIR; mkfifo over; python3 -S -E -c '
import ctypes, os, sys, time
fork = ctypes.PyDLL(None).fork
if os.fork():
    sys.exit()
os.setsid()
for number in range(3):
    os.dup2(os.open("/dev/null", os.O_RDWR), number)
end = time.monotonic() + 3
while time.monotonic() < end:
    if fork():
        os._exit(0)
open("over").read()
for _ in range(20):
    if not os.fork():
        break
time.sleep(1000)
'"""
"""Its child goes on and itself ends, so that a list of processes often misses it; then it stays.

These three go over a limit once they are told, in `over`, that the turn has ended.
"""


async def test_a_program_that_halts_its_pod_gains_no_time_for_its_turn(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", prompt=HALT, limits=Limits(turn_seconds=0.5))
            end = await end_of(pod, "turn_ended")
            assert (end["stop_reason"], end["limit"]) == ("timeout", "turn_seconds")
            assert (await pod.turn("echo still here")).stop_reason == "end_turn"
    assert left_in(pods_environ) == NOTHING


async def test_a_program_that_halts_its_pod_gains_no_time_for_the_pod(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", prompt=HALT, limits=Limits(wall_seconds=3))
            await assert_ended_by(supervisor, pod, "wall_seconds")
            end = await end_of(pod, "turn_ended")
            assert (end["stop_reason"], end["limit"]) == ("limit", "wall_seconds")
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_that_is_halted_again_and_again_is_ended_and_not_started_again(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn(
                "one",
                agent=WEDGED,
                prompt=HALT_AGAIN,
                limits=Limits(turn_seconds=0.2),
                restart=RestartPolicy(when="on-failure"),
            )
            await assert_ended_by(supervisor, pod, "turn_seconds")
            end = await end_of(pod, "turn_ended")
            assert (end["stop_reason"], end["limit"]) == ("timeout", "turn_seconds")
            assert "over the limit of 0.2 s" in end["message"]
            seen = await client.inspect("one")
            assert seen.pod.exit is not None
            assert (seen.pod.exit.limit, seen.restarts.total) == ("turn_seconds", 0)
    assert left_in(pods_environ) == NOTHING


async def test_the_time_of_a_paused_pod_is_over_when_it_is_over(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            limits = Limits(wall_seconds=5, turn_seconds=2)
            pod = await client.spawn("one", prompt="echo up; sleep 1000", limits=limits)
            await wait_text(client, "one", "up")
            assert (await pod.pause()).how == "tree"
            await assert_ended_by(supervisor, pod, "wall_seconds")
    assert left_in(pods_environ) == NOTHING


@pytest.mark.parametrize(
    ("prompt", "limits", "crossed"),
    [
        (LATE_FORKS, Limits(processes=5), "processes"),
        (LATE_HOG, Limits(memory_bytes=64 * MIB), "memory_bytes"),
        (LATE_HOPPER, Limits(processes=5), "processes"),
    ],
)
async def test_what_a_turn_leaves_running_is_counted_after_it(
    pods_environ: dict[str, str], prompt: str, limits: Limits, crossed: str
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", prompt=prompt, limits=limits)
            assert (await end_of(pod, "turn_ended"))["stop_reason"] == "end_turn"
            (pod_id,) = supervisor.pods
            over = Path(supervisor.places.pod_runtime(pod_id), "tmp", "over")
            await trio.to_thread.run_sync(over.write_text, "yes\n", abandon_on_cancel=True)
            await assert_ended_by(supervisor, pod, crossed)
    assert left_in(pods_environ) == NOTHING


async def test_what_is_forked_while_the_pod_stands_still_is_counted(
    pods_environ: dict[str, str],
) -> None:
    prompt = "kill -STOP $PPID; for i in $(seq 20); do sleep 1000 & done; wait"
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", prompt=prompt, limits=Limits(processes=8))
            end = await end_of(pod, "turn_ended")
            assert (end["stop_reason"], end["limit"]) == ("limit", "processes")
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_of_another_interpreter_is_watched_as_well(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn(
                "one", prompt=HALT, limits=Limits(turn_seconds=0.5), python=sys.executable
            )
            end = await end_of(pod, "turn_ended")
            assert (end["stop_reason"], end["limit"]) == ("timeout", "turn_seconds")
    assert left_in(pods_environ) == NOTHING


async def test_a_limit_needs_no_supervisor_and_the_next_one_says_what_ended_the_pod(
    pods_environ: dict[str, str],
) -> None:
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            limits = Limits(turn_seconds=0.2)
            await client.spawn("one", agent=WEDGED, prompt=HALT_AGAIN, limits=limits)
            keeper = (await client.inspect("one")).keeper_pid
            assert keeper is not None
            descriptor = os.pidfd_open(keeper)
            process.kill()
        await ended(process)
    with trio.fail_after(WAIT_SECONDS):
        await trio.lowlevel.wait_readable(descriptor)
    os.close(descriptor)
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                row = (await client.list()).pods[0]
                assert row.last_turn is not None
                assert (row.state, row.last_turn.limit) == ("failed", "turn_seconds")
                assert (await client.inspect("one")).reason.startswith("limit turn_seconds: over")
                await client.shutdown(stop_pods=True)
        assert await ended(process) == 0
