"""A spawn whose supervisor and launcher were both killed is rolled back by the next supervisor."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import trio

from pods.scope.identity import identify
from pods.scope.registry import ScopeRegistry
from pods.supervisor.processes import wait_process_gone
from supervisor_support import (
    WAIT_SECONDS,
    client_of,
    daemon,
    is_there,
    left_in,
    places_of,
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


def _keep_only_the_reservation(journal: Path) -> None:
    (segment,) = journal.glob("*.jsonl")
    reservation, *rest = segment.read_bytes().splitlines(keepends=True)
    assert [b'"pod_spawned"' in line for line in rest] == [True]
    segment.write_bytes(reservation)
