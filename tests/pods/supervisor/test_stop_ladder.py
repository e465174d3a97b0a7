"""Stopping pods that do not want to, and noticing those that end by themselves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from pods.client import aio
from pods.journal.reader import iterate
from pods.supervisor import doctor, own_launcher, stop
from pods.supervisor.core import Supervisor
from pods.supervisor.findings import Finding, find_in_launcher
from pods.supervisor.launcher_process import LauncherProcess, start_launcher
from pods.supervisor.live import LivePod
from pods_protocol.supervisor_messages import StopPodResult
from pods_protocol.values import PodInfo, StopMode
from supervisor_support import (
    BUSY,
    NOTHING,
    WAIT_SECONDS,
    acting_as,
    left_in,
    spawn_trouble,
    supervisor_and_client,
    wait_text,
)

GRACE = 0.3
"""For pods that do not mean to end: short enough to climb the ladder in a test."""


@pytest.fixture
def sigterm_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked by a signal gets long to end: how long that takes a machine is its affair."""
    step: Callable[..., Awaitable[bool]] = vars(stop)["_step"]

    async def patient(live: LivePod, act: Callable[[], Awaitable[None]], grace: float) -> bool:
        return await step(live, act, WAIT_SECONDS if live.step == "terminate" else grace)

    monkeypatch.setattr(stop, "_step", patient)


@pytest.mark.usefixtures("sigterm_has_time")
async def test_a_pod_that_hears_nothing_is_ended_by_sigterm(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await spawn_trouble(client, short_dir, "deaf", "Deaf")
            stopped = await client.stop("deaf", grace_seconds=GRACE)
            assert (stopped.step, stopped.state) == ("terminate", "stopped")
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_that_ignores_everything_is_killed_and_its_turn_is_lost(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await spawn_trouble(client, short_dir, "stubborn", "Stubborn")
            stopped = await client.stop("stubborn", grace_seconds=GRACE)
            assert (stopped.step, stopped.state) == ("kill", "stopped")
            events = (await client.read("stubborn", since=0)).events
            assert [event.type for event in events[-2:]] == ["turn_ended", "stopped"]
            assert events[-2].data["stop_reason"] == "lost"
    assert left_in(pods_environ) == NOTHING


async def test_a_stopped_process_is_stopped_too(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("frozen")
            pid = _row(pod).pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            stopped = await client.stop("frozen", grace_seconds=GRACE)
            assert stopped.step in ("terminate", "kill")
            assert stopped.state == "stopped"
    assert left_in(pods_environ) == NOTHING


async def test_several_stops_share_one_ladder_and_a_kill_makes_it_short(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        answers: list[StopPodResult] = []

        async def ask(mode: StopMode) -> None:
            answers.append(await client.stop("stubborn", mode=mode, grace_seconds=600))

        with trio.fail_after(WAIT_SECONDS):
            await spawn_trouble(client, short_dir, "stubborn", "Stubborn")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "now")
                nursery.start_soon(ask, "now")
                while (await client.inspect("stubborn")).pod.state != "stopping":
                    await trio.lowlevel.checkpoint()
                nursery.start_soon(ask, "kill")
            assert [answer.step for answer in answers] == ["kill"] * 3
    assert left_in(pods_environ) == NOTHING


async def test_a_stop_goes_on_when_its_asker_goes_away(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await spawn_trouble(client, short_dir, "deaf", "Deaf")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(client.stop, "deaf", grace_seconds=GRACE))
                while (await client.inspect("deaf")).pod.state != "stopping":
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            done = await client.wait("deaf", until="ended")
            assert done.ready[0].state == "stopped"
    assert left_in(pods_environ) == NOTHING


async def test_finish_lets_the_running_turn_end(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", prompt="echo begun; sleep 0.3; echo done")
            await wait_text(client, "one", "begun")
            stopped = await client.stop("one", mode="finish", grace_seconds=10)
            assert stopped.step == "shutdown"
            assert await client.read_text("one", since=0) == "begun\ndone\n"


async def test_a_pod_killed_from_outside_is_noticed_and_its_turn_is_lost(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", prompt=BUSY)
            await wait_text(client, "one", "up")
            pid = _row(pod).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            done = await client.wait("one", until="ended")
            assert done.ready[0].state == "failed"
            assert done.ready[0].last_turn is not None
            assert done.ready[0].last_turn.stop_reason == "lost"
            found = (await client.inspect("one")).pod
            assert found.exit is not None
            assert (found.exit.status, found.exit.reason) == (-9, "signalled")
            assert found.exit.survivors_killed >= 1
            assert supervisor.registry.read().leases == {}
            kinds = [event.type for event in iterate(found.journal)]
            assert kinds[-2:] == ["turn_ended", "stopped"]
    assert left_in(pods_environ) == NOTHING


async def test_a_keeper_killed_from_outside_takes_its_pod_along(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", prompt=BUSY)
            await wait_text(client, "one", "up")
            keeper = (await client.inspect("one")).keeper_pid
            assert keeper is not None
            os.kill(keeper, signal.SIGKILL)
            done = await client.wait("one", until="ended")
            assert done.ready[0].state == "lost"
            assert (await client.stop("one")).step == "already_ended"
    assert left_in(pods_environ) == NOTHING


async def test_a_killed_launcher_is_replaced_and_its_pods_can_be_stopped(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    def look(supervisor: Supervisor) -> list[Finding]:
        found = find_in_launcher(supervisor)
        looked.set()
        return found

    def held(*given: Any) -> LauncherProcess:
        assert looked.wait(WAIT_SECONDS)
        return start_launcher(*given)

    monkeypatch.setattr(doctor, "find_in_launcher", look)

    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("old")
            launcher = supervisor.launcher.pid
            assert launcher is not None
            monkeypatch.setattr(own_launcher, "start_launcher", held)
            os.kill(launcher, signal.SIGKILL)
            while supervisor.launcher.connected:
                await trio.lowlevel.checkpoint()
            assert "launcher_unreachable" in {p.code for p in (await client.doctor()).problems}
            await client.spawn("new")
            assert supervisor.launcher.pid != launcher
            assert (await client.stop("old")).state == "stopped"
            assert (await client.stop("new")).state == "stopped"
    assert left_in(pods_environ) == NOTHING


async def test_children_go_with_their_parent_or_pass_to_its_parent(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            top = await client.spawn("top")
            async with acting_as(supervisor.places.socket, top) as parent:
                middle = await parent.spawn("middle")
                async with acting_as(supervisor.places.socket, middle) as child:
                    await child.spawn("leaf")
                    await child.spawn("kept", on_parent_exit="keep")
                names = [row.name for row in (await parent.list()).pods]
                assert names == ["middle", "leaf", "kept"]
            stopped = await client.stop("middle")
            assert stopped.stopped_descendants == ("leaf",)
            rows = {row.name: row for row in (await client.list()).pods}
            assert rows["leaf"].state == rows["middle"].state == "stopped"
            assert rows["kept"].state != "stopped"
            assert rows["kept"].parent == "top"
            pid = rows["top"].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)  # an end by itself settles children as a stop does
            await client.wait("top", until="ended")
            (kept,) = list((await client.list(ended=False)).pods)
            assert (kept.name, kept.parent) == ("kept", None)
    assert left_in(pods_environ) == NOTHING


def _row(pod: aio.Pod) -> PodInfo:
    assert pod.spawned is not None
    return pod.spawned.pod
