"""The machine is out of descriptors: a spawn is refused and leaves nothing; a pod is not dead."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
import trio

from pods.descriptors import no_descriptors
from pods.scope.identity import identify
from pods.supervisor import acts, adopt, keeper_link, overdue, processes, spawn, watch
from pods.supervisor.core import Supervisor
from pods.supervisor.probes import holds_events, locks_of_a_life
from pods.supervisor.processes import wait_child_gone
from pods_protocol.errors import CapacityReached
from pods_protocol.values import ProcessIdentity
from scarcity import make_scarce
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    left_in,
    supervisor_and_client,
    wait_process_ended,
)

MOST_CALLS = 200
"""Far more than a spawn makes; one that never succeeds must fail the test, not hang it."""


async def _wait_nothing_left(supervisor: Supervisor) -> None:
    with trio.fail_after(WAIT_SECONDS):
        while (  # noqa: ASYNC110 - a roll back is tried again in the background, and tells nobody
            len(supervisor.table)
            or supervisor.pods
            or supervisor.registry.read().leases
            or await supervisor.launcher.keepers()
            or os.listdir(f"{supervisor.places.places.state}/pods")
            or [
                entry.name
                for entry in os.scandir(supervisor.places.runtime)
                if entry.is_dir() and not entry.name.startswith("spare-")
            ]
        ):
            await trio.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("most", [None, 1])
async def test_a_spawn_that_finds_no_descriptor_at_any_point_is_refused_and_leaves_nothing(
    most: int | None,
    pods_environ: dict[str, str],
    short_dir: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spawn, "FIRST_ROLLBACK_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(acts, "FIRST_RELEASE_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(keeper_link, "DESCRIPTOR_RETRY_SECONDS", 0.001)
    scope = f"{short_dir}/w"
    os.mkdir(scope)
    scarcity = make_scarce(monkeypatch)
    refusals = 0
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        for calls in range(MOST_CALLS):
            with trio.fail_after(WAIT_SECONDS):
                refusal: CapacityReached | None = None
                with scarcity.after(calls, most=most):
                    try:
                        await client.spawn("x", agent="echo", prompt="hi", write=[scope])
                    except CapacityReached as error:
                        refusal = error
                if refusal is None:
                    # Nothing but what is tried again lacked one: the pod is whole.
                    row = (await client.inspect("x")).pod
                    assert row.enforcement is not None
                    assert supervisor.registry.read().leases[row.id].holder is not None
                    await client.stop("x", mode="kill")
                    await client.remove("x")
                    if not scarcity.refused:
                        break
                else:
                    refusals += 1
                    assert "open file" in refusal.message
                    assert refusal.data["limit_name"] == "open_files"
                await _wait_nothing_left(supervisor)
        else:
            raise AssertionError("no spawn succeeded undisturbed")
    assert refusals > 10
    assert left_in(pods_environ) == NOTHING


async def test_a_doctor_without_descriptors_does_not_take_a_supervisor_for_gone(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        with locks_of_a_life(supervisor.places) as free:
            assert not free
        scarcity = make_scarce(monkeypatch)
        with scarcity.after(0), pytest.raises(CapacityReached), locks_of_a_life(supervisor.places):
            raise AssertionError("it may live")


async def test_a_pod_whose_journal_nobody_can_open_just_now_is_not_told_to_be_without_one(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scarcity = make_scarce(monkeypatch)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        await client.spawn("x", agent="echo", prompt="hi")
        (live,) = supervisor.pods.values()
        await client.stop("x")
        journal = supervisor.journal_of(live.id)
        with scarcity.after(0), pytest.raises(CapacityReached):
            holds_events(journal)
        assert holds_events(journal)
        with scarcity.after(0), pytest.raises(CapacityReached):
            await client.restore("x")


def _a_child() -> subprocess.Popen[bytes]:
    return subprocess.Popen("cat", stdin=subprocess.PIPE)


async def test_a_process_is_waited_for_where_nobody_can_look_at_it_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "DESCRIPTOR_RETRY_SECONDS", 0.001)
    scarcity = make_scarce(monkeypatch)
    keeper, gone = identify(os.getpid()), trio.Event()

    async def wait() -> None:
        await wait_child_gone(keeper, child.pid)
        gone.set()

    with trio.fail_after(WAIT_SECONDS), _a_child() as child:
        async with trio.open_nursery() as nursery:
            with scarcity.after(0, most=3):
                nursery.start_soon(wait)
                while scarcity.refused < 3:  # noqa: ASYNC110 - a retry tells nobody
                    await trio.sleep(0.001)
            assert not gone.is_set()
            child.kill()
            await gone.wait()


async def test_a_pod_that_cannot_be_reached_or_looked_at_lives_on_and_so_does_its_supervisor(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "DESCRIPTOR_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(watch, "FIRST_RECONNECT_SECONDS", 0.001)
    scarcity = make_scarce(monkeypatch)
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            await client.spawn("x", agent="echo", prompt="hi")
            (live,) = supervisor.pods.values()
            assert live.pod is not None
            with scarcity.after(0):
                await live.pod.aclose()
                while scarcity.refused < 5:  # noqa: ASYNC110 - a retry tells nobody
                    await trio.sleep(0.001)
            assert not live.dead
            await client.send("x", "once more")
            await client.wait("x")
            assert (await client.inspect("x")).pod.state == "idle"
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_that_cannot_be_looked_at_as_it_is_adopted_is_followed_all_the_same(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: ProcessIdentity, pid: int) -> None:
        raise no_descriptors(f"look at process {pid}", OSError())

    with trio.fail_after(WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                await client.spawn("x", agent="echo", prompt="hi")
            process.kill()
            await wait_process_ended(process)
        monkeypatch.setattr(adopt, "living_child", refuse)
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            (live,) = supervisor.pods.values()
            assert live.pod_pid is not None
            os.kill(live.pod_pid, signal.SIGKILL)
            assert not (await client.wait("x", until="ended")).timed_out
    assert left_in(pods_environ) == NOTHING


async def test_a_late_keeper_that_cannot_be_asked_for_want_of_a_descriptor_is_not_killed(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def send(_: ProcessIdentity, number: int) -> bool:
        sent.append(number)
        return True

    scarcity = make_scarce(monkeypatch)
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            await client.spawn("x", agent="echo", prompt="hi")
            (live,) = supervisor.pods.values()
            monkeypatch.setattr(overdue, "PATIENCE_SECONDS", 0.001)
            monkeypatch.setattr(overdue, "signal_process", send)
            with scarcity.after(0):
                await overdue.wake_keeper(supervisor, live)
            assert scarcity.refused
            assert sent == [signal.SIGCONT]
