"""Supervisors as processes of their own: killed, signalled, idle, side by side."""

from __future__ import annotations

import contextlib
import os
import resource
import signal

import pytest
import trio

from pods.journal.store import Journal
from pods.records.events import POD_RESERVED, reserved_data
from pods.rpc.unix import ensure_private_directory
from pods.supervisor.service import serve
from pods_protocol.errors import CapacityReached, ScopeConflict, StartFailed
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ScopeGrant
from supervisor_support import (
    BUSY,
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    is_there,
    left_in,
    options_for,
    places_of,
    supervisor_and_client,
    wait_process_ended,
    wait_text,
)

pytestmark = pytest.mark.slow


async def test_pods_outlive_a_killed_supervisor_and_the_next_one_goes_on(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                await client.spawn("busy", prompt=BUSY, write=[f"{short_dir}/w"])
                await client.spawn("dies", prompt=BUSY)
                await client.spawn("ended", prompt="echo last words")
                await wait_text(client, "busy", "up")
                await wait_text(client, "dies", "up")
                await client.wait("ended")
                await client.stop("ended")
                before = {row.name: row for row in (await client.list()).pods}
                os.kill(process.pid, signal.SIGKILL)
        await wait_process_ended(process)
    dies = before["dies"].pid
    assert dies is not None
    os.kill(dies, signal.SIGKILL)
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                await client.wait("dies", until="ended")
                rows = {row.name: row for row in (await client.list()).pods}
                assert rows["busy"].pid == before["busy"].pid
                assert rows["busy"].state == "working"
                assert rows["dies"].state == "failed"
                assert rows["ended"].state == "stopped"
                assert await client.read_text("ended", since=0) == "last words\n"
                with pytest.raises(ScopeConflict):
                    await client.spawn("thief", write=[f"{short_dir}/w"])
                assert (await client.send("busy", "echo hi", if_busy="queue")).state == "queued"
                stopped = await client.stop("busy")
                assert stopped.state == "stopped"
                await client.spawn("heir", write=[f"{short_dir}/w"], agent="echo")
                await client.shutdown(stop_pods=True)
        assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


async def test_sigterm_ends_the_supervisor_and_not_its_pods(pods_environ: dict[str, str]) -> None:
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                pod = await client.spawn("busy", prompt=BUSY)
                assert pod.spawned is not None
                pid = pod.spawned.pod.pid
                await wait_text(client, "busy", "up")
                os.kill(process.pid, signal.SIGTERM)
        assert await wait_process_ended(process) == 0
    assert is_there(f"/proc/{pid}")
    assert not is_there(places_of(pods_environ, "test").socket)
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                (row,) = (await client.list()).pods
                assert row.pid == pid
                await client.shutdown(stop_pods=True)
        assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


async def test_an_idle_supervisor_ends_and_leaves_nothing(pods_environ: dict[str, str]) -> None:
    with daemon(pods_environ, idle_exit_seconds=0.2) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                await client.spawn("one", agent="echo")
                await client.stop("one")
        assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


async def test_supervisors_side_by_side_share_one_registry(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    with daemon(pods_environ, "one") as first, daemon(pods_environ, "two") as second:
        async with client_of(pods_environ, "one") as one, client_of(pods_environ, "two") as two:
            with trio.fail_after(WAIT_SECONDS):
                await one.spawn("same-name", agent="echo", write=[f"{short_dir}/w"])
                await two.spawn("same-name", agent="echo")
                with pytest.raises(ScopeConflict) as caught:
                    await two.spawn("other", agent="echo", write=[f"{short_dir}/w"])
                assert caught.value.data["owner"] == "same-name"
                assert {holder.supervisor for holder in await two.scopes()} == {"one", "two"}
                assert [row.name for row in (await two.list()).pods] == ["same-name"]
                await one.stop("same-name")
                await two.spawn("other", agent="echo", write=[f"{short_dir}/w"])
                await one.shutdown(stop_pods=True)
                await two.shutdown(stop_pods=True)
        assert await wait_process_ended(first) == 0
        assert await wait_process_ended(second) == 0
    assert left_in(pods_environ) == NOTHING


async def test_a_second_runtime_directory_on_one_state_directory_is_refused_with_the_remedy(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    other = {**pods_environ, "PODS_RUNTIME_DIR": f"{short_dir}/r2"}
    async with supervisor_and_client(pods_environ):
        with trio.fail_after(WAIT_SECONDS), pytest.raises(StartFailed) as refused:
            await serve(options_for(other, "test"), signals=False)
    message = refused.value.message
    assert f"process {os.getpid()} is one of that name" in message
    assert "set PODS_RUNTIME_DIR to that one's" in message


async def test_a_spawn_that_a_killed_supervisor_had_begun_is_rolled_back_by_the_next(
    pods_environ: dict[str, str],
) -> None:
    places = places_of(pods_environ, "test")
    for directory in (places.places.state, places.state):
        ensure_private_directory(directory)
    journal = Journal.open(f"{places.state}/journal")
    journal.append(
        POD_RESERVED,
        reserved_data(
            SpawnPod(name="half"),
            pod_id="0123456789ab",
            parent_id=None,
            grant=ScopeGrant(),
            cwd="/",
            on_parent_exit="keep",
            replaces=None,
        ),
    )
    journal.close()
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                assert (await client.list()).pods == ()
                await client.spawn("half", agent="echo")
                await client.shutdown(stop_pods=True)
        assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


async def test_a_supervisor_takes_all_descriptors_it_may_and_refuses_what_it_has_none_for(
    pods_environ: dict[str, str],
) -> None:
    with daemon(pods_environ, open_files=(50, 80)) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                # Pods get the limit that the supervisor was started under, not the one it took.
                await client.spawn("pod0", prompt="ulimit -S -n; ulimit -H -n")
                await client.wait("pod0")
                assert await client.read_text("pod0") == "50\n80\n"
                assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (80, 80)
                count = 1
                refusal: CapacityReached | None = None
                while refusal is None:
                    try:
                        await client.spawn(f"pod{count}", agent="echo")
                        count += 1
                    except CapacityReached as error:
                        refusal = error
                assert "the limit of 80 open files is reached" in refusal.message
                assert 5 < count < 40
                assert len((await client.list()).pods) == count

                # All of a burst at once: whoever is refused leaves nothing, and no other is hurt.
                await client.stop("pod1")
                await client.stop("pod2")
                await client.stop("pod3")
                came: list[str] = []

                async def spawn(name: str) -> None:
                    with contextlib.suppress(CapacityReached):
                        await client.spawn(name, agent="echo")
                        came.append(name)

                async with trio.open_nursery() as nursery:
                    for number in range(6):
                        nursery.start_soon(spawn, f"burst{number}")
                assert came
                rows = [row.name for row in (await client.list(ended=False)).pods]
                assert sorted(rows) == sorted(
                    ["pod0", *(f"pod{number}" for number in range(4, count)), *came]
                )
                await client.shutdown(stop_pods=True)
        assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING
