"""A lease ends with the pod's whole tree: not with the keeper that was killed above it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from attrs import evolve

from pods.keeper.record import read_guard
from pods.scope.identity import identify
from pods.scope.landlock import abi_version
from pods.scope.leases import Lease
from pods.scope.registry import ScopeRegistry
from pods.scope.table import Table
from pods.supervisor import acts, guards, launcher_link
from pods.supervisor.core import Supervisor
from pods.supervisor.processes import wait_process_gone
from pods_protocol.errors import ScopeConflict, StorageFailed
from pods_protocol.values import ProcessIdentity
from scope_support import lease, lend
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, places_of, supervisor_and_client

Operation = Callable[[Table], tuple[Table, Any]]


def _keeper(supervisor: Supervisor, name: str) -> ProcessIdentity:
    found = next(live for live in supervisor.pods.values() if live.name == name).keeper_identity
    assert found is not None
    return found


async def test_a_killed_keepers_scope_is_nobodys_until_the_launcher_has_cleared_its_tree(
    pods_environ: dict[str, str], short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher_link, "PATIENCE_SECONDS", WAIT_SECONDS)  # nobody wakes it but us
    async with (
        supervisor_and_client(pods_environ, "one") as (one, owner),
        supervisor_and_client(pods_environ, "two") as (_, other),
    ):
        with trio.fail_after(WAIT_SECONDS):
            os.mkdir(f"{short_dir}/w")
            await owner.spawn("first", cwd=short_dir, write=[f"{short_dir}/w"])
            launcher, keeper = one.launcher.pid, _keeper(one, "first")
            assert launcher is not None
            os.kill(launcher, signal.SIGSTOP)  # the instant before it has swept, held open
            try:
                os.kill(keeper.pid, signal.SIGKILL)
                await wait_process_gone(keeper)  # a zombie: who would reap it is stopped
                with pytest.raises(ScopeConflict):
                    await other.spawn("second", cwd=short_dir, write=[f"{short_dir}/w"])
            finally:
                os.kill(launcher, signal.SIGCONT)
            await owner.wait("first", until="ended")
            await other.spawn("second", cwd=short_dir, write=[f"{short_dir}/w"])
    assert left_in(pods_environ) == NOTHING


@pytest.mark.skipif(abi_version() < 6, reason="without signal domains there is no guard")
async def test_a_guard_is_entered_however_late_its_keeper_hears_of_the_launchers_end(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("old")
            (pod_id,) = supervisor.pods
            keeper, launcher = _keeper(supervisor, "old"), supervisor.launcher.identity
            assert launcher is not None
            os.kill(keeper.pid, signal.SIGSTOP)
            os.kill(launcher.pid, signal.SIGKILL)
            await client.spawn("new")  # by another launcher: whoever has a guard by now is entered
            os.kill(keeper.pid, signal.SIGCONT)
            while (guardian := supervisor.registry.read().leases[pod_id].guardian) == launcher:
                await trio.lowlevel.checkpoint()  # it is entered in a moment, and nobody tells
            assert guardian == read_guard(supervisor.places.pod_runtime(pod_id))
    assert left_in(pods_environ) == NOTHING


async def test_a_lease_that_a_full_disk_kept_is_given_back_once_there_is_room(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acts, "FIRST_RELEASE_RETRY_SECONDS", 0.001)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one")
            transact = supervisor.registry.transact_many
            refusals = [1, 1, 1]
            written, token = trio.Event(), trio.lowlevel.current_trio_token()

            def full(operations: Sequence[Operation]) -> list[Any]:
                if refusals:
                    refusals.pop()
                    raise StorageFailed("cannot write: the disk is full", path="", errno=28)
                outcomes = transact(operations)
                token.run_sync_soon(written.set)
                return outcomes

            monkeypatch.setattr(supervisor.registry, "transact_many", full)
            await client.stop("one")
            await written.wait()
            assert supervisor.registry.read().leases == {}
    assert left_in(pods_environ) == NOTHING


async def test_a_supervisor_gives_back_the_leases_of_pods_that_the_one_before_it_buried(
    pods_environ: dict[str, str],
) -> None:
    registry = ScopeRegistry(places_of(pods_environ, "test").places.registry)
    mine, others = _left_by("test"), _left_by("another")
    registry.transact_many([lend(mine), lend(others)])
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        assert list(supervisor.registry.read().leases) == [others.pod_id]
        registry.transact(lambda table: (table.release(others.pod_id), None))
    assert left_in(pods_environ) == NOTHING


async def test_such_leases_are_given_back_also_where_the_disk_was_full_at_the_start(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acts, "FIRST_RELEASE_RETRY_SECONDS", 0.001)
    registry = ScopeRegistry(places_of(pods_environ, "test").places.registry)
    registry.transact_many([lend(_left_by("test"))])
    transact, refusals = ScopeRegistry.transact_many, [1, 1]
    written, token = trio.Event(), trio.lowlevel.current_trio_token()

    def full(registry: ScopeRegistry, operations: Sequence[Operation]) -> list[Any]:
        if refusals:
            refusals.pop()
            raise StorageFailed("cannot write: the disk is full", path="", errno=28)
        outcomes = transact(registry, operations)
        token.run_sync_soon(written.set)
        return outcomes

    monkeypatch.setattr(ScopeRegistry, "transact_many", full)
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        with trio.fail_after(WAIT_SECONDS):
            await written.wait()
            assert supervisor.registry.read().leases == {}


async def test_the_end_of_a_pod_that_was_adopted_without_a_lease_is_noticed_under_any_launcher(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "read_guard", _no_guard)  # as on a kernel without signal domains
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("older", agent="echo")
            launcher, changed = supervisor.launcher.pid, supervisor.launcher.changed
            assert launcher is not None
            os.kill(launcher, signal.SIGKILL)
            await changed.wait()
            assert supervisor.launcher.pid != launcher
            await client.spawn("newer", agent="echo")
            for name in ("older", "newer"):
                live = next(live for live in supervisor.pods.values() if live.name == name)
                live.launcher = None  # all that adoption knows where the registry has no lease
                os.kill(_keeper(supervisor, name).pid, signal.SIGKILL)
                await client.wait(name, until="ended")
                assert (await client.inspect(name)).pod.state == "lost"
    assert left_in(pods_environ) == NOTHING


def _no_guard(runtime_directory: str) -> None:
    del runtime_directory


def _left_by(supervisor: str) -> Lease:
    """A lease whose keeper has ended while its launcher lives: here, this very process."""
    me = identify(os.getpid())
    held = lease(f"pod-of-{supervisor}", holder=evolve(me, start_ticks=1))
    return evolve(held, supervisor=supervisor, guardian=me)
