"""What doctor finds in a living supervisor, mends, and finds no more; and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
import trio
from attrs import evolve

from leftover_support import reserved, sleeper
from pods.client import aio
from pods.config import Config
from pods.lifecycle import Life
from pods.records.events import POD_RESERVED
from pods.supervisor.acts import LOST
from pods.supervisor.remove import may_live
from pods_protocol.errors import NotAuthorized, PodRunning, QueueFull, StorageFailed
from pods_protocol.supervisor_messages import Problem
from scope_support import lease, lend, me
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    acting_as,
    each_once,
    left_in,
    refuse_events,
    supervisor_and_client,
)

POD = "0123456789ab"


async def _codes(client: aio.PodsClient) -> list[str]:
    return sorted({problem.code for problem in (await client.doctor()).problems})


async def _mended(client: aio.PodsClient) -> dict[str, Problem]:
    return {problem.code: problem for problem in (await client.doctor(fix=True)).problems}


async def test_each_problem_is_found_mended_and_found_no_more(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            living = await client.spawn("living", agent="echo", prompt="hi")
            await client.wait("living")
            assert await _codes(client) == []

            os.mkdir(f"{supervisor.places.runtime}/spare-{os.getpid()}")  # its process lives
            os.mkdir(f"{supervisor.places.runtime}/spare-999999999")
            os.chmod(supervisor.places.state, 0o755)
            supervisor.record(POD_RESERVED, reserved(POD, "half"))
            await client.spawn("ended", agent="echo")
            await client.stop("ended")
            ended = supervisor.table.named("ended")
            assert ended is not None
            shutil.rmtree(supervisor.places.places.pod_state(ended.id))
            dead = evolve(lease("dead", holder=evolve(me(), start_ticks=1)), guardian=me())
            await supervisor.registry_worker.submit(lend(evolve(dead, supervisor="test")))

            codes = [
                "dead_lease",
                "missing_state",
                "stale_runtime_directory",
                "unsafe_directory",
                "unsettled_pod",
            ]
            assert await _codes(client) == codes
            mended = await _mended(client)
            assert sorted(mended) == codes
            assert all(problem.fixed for problem in mended.values()), mended
            assert await _codes(client) == []

            assert [record.name for record in supervisor.table] == ["living"]
            assert list(supervisor.registry.read().leases) == [living.spawned.pod.id]  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]  # it was
            assert (await client.inspect("living")).pod.state == "idle"
            os.rmdir(f"{supervisor.places.runtime}/spare-{os.getpid()}")
    assert left_in(pods_environ) == NOTHING


async def test_a_link_that_takes_the_place_of_a_directory_is_said_to_be_one(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        root, own = supervisor.places.places.runtime, supervisor.places.runtime
        for path in (own, root):
            os.rename(path, f"{path}.moved")
            os.symlink(f"{path}.moved", path)
        try:
            with trio.fail_after(WAIT_SECONDS):
                problems = {p.message: p.fix for p in (await client.doctor()).problems}
        finally:
            for path in (root, own):
                os.unlink(path)
                os.rename(f"{path}.moved", path)
        link = "cannot be used: it is a symbolic link, not a directory; name what it leads to"
        assert problems == {
            f"{root} {link}": f"set PODS_RUNTIME_DIR to {root}.moved",
            f"{own} {link}": f"stop the supervisor and move {own} away: the next one makes the "
            "directory",
        }
    assert left_in(pods_environ) == NOTHING


async def test_a_process_that_only_a_lease_or_an_ended_row_knows_is_ended(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS), sleeper() as (one, held), sleeper() as (two, kept):
            await client.spawn("ended", agent="echo")
            await client.stop("ended")
            record = supervisor.table.named("ended")
            assert record is not None
            supervisor.table._pods[record.id] = evolve(record, keeper=kept)  # pyright: ignore[reportPrivateUsage]  # as a keeper that nobody could end
            unknown = evolve(lease("unknown", holder=held), supervisor="test")
            await supervisor.registry_worker.submit(lend(unknown))
            with pytest.raises(PodRunning, match=f"process {two.pid}, lives"):
                await client.remove("ended")
            assert (await client.prune(0.0, force=True)).uncertain == ("ended",)
            problems = (await client.doctor(fix=True)).problems
            assert [problem.fixed for problem in problems] == [True, True, True]
            assert one.wait() == two.wait() == -15
            await client.remove("ended")
            assert await _codes(client) == []
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_may_look_and_not_mend(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("curious")
            async with acting_as(supervisor.places.socket, pod) as curious:
                assert (await curious.doctor()).problems == ()
                with pytest.raises(NotAuthorized, match="for a pod"):
                    await curious.doctor(fix=True)
    assert left_in(pods_environ) == NOTHING


async def test_retention_forgets_pods_when_others_end_and_doctor_shows_what_is_in_force(
    pods_environ: dict[str, str],
) -> None:
    config = Config(keep_ended_seconds=0.0, max_queue_length=1)
    async with supervisor_and_client(pods_environ, config=config) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            settings = (await client.doctor()).settings
            assert (settings.keep_ended_seconds, settings.max_queue_length) == (0.0, 1)
            await client.spawn("one", agent="shell", prompt="exec sleep 1000")
            await client.send("one", "second", if_busy="queue")
            with pytest.raises(QueueFull, match="1 is the most"):
                await client.send("one", "third", if_busy="queue")
            await client.stop("one", mode="kill")
            while len(supervisor.table):
                await trio.lowlevel.checkpoint()
            assert os.listdir(f"{supervisor.places.places.state}/pods") == []
    assert left_in(pods_environ) == NOTHING


async def test_only_what_is_surely_dead_is_forgotten_unasked(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", agent="echo")
            await client.stop("one")
            record = supervisor.table.named("one")
            assert record is not None
            assert record.keeper is not None
            assert not may_live(record)
            assert may_live(evolve(record, keeper=me()))
            assert may_live(evolve(record, state="lost", exit=None))
            assert may_live(evolve(record, state="lost", exit=LOST))
            assert not may_live(evolve(record, state="lost", exit=evolve(LOST, time=1.0)))
            rebooted = evolve(record.keeper, boot_id="the boot before")
            assert not may_live(evolve(record, state="lost", exit=LOST, keeper=rebooted))


async def test_a_lost_pod_is_forgotten_unasked_where_its_launcher_has_cleared_what_it_left(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", agent="echo")
            keeper = (await client.inspect("one")).keeper_pid
            assert keeper is not None
            os.kill(keeper, signal.SIGKILL)
            await client.wait("one", until="ended")
            record = supervisor.table.named("one")
            assert record is not None
            assert (record.state, record.exit is not None) == ("lost", True)
            assert (await client.prune(0.0, force=True)).removed == ("one",)
    assert left_in(pods_environ) == NOTHING


async def test_a_roll_back_that_the_disk_refuses_is_done_once_there_is_room(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pods.supervisor.spawn.FIRST_ROLLBACK_RETRY_SECONDS", 0.001)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            refuse_events(monkeypatch, each_once("pod_spawned", *["spawn_failed"] * 3))
            with pytest.raises(StorageFailed):
                await client.spawn("one", agent="echo")
            while supervisor.table.named("one") is not None:
                await trio.lowlevel.checkpoint()
            await client.spawn("one", agent="echo")
            one = supervisor.table.named("one")
            assert one is not None
            assert one.life is Life.RUNNING
    assert left_in(pods_environ) == NOTHING
