"""A dead pod is never shown as a living one: whoever is late with its end is woken, or ended."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from pods.client import aio
from pods.keeper import record as keeper_record
from pods.rpc.client import open_rpc
from pods.scope.identity import identify
from pods.supervisor import keeper_link, launcher_link, overdue
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods.supervisor.processes import signal_process, wait_process_gone
from pods_protocol.events import Event
from pods_protocol.process_messages import KeeperStatus
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import SubscribeLifecycle
from pods_protocol.values import ProcessIdentity
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    left_in,
    supervisor_and_client,
    wait_process_ended,
)

WITHIN_SECONDS = 20.0
"""A crashed child is an event within a second; the rest is for a machine that does other things.
The end of one that nobody sees to is never told."""


def live_pod(supervisor: Supervisor, name: str = "p") -> LivePod:
    """What the supervisor holds of a pod."""
    return next(live for live in supervisor.pods.values() if live.name == name)


def keeper_of(supervisor: Supervisor, name: str = "p") -> ProcessIdentity:
    """A pod's keeper."""
    keeper = live_pod(supervisor, name).keeper_identity
    assert keeper is not None
    return keeper


def pod_of(supervisor: Supervisor, name: str = "p") -> int:
    """The pid of a pod's own process."""
    pid = live_pod(supervisor, name).pod_pid
    assert pid is not None
    return pid


@asynccontextmanager
async def idle_pod(
    environ: dict[str, str],
) -> AsyncGenerator[tuple[Supervisor, aio.PodsClient]]:
    """A supervisor with a pod `p` that has had a turn; nothing may be left of either."""
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(environ) as (supervisor, client):
            await client.spawn("p", prompt="echo hello")
            await client.wait("p")
            yield supervisor, client
    assert left_in(environ) == NOTHING


async def test_a_pod_that_was_killed_under_a_stopped_keeper_is_an_event_within_a_second(
    pods_environ: dict[str, str],
) -> None:
    async with idle_pod(pods_environ) as (supervisor, client):
        os.kill(keeper_of(supervisor).pid, signal.SIGSTOP)
        os.kill(pod_of(supervisor), signal.SIGKILL)
        answer = await client.wait("p", until="ended", timeout_seconds=WITHIN_SECONDS)
        assert not answer.timed_out
        found = await client.inspect("p")
        assert (found.pod.state, found.pod.last_turn is not None) == ("failed", True)
        assert "signal 9" in found.reason


async def test_a_pods_death_is_told_before_its_end_is_proven(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "PATIENCE_SECONDS", WAIT_SECONDS)  # nobody wakes the keeper
    told: list[object] = []
    dead = trio.Event()

    def take(_: str, event: object) -> None:
        if isinstance(event, Event) and event.type == "pod_state":
            told.append(event.data["state"])
            if event.data["state"] == "stopping":
                dead.set()

    async with idle_pod(pods_environ) as (supervisor, client):
        os.kill(keeper_of(supervisor).pid, signal.SIGSTOP)  # so that nobody proves it meanwhile
        async with open_rpc(
            supervisor.places.socket, SUPERVISOR_API, token=supervisor.token, on_notification=take
        ) as rpc:
            await rpc.request(SubscribeLifecycle())
            os.kill(pod_of(supervisor), signal.SIGKILL)
            await dead.wait()
            assert (await client.inspect("p")).pod.state == "stopping"
            assert told == ["stopping"]
        os.kill(keeper_of(supervisor).pid, signal.SIGCONT)
        await client.wait("p", until="ended")


async def test_a_dead_pod_is_not_idle_for_anybody_who_waits_for_that(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "PATIENCE_SECONDS", WAIT_SECONDS)  # nobody wakes the keeper
    async with idle_pod(pods_environ) as (supervisor, client):
        keeper, pod = keeper_of(supervisor), identify(pod_of(supervisor))
        os.kill(keeper.pid, signal.SIGSTOP)
        os.kill(pod.pid, signal.SIGKILL)
        await wait_process_gone(pod)
        while not live_pod(supervisor).dead:
            await trio.lowlevel.checkpoint()
        (row,) = (await client.list()).pods
        assert row.state == "stopping"
        assert (await client.wait("p", timeout_seconds=0.0)).timed_out
        os.kill(keeper.pid, signal.SIGCONT)
        answer = await client.wait("p", timeout_seconds=WITHIN_SECONDS)
        assert [outcome.state for outcome in answer.ready] == ["failed"]


async def test_a_stop_of_a_dead_pod_takes_no_grace(pods_environ: dict[str, str]) -> None:
    async with idle_pod(pods_environ) as (supervisor, client):
        os.kill(keeper_of(supervisor).pid, signal.SIGSTOP)
        os.kill(pod_of(supervisor), signal.SIGKILL)
        with trio.fail_after(WITHIN_SECONDS):
            await client.stop("p", grace_seconds=WAIT_SECONDS)


async def test_a_paused_pod_that_is_killed_under_a_stopped_keeper_ends(
    pods_environ: dict[str, str],
) -> None:
    async with idle_pod(pods_environ) as (supervisor, client):
        await client.pause("p")
        os.kill(keeper_of(supervisor).pid, signal.SIGSTOP)
        os.kill(pod_of(supervisor), signal.SIGKILL)
        answer = await client.wait("p", until="ended", timeout_seconds=WITHIN_SECONDS)
        assert not answer.timed_out


