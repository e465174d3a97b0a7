"""Ends in the worst order: a launcher replaced, a disk that refuses, an asker that goes away."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import trio
import trio.testing

from pods.client import aio
from pods.journal.fold import PodFold
from pods.journal.store import Journal, JournalWriter
from pods.records.events import reserved_data
from pods.records.table import PodTable
from pods.rpc.client import RpcClient
from pods.scope.identity import identify, is_alive
from pods.scope.landlock import abi_version
from pods.scope.leases import Lease
from pods.scope.registry import ScopeRegistry
from pods.supervisor import kill, own_launcher, spawn, watch
from pods.supervisor.core import Supervisor
from pods.supervisor.launcher_process import LauncherProcess, start_launcher
from pods.supervisor.live import LivePod
from pods.supervisor.processes import wait_process_gone
from pods_protocol.errors import NotConnected, StorageFailed
from pods_protocol.events import Event
from pods_protocol.pod_messages import HelloResult
from pods_protocol.process_messages import PodSpec
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ProcessIdentity, ScopeGrant
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    each_once,
    left_in,
    places_of,
    refuse_events,
    spawn_trouble,
    supervisor_and_client,
    wait_process_ended,
)


async def test_a_pod_of_an_earlier_launcher_is_buried_when_its_keeper_is_killed(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("old")
            keeper = _live(supervisor, "old").keeper_identity
            launcher = supervisor.launcher.pid
            assert keeper is not None
            assert launcher is not None
            os.kill(launcher, signal.SIGKILL)
            await client.spawn("new")
            assert supervisor.launcher.pid != launcher
            os.kill(keeper.pid, signal.SIGKILL)
            await client.wait("old", until="ended")
            assert (await client.inspect("old")).pod.state == "lost"
    assert left_in(pods_environ) == NOTHING


async def test_a_spawn_goes_on_with_the_next_launcher_where_one_dies_before_it_took_it_up(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("old")
            launcher = supervisor.launcher.pid
            assert launcher is not None
            os.kill(launcher, signal.SIGSTOP)  # so that the request waits in its socket
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.spawn, "new")
                while len(supervisor.pods) < 2 or not _live(supervisor, "new").launch_asked:
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked()
                os.kill(launcher, signal.SIGKILL)
            assert supervisor.launcher.pid != launcher
            assert (await client.inspect("new")).pod.state == "idle"
    assert left_in(pods_environ) == NOTHING


@pytest.mark.skipif(abi_version() < 6, reason="without signal domains there is no guard")
async def test_what_a_killed_keeper_leaves_is_ended_though_its_launcher_was_killed_before(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            stray, lease = await _leave_a_stray(supervisor.registry, client)
            assert lease.holder is not None
            os.kill(lease.holder.pid, signal.SIGKILL)
            await client.wait("old", until="ended")
            assert not is_alive(stray)
    assert left_in(pods_environ) == NOTHING


@pytest.mark.slow
@pytest.mark.skipif(abi_version() < 6, reason="without signal domains there is no guard")
async def test_it_is_ended_also_where_all_was_paused_and_no_supervisor_was_there(
    pods_environ: dict[str, str],
) -> None:
    with trio.fail_after(WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                registry = ScopeRegistry(places_of(pods_environ, "test").places.registry)
                stray, lease = await _leave_a_stray(registry, client)
                await client.pause("old")
        await wait_process_ended(process)
        assert lease.holder is not None
        os.kill(lease.holder.pid, signal.SIGKILL)
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            assert (await client.inspect("old")).pod.state == "lost"
            assert not is_alive(stray)
            launcher = supervisor.launcher.identity
            assert launcher is not None
        await wait_process_gone(launcher)  # it was another supervisor's child
    assert left_in(pods_environ) == NOTHING


async def _leave_a_stray(
    registry: ScopeRegistry, client: aio.PodsClient
) -> tuple[ProcessIdentity, Lease]:
    """A program that a pod left running, and the pod's lease once its keeper has a guard."""
    await client.spawn("old", prompt="setsid sleep 1000 > /dev/null 2>&1 & echo $!")
    await client.wait("old")
    stray = identify(int(await client.read_text("old", since=0)))
    launcher = _lease(registry).guardian
    assert launcher is not None
    os.kill(launcher.pid, signal.SIGKILL)
    await client.spawn("new")
    while (lease := _lease(registry)).guardian == launcher:
        await trio.lowlevel.checkpoint()  # the guard is entered in a moment, and nobody tells
    assert lease.guardian is not None
    assert is_alive(lease.guardian)
    return stray, lease


def _lease(registry: ScopeRegistry) -> Lease:
    return next(one for one in registry.read().leases.values() if one.name == "old")


async def test_the_keeper_of_an_earlier_launcher_ends_its_tree_itself_however_late_it_hears(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill, "KILL_SECONDS", 2.0)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("old", prompt="setsid sleep 1000 > /dev/null 2>&1 & echo $!")
            await client.wait("old")
            stray = int(await client.read_text("old", since=0))
            keeper, launcher = _live(supervisor, "old").keeper_identity, supervisor.launcher.pid
            assert keeper is not None
            assert launcher is not None
            os.kill(launcher, signal.SIGKILL)
            await client.spawn("new")
            os.kill(keeper.pid, signal.SIGSTOP)
            assert (await client.stop("old", mode="kill")).step == "kill"
            with pytest.raises(ProcessLookupError):
                os.kill(stray, 0)
    assert left_in(pods_environ) == NOTHING


async def test_nothing_is_left_of_a_pod_whose_launcher_was_killed_before_it_could_tell_of_it(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        launch = supervisor.launcher.launch

        async def unanswered(spec: PodSpec) -> None:
            await launch(spec)
            launcher = supervisor.launcher.pid
            assert launcher is not None
            os.kill(launcher, signal.SIGKILL)
            while supervisor.launcher.connected:
                await trio.lowlevel.checkpoint()
            raise NotConnected("cannot go on: the connection ended; connect again", peer="launcher")

        monkeypatch.setattr(supervisor.launcher, "launch", unanswered)
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(NotConnected):
                await client.spawn("one")
            assert left_in(pods_environ)["leases"] == []
            monkeypatch.setattr(supervisor.launcher, "launch", launch)
            await client.spawn("one")
    assert left_in(pods_environ) == NOTHING


async def test_a_launcher_ends_with_its_supervisor_though_the_link_between_them_broke(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one")
            await client.stop("one")
            await (await supervisor.launcher.ensure()).aclose()
    assert left_in(pods_environ) == NOTHING


@pytest.mark.parametrize("kind", ["pod_stopping", "pod_ended"])
async def test_a_pod_is_stopped_and_remembered_while_the_supervisors_disk_refuses(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one")
            refuse_events(monkeypatch, each_once(kind))
            stopped = await client.stop("one")
            assert (stopped.step, stopped.state) == ("shutdown", "stopped")
            assert (await client.inspect("one")).pod.state == "stopped"
            await client.remove("one")
    assert left_in(pods_environ) == NOTHING


async def test_a_spawn_that_was_cut_off_is_rolled_back_though_the_disk_refused_at_the_start(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "FIRST_ROLLBACK_RETRY_SECONDS", 0.001)
    state = places_of(pods_environ, "test").state
    for directory in (pods_environ["PODS_STATE_DIR"], os.path.dirname(state), state):
        os.mkdir(directory, 0o700)
    with Journal.open(f"{state}/journal") as journal:
        request = SpawnPod(name="one")
        given: dict[str, Any] = {"parent_id": None, "cwd": "/", "replaces": None}
        data = reserved_data(
            request, pod_id="0123456789ab", grant=ScopeGrant(), on_parent_exit="keep", **given
        )
        journal.append("pod_reserved", data, durable=True)
    append, left = JournalWriter[PodTable].append, ["spawn_failed"]

    def refusing(
        journal: JournalWriter[PodTable],
        type: str,  # noqa: A002 - its name
        *given: Any,
        **named: Any,
    ) -> Event:
        if type in left:
            left.remove(type)
            raise StorageFailed("cannot write: the disk is full; free some", path="", errno=28)
        return append(journal, type, *given, **named)

    monkeypatch.setattr(JournalWriter, "append", refusing)
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            while (await client.list()).pods:
                pass  # nobody announces it
            await client.spawn("one")
    assert left_in(pods_environ) == NOTHING


async def test_a_dead_pods_journal_is_ended_once_the_disk_takes_it(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STORAGE_RETRY_SECONDS", 0.001)
    append, left = JournalWriter[PodFold].append_many, [1, 1]

    def refusing(journal: JournalWriter[PodFold], *given: Any, **named: Any) -> list[Event]:
        if left and "/pods/" in journal.directory:
            left.pop()
            raise StorageFailed("cannot write: the disk is full; free some", path="", errno=28)
        return append(journal, *given, **named)

    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", prompt="exec sleep 1000")
            monkeypatch.setattr(JournalWriter, "append_many", refusing)
            pid = _live(supervisor, "one").pod_pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await client.wait("one", until="ended")
            kinds = [event.type for event in (await client.read("one", since=0)).events]
            assert kinds[-2:] == ["turn_ended", "stopped"]
            assert (await client.inspect("one")).pod.state == "failed"
    assert left_in(pods_environ) == NOTHING


async def test_a_launcher_that_a_killed_supervisor_had_just_started_is_taken_over(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = list[LauncherProcess]()

    def beaten(*given: Any) -> LauncherProcess:
        if not others:
            others.append(start_launcher(*given))
            with open(others[0].ready, "rb") as ready:
                assert ready.readline() == b"ready\n"
        return start_launcher(*given)

    monkeypatch.setattr(own_launcher, "start_launcher", beaten)
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            assert supervisor.launcher.pid == others[0].pid
            await client.spawn("one")
        await trio.to_thread.run_sync(others[0].wait, abandon_on_cancel=True)
    assert left_in(pods_environ) == NOTHING


async def test_a_launcher_that_comes_up_while_its_supervisor_leaves_ends_with_it(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        launcher, starting = supervisor.launcher.pid, trio.Event()

        def noted(*given: Any) -> LauncherProcess:
            process = start_launcher(*given)
            trio.from_thread.run_sync(starting.set)
            return process

        monkeypatch.setattr(own_launcher, "start_launcher", noted)
        assert launcher is not None
        os.kill(launcher, signal.SIGKILL)
        with trio.fail_after(WAIT_SECONDS):
            await starting.wait()
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_is_stopped_while_the_supervisor_greets_it_anew(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one")
            live, hello, greeting = _live(supervisor, "one"), RpcClient.hello, trio.Event()

            async def noted(rpc: RpcClient, *given: Any, **named: Any) -> HelloResult:
                greeting.set()
                return await hello(rpc, *given, **named)

            monkeypatch.setattr(RpcClient, "hello", noted)
            assert live.pod_pid is not None
            assert live.pod is not None
            os.kill(live.pod_pid, signal.SIGSTOP)  # so that it does not answer
            await live.pod.aclose()
            await greeting.wait()
            assert (await client.stop("one", grace_seconds=0.2)).step != "shutdown"
    assert left_in(pods_environ) == NOTHING


async def test_who_waits_for_a_pod_is_woken_though_the_supervisors_link_to_it_broke(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    go = f"{short_dir}/go"
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", prompt=f"until [ -e {go} ]; do sleep 0.02; done")
            link = _live(supervisor, "one").pod
            assert link is not None
            await link.aclose()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.wait, "one")
                while not _live(supervisor, "one").watchers:
                    await trio.lowlevel.checkpoint()
                os.mkdir(go)
            assert (await client.inspect("one")).pod.state == "idle"
    assert left_in(pods_environ) == NOTHING


async def test_a_shutdown_goes_on_when_its_asker_goes_away(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await spawn_trouble(client, short_dir, "stubborn", "Stubborn")
            async with aio.connect_socket(supervisor.places.socket, supervisor.token) as asker:

                async def ask() -> None:
                    await asker.shutdown(stop_pods=True, grace_seconds=0.3)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask)
                    while not supervisor.closed_to_spawns:
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            await supervisor.leaving.wait()
            assert not supervisor.table.living()
    assert left_in(pods_environ) == NOTHING


def _live(supervisor: Supervisor, name: str) -> LivePod:
    return next(live for live in supervisor.pods.values() if live.name == name)
