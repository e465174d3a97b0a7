"""Runtime directories that nobody has any more: removed at the start, never a living pod's."""

from __future__ import annotations

import os

import trio

from pods.supervisor.leftovers import remove_stale, stale_directories
from pods.supervisor.records import write_token
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    is_there,
    left_in,
    places_of,
    supervisor_and_client,
)


async def test_what_a_supervisor_that_was_killed_left_of_an_ended_pod_goes_at_the_next_start(
    pods_environ: dict[str, str],
) -> None:
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (_, client):
            await client.spawn("one", agent="echo")
            await client.stop("one")
            (row,) = (await client.list()).pods
        runtime = places_of(pods_environ, "test").runtime
        for path in (runtime, f"{runtime}/{row.id}", f"{runtime}/strange"):
            os.mkdir(path, 0o700)
        write_token(f"{runtime}/{row.id}/token", "the token of a pod that has ended")
        async with supervisor_and_client(pods_environ) as (_, client):
            assert not is_there(f"{runtime}/{row.id}")
            assert is_there(f"{runtime}/strange"), "what nobody knows is for doctor to show"
            report = await client.doctor()
            assert [problem.code for problem in report.problems] == ["stale_runtime_directory"]
    assert left_in(pods_environ) == NOTHING


async def test_a_directory_whose_pod_came_back_since_it_was_looked_at_stays(
    pods_environ: dict[str, str],
) -> None:
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            await client.spawn("one", agent="echo")
            await client.stop("one")
            (row,) = (await client.list()).pods
            os.mkdir(f"{supervisor.places.runtime}/{row.id}", 0o700)
            assert stale_directories(supervisor) == [row.id]
            os.rmdir(f"{supervisor.places.runtime}/{row.id}")
            await client.restore("one")
            assert not await remove_stale(supervisor, row.id)
            assert (await client.send("one", "hi")).state == "started"
    assert left_in(pods_environ) == NOTHING


async def test_a_removal_that_was_cut_off_is_finished_and_stands_in_no_later_ones_way(
    pods_environ: dict[str, str],
) -> None:
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (_, client):
            for name in ("one", "two"):
                await client.spawn(name, agent="echo")
                await client.stop(name)
            one, two = [row.id for row in (await client.list()).pods]
        runtime = places_of(pods_environ, "test").runtime
        os.mkdir(runtime, 0o700)
        # The first supervisor was killed between putting them aside and removing them; then one of
        # them came back, and the next supervisor was killed as it ended.
        for name in (f"{one}.gone", f"{two}.gone", two):
            os.mkdir(f"{runtime}/{name}", 0o700)
            write_token(f"{runtime}/{name}/token", "the token of a pod that has ended")
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            assert stale_directories(supervisor) == []
            assert (await client.doctor()).problems == ()
    assert left_in(pods_environ) == NOTHING
