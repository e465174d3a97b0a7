"""A spawn whose supervisor and launcher were both killed is rolled back by the next supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import trio

from pods.journal.store import JournalWriter
from pods.keeper.record import write_record
from pods.records.events import reserved_data, spawned_data
from pods.records.table import PodTable
from pods.scope.identity import identify
from pods.scope.registry import ScopeRegistry
from pods.supervisor.processes import wait_process_gone
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ExitRecord, ScopeGrant
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    is_there,
    left_in,
    places_of,
    supervisor_and_client,
    wait_process_ended,
)


async def test_a_spawn_that_was_cut_off_is_rolled_back_though_nobody_knows_its_keeper(
    pods_environ: dict[str, str],
) -> None:
    places = places_of(pods_environ, "test")
    with trio.fail_after(WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                await client.spawn("one", prompt="exec sleep 1000")
                seen = await client.inspect("one")
                launcher = (await client.doctor()).supervisor.launcher_pid
            assert launcher is not None
            assert seen.keeper_pid is not None
            keeper, ended = identify(seen.keeper_pid), identify(launcher)
            process.kill()
            await wait_process_ended(process)
        os.kill(launcher, signal.SIGKILL)
        await wait_process_gone(ended)
        # As if they had been killed before the spawn was written down: its lease not adopted, and
        # of its row the reservation alone.
        registry = ScopeRegistry(places.places.registry)
        registry.transact(lambda table: (table.release(seen.pod.id), None))
        _keep_only_the_reservation(Path(places.state, "journal"))

        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                await wait_process_gone(keeper)
                assert (await client.list()).pods == ()
                assert (await client.doctor()).problems == ()
                await client.spawn("one", agent="echo")
                await client.shutdown(stop_pods=True)
            await wait_process_ended(process)
    assert not is_there(places.places.pod_state(seen.pod.id))
    assert left_in(pods_environ)["processes"] == []


async def test_a_child_that_is_rolled_back_stops_no_supervisor_that_goes_on_to_stop_its_parent(
    pods_environ: dict[str, str],
) -> None:
    places = places_of(pods_environ, "test")
    state, own = places.state, places.places.pod_state("parent")
    for directory in (pods_environ["PODS_STATE_DIR"], os.path.dirname(state), state,
                      os.path.dirname(own), own):  # fmt: skip
        os.mkdir(directory, 0o700)
    write_record(own, ExitRecord(status=0, reason="exited"))  # as its keeper's last act
    with _sleeping() as keeper:
        table = PodTable()
        with JournalWriter[PodTable].open_with(table, f"{state}/journal") as journal:
            _reserve(journal, "parent", None)
            parent = table.named("parent")
            assert parent is not None
            identity = identify(keeper.pid)
            spawned = spawned_data(parent, keeper=identity, pid=keeper.pid, message=None)
            journal.append("pod_spawned", spawned)
            journal.append("pod_stopping", {"id": "parent", "pod": "parent"})
            _reserve(journal, "child", "parent")
            _reserve(journal, "sister", "parent")
        ended: list[str] = []
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            with trio.fail_after(WAIT_SECONDS):
                keeper.kill()
                keeper.wait()
                await client.wait("parent", until="ended")
                ended = [row.name for row in (await client.list()).pods]
            assert supervisor.table.living() == []
    assert ended == ["parent"]
    assert left_in(pods_environ) == NOTHING


@contextmanager
def _sleeping() -> Generator[subprocess.Popen[bytes]]:
    """A process that stands for a keeper which answers nobody."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            yield process
        finally:
            process.kill()


def _reserve(journal: JournalWriter[PodTable], name: str, parent: str | None) -> None:
    data = reserved_data(
        SpawnPod(name=name), pod_id=name, parent_id=parent, grant=ScopeGrant(), cwd="/",
        on_parent_exit="stop", replaces=None,
    )  # fmt: skip
    journal.append("pod_reserved", data)


def _keep_only_the_reservation(journal: Path) -> None:
    (segment,) = journal.glob("*.jsonl")
    # Without the room that a killed writer leaves.
    reservation, *rest = segment.read_bytes().rstrip(b" ").splitlines(keepends=True)
    assert [b'"pod_spawned"' in line for line in rest] == [True]
    segment.write_bytes(reservation)
