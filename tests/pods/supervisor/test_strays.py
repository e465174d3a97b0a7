"""What a dead pod's programs left, though all that should have ended it were killed with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio
from attrs import evolve

from leftover_support import plant_row
from pods.client import aio
from pods.paths import Places
from pods.scope.identity import identify, is_alive
from pods.scope.leases import Lease
from pods.scope.registry import ScopeRegistry
from pods.supervisor import processes, strays
from pods.supervisor.checkup import Checkup
from pods.supervisor.processes import wait_process_gone
from pods.supervisor.strays import (
    Carrier,
    carriers_of,
    end_after_leases,
    end_carriers,
    find_carriers,
    kill_carrier,
)
from pods_protocol.supervisor_messages import Problem
from pods_protocol.values import ProcessIdentity, RestartPolicy
from process_support import wait_for
from scope_support import lease, lend, me
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    left_in,
    supervisor_and_client,
    wait_process_ended,
)

POD = "0123456789ab"
LEAVE = "setsid sleep 1000 > /dev/null 2>&1 & echo $!"


@contextmanager
def carrying(places: Places, **changes: str) -> Generator[ProcessIdentity]:
    """A process that was started as a program of `POD` is; ended on the way out."""
    environ = {
        "PODS_ID": POD,
        "PODS_RUNTIME_DIR": places.runtime,
        "PODS_STATE_DIR": places.state,
        "TMPDIR": f"{places.runtime}/one/{POD}/tmp",
        **changes,
    }
    process = subprocess.Popen(["/bin/sleep", "1000"], env=environ)
    try:
        # The kernel lets Popen go on before it has put the environment where it is read.
        wait_for(lambda: _environ(process.pid), "it has no environment")
        yield identify(process.pid)
    finally:
        process.kill()
        process.wait()


def _environ(pid: int) -> bytes:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()


def look(places: Places, *, fix: bool = False) -> dict[str, Problem]:
    """What is found, by code; nothing may be started."""

    def start(_: object) -> None:
        raise AssertionError("nothing may be started here")

    return {problem.code: problem for problem in Checkup(places, fix, start).run()}


async def _leave_a_stray(client: aio.PodsClient, pod: str = "p") -> ProcessIdentity:
    await client.wait(pod)
    return identify(int(await client.read_text(pod, since=0)))


async def test_a_lease_is_kept_until_what_its_pod_left_is_ended_though_all_witnesses_were_killed(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("p", prompt=LEAVE, cwd=short_dir, write=[f"{short_dir}/w"])
            stray = await _leave_a_stray(client)
            (live,) = supervisor.pods.values()
            keeper, launcher = live.keeper_identity, supervisor.launcher.identity
            assert keeper is not None
            assert launcher is not None
            os.kill(keeper.pid, signal.SIGSTOP)  # so that it does not get to fork a guard
            os.kill(launcher.pid, signal.SIGKILL)
            os.kill(keeper.pid, signal.SIGKILL)
            await client.wait("p", until="ended")
            assert not is_alive(stray)
            await client.spawn("q", agent="echo", cwd=short_dir, write=[f"{short_dir}/w"])
    assert left_in(pods_environ) == NOTHING


@pytest.mark.slow
async def test_a_pod_that_is_started_again_meets_nothing_of_its_life_before(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("p", prompt=LEAVE, restart=RestartPolicy(when="on-failure"))
            stray = await _leave_a_stray(client)
            (live,) = supervisor.pods.values()
            keeper, launcher = live.keeper_identity, supervisor.launcher.identity
            assert keeper is not None
            assert launcher is not None
            os.kill(keeper.pid, signal.SIGSTOP)
            os.kill(launcher.pid, signal.SIGKILL)
            os.kill(keeper.pid, signal.SIGKILL)
            async with client.events("p", kinds=("restarted",)) as stream:
                await anext(stream)
            assert not is_alive(stray)
            await client.stop("p")
    assert left_in(pods_environ) == NOTHING


@pytest.mark.slow
async def test_the_next_supervisor_ends_it_as_well(pods_environ: dict[str, str]) -> None:
    with trio.fail_after(2 * WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                await client.spawn("p", prompt=LEAVE)
                stray = await _leave_a_stray(client)
                keeper = (await client.inspect("p")).keeper_pid
                launcher = (await client.doctor()).supervisor.launcher_pid
                assert keeper is not None
                assert launcher is not None
            os.kill(process.pid, signal.SIGKILL)
            await wait_process_ended(process)
        os.kill(keeper, signal.SIGSTOP)
        os.kill(launcher, signal.SIGKILL)
        os.kill(keeper, signal.SIGKILL)
        async with supervisor_and_client(pods_environ) as (_, client):
            assert (await client.inspect("p")).pod.state == "lost"
            assert not is_alive(stray)
    assert left_in(pods_environ) == NOTHING


async def test_a_living_supervisors_doctor_names_and_ends_it(
    pods_environ: dict[str, str], places: Places
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("p", agent="echo")
            assert pod.spawned is not None
            pod_id = pod.spawned.pod.id
            with carrying(places, PODS_ID=pod_id) as stray:
                assert (await client.doctor()).problems == ()  # of a living pod
                assert await trio.to_thread.run_sync(look, places) == {}
                await client.stop("p")
                (problem,) = (await client.doctor()).problems
                assert (problem.code, problem.fixed) == ("stray_process", False)
                assert f"process {stray.pid}: started by pod p" in problem.message
                assert await trio.to_thread.run_sync(look, places) == {}, (
                    "its supervisor tells of it, and ends it"
                )
                (mended,) = (await client.doctor(fix=True)).problems
                assert (mended.fix, mended.fixed) == (f"ended process {stray.pid}", True)
                assert not is_alive(stray)
            assert (await client.doctor()).problems == ()
    assert left_in(pods_environ) == NOTHING


def test_what_a_pod_of_a_dead_supervisor_left_is_named_and_ended(places: Places) -> None:
    plant_row(places, "one", POD, "old", ended=True)
    os.makedirs(places.pod_state(POD), mode=0o700)
    with carrying(places) as first, carrying(places, TMPDIR="/tmp") as second:
        problem = look(places)["stray_process"]
        assert "started by pod old" in problem.message
        assert {str(first.pid), str(second.pid)} <= set(problem.fix.split())
        assert look(places, fix=True)["stray_process"].fixed
        assert not is_alive(first)
        assert not is_alive(second)
    assert "stray_process" not in look(places)


def test_so_is_what_a_pod_left_that_was_forgotten(places: Places) -> None:
    with carrying(places) as stray:
        assert "nobody knows any more" in look(places)["stray_process"].message
        assert look(places, fix=True)["stray_process"].fixed
        assert not is_alive(stray)


@pytest.mark.parametrize(
    "changes",
    [
        # As of a supervisor that was started inside of a pod, with directories of its own.
        {"TMPDIR": "/tmp/elsewhere"},
        {"PODS_RUNTIME_DIR": "/elsewhere", "PODS_STATE_DIR": "/elsewhere"},
        {"PODS_ID": "../../etc"},
    ],
)
def test_what_may_be_somebody_elses_is_left_alone(places: Places, changes: dict[str, str]) -> None:
    with carrying(places, **changes) as process:
        assert look(places, fix=True) == {}
        assert is_alive(process)


def test_nothing_is_judged_without_every_supervisors_rows(places: Places) -> None:
    journal = f"{places.supervisor('one').state}/journal"
    os.makedirs(journal, mode=0o700)
    with open(f"{journal}/00000000000000000001.jsonl", "w") as file:
        file.write("no row\n{}\n")
    with carrying(places) as process:
        assert list(look(places, fix=True)) == ["unreadable_journal"]
        assert is_alive(process)


def test_a_process_is_ended_only_if_it_still_is_what_was_seen(places: Places) -> None:
    with carrying(places) as process:
        (seen,) = carriers_of(places, POD)
        assert seen.process == process
        older = Carrier(evolve(process, start_ticks=process.start_ticks - 1), POD, True)
        assert not kill_carrier(places, older)
        assert end_carriers(places, [older]) == f"ended process {process.pid}"
        assert is_alive(process)
        assert kill_carrier(places, seen)
    assert find_carriers(places) == []
    assert not kill_carrier(places, seen)


def test_one_that_does_not_go_is_told_of(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "KILL_SECONDS", 0.01)
    monkeypatch.setattr(strays, "kill_carrier", _kill_nobody)
    with carrying(places) as process:
        problem = look(places, fix=True)["stray_process"]
        assert not problem.fixed
        assert f"process {process.pid} does not go" in problem.fix


def _kill_nobody(places: Places, seen: Carrier) -> bool:
    del places, seen
    return True


async def test_a_signal_reaches_nobody_whose_number_was_used_anew(places: Places) -> None:
    with carrying(places) as process:
        other = evolve(process, start_ticks=process.start_ticks - 1)
        assert not processes.signal_process(other, signal.SIGKILL)
        assert is_alive(process)
        assert processes.signal_process(process, signal.SIGKILL)
        await wait_process_gone(process)
    assert not processes.signal_process(process, signal.SIGKILL)


def _abandoned(pod_id: str, path: str) -> Lease:
    """The lease of a pod whose keeper and whose launcher were killed."""
    dead = evolve(me(), start_ticks=1)
    return evolve(lease(pod_id, [f"w {path}/**"], holder=dead), guardian=dead)


async def test_who_takes_the_scope_of_a_dead_pod_finds_nothing_of_it_at_work_there(
    pods_environ: dict[str, str], places: Places, short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS), carrying(places) as stray:
            supervisor.registry.transact(lend(_abandoned(POD, f"{short_dir}/w")))
            await client.spawn("q", agent="echo", cwd=short_dir, write=[f"{short_dir}/w"])
            assert not is_alive(stray)
    assert left_in(pods_environ) == NOTHING


def test_doctor_ends_what_is_left_before_it_gives_the_scope_back(
    places: Places, short_dir: str
) -> None:
    registry = ScopeRegistry(places.registry)
    registry.transact(lend(_abandoned(POD, short_dir)))
    with carrying(places) as stray:
        assert "dead_lease" in look(places)
        assert is_alive(stray)
        mended = look(places, fix=True)["dead_lease"]
        assert (mended.fixed, is_alive(stray)) == (True, False)
        assert f"ended process {stray.pid}" in mended.fix


def test_a_pod_that_has_a_lease_again_is_left_alone(places: Places, short_dir: str) -> None:
    registry, said = ScopeRegistry(places.registry), list[str]()
    dropped = _abandoned(POD, short_dir)
    registry.transact(lend(evolve(dropped, holder=me(), guardian=None)))
    with carrying(places) as process:
        end_after_leases(registry, places, [dropped], said.append)
        assert is_alive(process)
    assert said == []