async def test_a_keeper_that_cannot_be_woken_is_killed_and_its_launcher_is_the_witness(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(keeper_link, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("pods.supervisor.overdue.signal_process", _unheard)
    async with idle_pod(pods_environ) as (supervisor, client):
        os.kill(keeper_of(supervisor).pid, signal.SIGSTOP)
        os.kill(pod_of(supervisor), signal.SIGKILL)
        answer = await client.wait("p", until="ended", timeout_seconds=WITHIN_SECONDS)
        assert [outcome.state for outcome in answer.ready] == ["lost"]


async def test_the_end_of_a_keeper_is_heard_of_though_the_launcher_is_stopped(
    pods_environ: dict[str, str],
) -> None:
    async with idle_pod(pods_environ) as (supervisor, client):
        launcher = supervisor.launcher.identity
        assert launcher is not None
        os.kill(launcher.pid, signal.SIGSTOP)
        os.kill(keeper_of(supervisor).pid, signal.SIGKILL)
        answer = await client.wait("p", until="ended", timeout_seconds=WITHIN_SECONDS)
        assert [outcome.state for outcome in answer.ready] == ["lost"]
        assert supervisor.launcher.identity == launcher


async def test_a_launcher_that_cannot_be_woken_is_killed_and_another_one_started(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher_link, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(launcher_link, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("pods.supervisor.launcher_link.signal_process", _unheard)
    async with idle_pod(pods_environ) as (supervisor, client):
        launcher = supervisor.launcher.identity
        assert launcher is not None
        os.kill(launcher.pid, signal.SIGSTOP)
        os.kill(keeper_of(supervisor).pid, signal.SIGKILL)
        answer = await client.wait("p", until="ended", timeout_seconds=WITHIN_SECONDS)
        assert not answer.timed_out
        await client.spawn("q", agent="echo")
        assert supervisor.launcher.identity != launcher


def _unheard(identity: ProcessIdentity, number: int) -> bool:
    """Send a signal where somebody stops the process again and again."""
    return number != signal.SIGCONT and signal_process(identity, number)


@pytest.mark.slow
@pytest.mark.parametrize("stopped", ["keeper", "launcher"])
async def test_the_next_supervisor_shows_no_dead_pod_as_idle(
    pods_environ: dict[str, str], stopped: str
) -> None:
    with trio.fail_after(2 * WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                await client.spawn("p", prompt="echo hello")
                await client.wait("p")
                pod = (await client.inspect("p")).pod.pid
                launcher = (await client.doctor()).supervisor.launcher_pid
                assert pod is not None
                assert launcher is not None
            os.kill(process.pid, signal.SIGKILL)
            await wait_process_ended(process)
        keeper = parent_pid(pod)
        if stopped == "keeper":
            os.kill(keeper, signal.SIGSTOP)
            os.kill(pod, signal.SIGKILL)
        else:
            os.kill(launcher, signal.SIGSTOP)
            os.kill(keeper, signal.SIGKILL)
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                answer = await client.wait("p", until="idle", timeout_seconds=WITHIN_SECONDS)
                ended = "failed" if stopped == "keeper" else "lost"
                assert [outcome.state for outcome in answer.ready] == [ended]
                await client.shutdown(stop_pods=True)
            assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


def parent_pid(pid: int) -> int:
    """The parent of a process."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


async def test_what_a_keeper_cannot_write_of_a_pods_end_it_is_asked_for(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "PATIENCE_SECONDS", 0.05)
    async with idle_pod(pods_environ) as (supervisor, client):
        # Nobody writes there any more, as on a disk that refuses; the journal goes on.
        os.mkdir(f"{live_pod(supervisor).directory}/{keeper_record.FILE_NAME}")
        os.kill(pod_of(supervisor), signal.SIGKILL)
        answer = await client.wait("p", until="ended", timeout_seconds=WITHIN_SECONDS)
        assert [outcome.state for outcome in answer.ready] == ["failed"]
        assert "signal 9" in (await client.inspect("p")).reason


async def test_what_a_keeper_has_said_counts_though_its_own_end_is_heard_of_first(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "PATIENCE_SECONDS", 0.05)
    async with idle_pod(pods_environ) as (supervisor, client):
        live, ask = live_pod(supervisor), keeper_link.ask_keeper

        async def heard_late(*given: Any) -> Any:
            answer = await ask(*given)
            if isinstance(answer, KeeperStatus) and answer.exit is not None:
                await supervisor.launcher.wait_ended(live.id)  # it ends once it has answered
                await trio.testing.wait_all_tasks_blocked()
            return answer

        monkeypatch.setattr(keeper_link, "ask_keeper", heard_late)
        os.mkdir(f"{live.directory}/{keeper_record.FILE_NAME}")  # so that it cannot write it
        os.kill(pod_of(supervisor), signal.SIGKILL)
        answer = await client.wait("p", until="ended", timeout_seconds=WITHIN_SECONDS)
        assert [outcome.state for outcome in answer.ready] == ["failed"]


async def test_doctor_names_a_pod_whose_end_is_overdue(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with idle_pod(pods_environ) as (supervisor, client):
        keeper = keeper_of(supervisor)
        monkeypatch.setattr("pods.supervisor.overdue.signal_process", _unheard)
        monkeypatch.setattr(overdue, "PATIENCE_SECONDS", 0.05)
        os.kill(keeper.pid, signal.SIGSTOP)
        os.kill(pod_of(supervisor), signal.SIGKILL)
        while not live_pod(supervisor).overdue:
            await trio.lowlevel.checkpoint()
        (problem,) = (await client.doctor()).problems
        assert (problem.code, problem.fixed) == ("end_overdue", False)
        assert f"process {keeper.pid}" in problem.message
        monkeypatch.undo()
        (mended,) = (await client.doctor(fix=True)).problems
        assert (mended.code, mended.fixed) == ("end_overdue", True)
        assert (await client.inspect("p")).pod.state == "failed"
