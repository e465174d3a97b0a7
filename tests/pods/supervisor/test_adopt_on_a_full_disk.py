"""A supervisor that comes up while its disk refuses: it answers, and does later what is due."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio
from attrs import evolve

from leftover_support import places_in, plant_row
from pods.journal.store import Journal
from pods.scope.identity import identify, is_alive
from pods.supervisor import adopt, keeper_link, restart, watch
from pods.supervisor.processes import wait_process_gone
from pods_protocol.codec import to_json
from pods_protocol.values import ExitRecord, RestartPolicy
from scope_support import me
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    left_in,
    refuse_events,
    supervisor_and_client,
    wait_process_ended,
)

POD = "0123456789ab"


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Before it is set no journal of this process takes that a pod has crashed or ended."""
    there = trio.Event()

    def refuses(kind: str) -> bool:
        return kind in ("pod_crashed", "pod_ended") and not there.is_set()

    refuse_events(monkeypatch, refuses)
    monkeypatch.setattr(adopt, "GUARDIAN_SECONDS", 0.05)
    monkeypatch.setattr(restart, "STORAGE_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(watch, "STORAGE_RETRY_SECONDS", 0.001)
    return there


async def test_it_answers_though_a_crash_cannot_be_recorded_and_starts_the_pod_again_later(
    pods_environ: dict[str, str], room: trio.Event
) -> None:
    with trio.fail_after(WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                policy = RestartPolicy(when="on-failure", limit=1)
                await client.spawn("one", agent="echo", restart=policy)
                seen = await client.inspect("one")
                assert seen.pod.pid is not None
                assert seen.keeper_pid is not None
                keeper = identify(seen.keeper_pid)
            process.kill()
            await wait_process_ended(process)
        os.kill(seen.pod.pid, signal.SIGKILL)
        await wait_process_gone(keeper)
        async with supervisor_and_client(pods_environ) as (_, client):
            assert (await client.inspect("one")).pod.state == "stopping"
            room.set()
            async with client.events("one", kinds=("restarted",)) as stream:
                await anext(aiter(stream))
            await client.wait("one")
            assert (await client.inspect("one")).pod.state == "idle"
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_of_another_boot_is_neither_idle_nor_ended_before_its_end_is_recorded(
    pods_environ: dict[str, str], room: trio.Event
) -> None:
    places, other = places_in(pods_environ), evolve(me(), boot_id="the boot before")
    for directory in (places.state, f"{places.state}/supervisors"):
        os.mkdir(directory, 0o700)
    plant_row(places, "test", POD, "one", keeper=other)
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (_, client):
            assert (await client.inspect("one")).pod.state == "stopping"
            room.set()
            await client.wait("one", until="ended")
            assert (await client.inspect("one")).pod.state == "lost"
    assert left_in(pods_environ) == NOTHING


@pytest.mark.parametrize("end", ["lost", "stopped"])
async def test_a_pod_whose_end_was_not_recorded_any_more_is_not_started_again(
    pods_environ: dict[str, str], end: str
) -> None:
    places, gone = places_in(pods_environ), evolve(me(), start_ticks=1)
    for directory in (places.state, f"{places.state}/supervisors", f"{places.state}/pods"):
        os.mkdir(directory, 0o700)
    plant_row(places, "test", POD, "one", keeper=gone)
    exit_record = to_json(ExitRecord(status=-9, reason="signalled"))
    with Journal.open(f"{places.supervisor('test').state}/journal") as journal:
        crash = {"attempt": 1, "due": 0.0, "reason": "it died", "exit": exit_record}
        journal.append("pod_crashed", {"id": POD, "pod": "one", **crash})
    os.makedirs(f"{places.pod_state(POD)}", mode=0o700)
    with Journal.open(f"{places.pod_state(POD)}/journal") as journal:
        journal.append("stopped", {"reason": end, "message": "that was the last attempt"})
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (_, client):
            seen = await client.inspect("one")
            assert seen.pod.state == end
            events = (await client.read("one", since=0)).events
            assert [event.type for event in events] == ["stopped"]
    assert left_in(pods_environ) == NOTHING


async def test_what_is_left_of_such_a_pod_is_ended_before_its_lease_is_given_back(
    pods_environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_link, "CONNECT_SECONDS", 0.2)
    places, told = places_in(pods_environ), tmp_path / "pid"
    with trio.fail_after(WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                policy = RestartPolicy(when="on-failure", limit=1)
                scope = str(tmp_path)
                pod = await client.spawn("one", cwd=scope, write=[scope], restart=policy)
                await pod.send("echo $$ > new && mv new pid && exec sleep 300")
                while not told.exists():
                    await trio.lowlevel.checkpoint()
                seen = await client.inspect("one")
                assert seen.pod.pid is not None
                assert seen.keeper_pid is not None
            process.kill()
            await wait_process_ended(process)
        left, its_process = identify(int(told.read_text())), identify(seen.pod.pid)
        os.kill(seen.keeper_pid, signal.SIGSTOP)  # it ends nothing, and is asked in vain
        os.kill(seen.pod.pid, signal.SIGKILL)
        await wait_process_gone(its_process)
        exit_record = to_json(ExitRecord(status=-9, reason="signalled"))
        with Journal.open(f"{places.supervisor('test').state}/journal") as journal:
            crash = {"attempt": 1, "due": 0.0, "reason": "it died", "exit": exit_record}
            journal.append("pod_crashed", {"id": seen.pod.id, "pod": "one", **crash})
        with Journal.open(f"{places.pod_state(seen.pod.id)}/journal") as journal:
            journal.append("stopped", {"reason": "stopped", "message": ""})
        async with supervisor_and_client(pods_environ) as (_, client):
            assert (await client.inspect("one")).pod.state == "stopped"
            assert not is_alive(left)
    assert left_in(pods_environ) == NOTHING
