"""What changes between doctor's look and its mending: it mends what is still so, nothing else."""

from __future__ import annotations

import os
import signal
from typing import cast

import pytest
import trio
from attrs import evolve

from pods.client import aio
from pods.rpc.server import Session
from pods.scope.leases import Lease
from pods.supervisor.authority import Caller
from pods.supervisor.core import Supervisor
from pods.supervisor.findings import Finding, find_in_leases, find_missing_leases
from pods.supervisor.live import LivePod
from pods_protocol.pod_messages import HelloResult
from pods_protocol.values import RestartPolicy
from scope_support import lease, lend, me, pending, release
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    left_in,
    refuse_events,
    supervisor_and_client,
)

OWNER = Caller(pod_id=None, session=cast("Session", None))


def _of_nobody(pod_id: str, parent: str | None = None) -> Lease:
    """A lease of a pod that `test` does not know; it does not lapse by itself."""
    dead = lease(pod_id, parent=parent, holder=evolve(me(), start_ticks=1))
    return evolve(dead, supervisor="test", guardian=me())


async def _codes(client: aio.PodsClient, *, fix: bool = False) -> list[str]:
    return [problem.code for problem in (await client.doctor(fix=fix)).problems]


def _held(supervisor: Supervisor, pod_id: str) -> Lease | None:
    return supervisor.registry.read().leases.get(pod_id)


async def _mend(findings: list[Finding]) -> str:
    (finding,) = findings
    assert finding.mend is not None
    return await finding.mend()


async def test_a_dead_childs_lease_is_released_though_its_parents_went_just_before(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await supervisor.registry_worker.submit(lend(_of_nobody("above")))
            await supervisor.registry_worker.submit(lend(_of_nobody("below", "above")))
            assert await _codes(client, fix=True) == ["dead_lease", "dead_lease"]
            assert await _codes(client) == []
    assert left_in(pods_environ) == NOTHING


async def test_a_lease_that_was_taken_anew_meanwhile_is_left_and_doctor_says_so(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        with trio.fail_after(WAIT_SECONDS):
            worker = supervisor.registry_worker
            await worker.submit(lend(_of_nobody("one")))
            table = supervisor.registry.read()
            findings = find_in_leases(supervisor, OWNER, table, [])
            anew = evolve(pending("one"), supervisor="test")
            await worker.submit(lambda table: (table.retake(anew), None))
            assert await _mend(findings) == "left the lease of pod one: it is another's by now"
            held = _held(supervisor, "one")
            assert held is not None
            assert held.pending_nonce == anew.pending_nonce
            await worker.submit(release("one"))
    assert left_in(pods_environ) == NOTHING


async def test_a_dead_pod_whose_end_the_disk_refuses_misses_no_lease_and_gets_none(
    pods_environ: dict[str, str], short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pods.supervisor.watch.STORAGE_RETRY_SECONDS", 0.001)
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            os.mkdir(f"{short_dir}/w")
            await client.spawn("one", agent="echo", cwd=short_dir, write=[f"{short_dir}/w"])
            room, refused = _refuse_ends(monkeypatch)
            keeper = (await client.inspect("one")).keeper_pid
            assert keeper is not None
            os.kill(keeper, signal.SIGKILL)
            await refused.wait()
            assert await _codes(client, fix=True) == []
            await client.spawn("two", agent="echo", cwd=short_dir, write=[f"{short_dir}/w"])
            room.set()
            await client.wait("one", until="ended")
            assert await _codes(client) == []
    assert left_in(pods_environ) == NOTHING


async def test_a_lease_is_not_taken_anew_for_a_pod_that_is_in_its_next_life_by_then(
    pods_environ: dict[str, str], short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            os.mkdir(f"{short_dir}/w")
            await client.spawn(
                "one",
                agent="echo",
                cwd=short_dir,
                write=[f"{short_dir}/w"],
                restart=RestartPolicy(when="on-failure", limit=1),
            )
            (live,) = supervisor.pods.values()
            await supervisor.registry_worker.submit(release(live.id))
            findings = find_missing_leases(supervisor, OWNER, {live.id})
            adopted, go_on = _hold_greetings(monkeypatch, supervisor)
            assert live.keeper_identity is not None
            os.kill(live.keeper_identity.pid, signal.SIGKILL)
            await adopted.wait()
            assert await _mend(findings) == "left pod one: it is between two lives or has ended"
            go_on.set()
            async with client.events("one", kinds=("restarted",)) as stream:
                await anext(aiter(stream))
            await client.wait("one")
            held = _held(supervisor, live.id)
            assert held is not None
            assert (held.is_pending, held.holder) == (False, live.keeper_identity)
            assert await _codes(client) == []
    assert left_in(pods_environ) == NOTHING


def _refuse_ends(monkeypatch: pytest.MonkeyPatch) -> tuple[trio.Event, trio.Event]:
    """Let the supervisor's journal refuse ends until the first event; the second: it has done."""
    room, refused = trio.Event(), trio.Event()

    def refuses(kind: str) -> bool:
        refusing = kind == "pod_ended" and not room.is_set()
        if refusing:
            refused.set()
        return refusing

    refuse_events(monkeypatch, refuses)
    return room, refused


def _hold_greetings(
    monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor
) -> tuple[trio.Event, trio.Event]:
    """Greet no pod before the second event; the first: one that waits for it has its lease."""
    adopted, go_on = trio.Event(), trio.Event()
    connect = LivePod.connect_pod

    async def greeting_late(live: LivePod, nursery: trio.Nursery, path: str) -> HelloResult:
        while (held := _held(supervisor, live.id)) is None or held.is_pending:
            await trio.lowlevel.checkpoint()
        adopted.set()
        await go_on.wait()
        return await connect(live, nursery, path)

    monkeypatch.setattr(LivePod, "connect_pod", greeting_late)
    return adopted, go_on
