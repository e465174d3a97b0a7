"""Ended pods that run again: by `restore`, after another supervisor, after another boot."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from pods.scope.identity import boot_id
from pods_protocol.errors import (
    InvalidParams,
    PodRunning,
    ScopeConflict,
    StartFailed,
    UnknownPod,
)
from pods_protocol.pod_messages import Run
from pods_protocol.values import RestartPolicy
from supervisor_support import (
    BUSY,
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    left_in,
    places_of,
    processes_of,
    supervisor_and_client,
    wait_process_ended,
    wait_text,
)

pytestmark = pytest.mark.slow


async def test_an_ended_pod_is_restored_with_its_name_its_history_and_its_scope(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("p", prompt="echo first", write=[f"{short_dir}/w"], env={"K": "v"})
            await client.wait("p")
            with pytest.raises(PodRunning):
                await client.restore("p", env={"K": "v"})
            before = (await client.inspect("p")).pod
            await client.stop("p")
            with pytest.raises(InvalidParams) as missing:
                await client.restore("p")
            assert missing.value.data["missing"] == ["K"]
            again = await client.restore("p", prompt='echo "$PODS_NOTES" $K', env={"K": "v"})
            assert again.spawned is not None
            assert again.spawned.pod.id == before.id
            assert again.spawned.message is not None
            await client.wait("p")
            text = await client.read_text("p", since=0)
            assert text.startswith("first\n")
            assert "restored" in text
            assert text.endswith(" v\n")
            kinds = [event.type for event in (await client.read("p", since=0)).events]
            assert kinds.index("stopped") < kinds.index("restarted")
            with pytest.raises(ScopeConflict):
                await client.spawn("thief", agent="echo", write=[f"{short_dir}/w"])

            killed = (await client.inspect("p")).pod.pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            await client.wait("p", until="ended")
            assert (await client.inspect("p")).pod.state == "failed"
            await client.spawn("heir", agent="echo", write=[f"{short_dir}/w"])
            with pytest.raises(ScopeConflict) as refused:
                await client.restore("p", env={"K": "v"})
            assert refused.value.data["owner"] == "heir"
            assert (await client.inspect("p")).pod.state == "failed", "as it was"
            assert set(supervisor.pods) == {(await client.inspect("heir")).pod.id}
            await client.stop("heir")
            await client.restore("p", env={"K": "v"})
            assert (await client.inspect("p")).restarts.total == 2
            await client.stop("p")
            await client.remove("p")
            with pytest.raises(UnknownPod):
                await client.restore("p")
    assert left_in(pods_environ) == NOTHING


async def test_a_restore_that_fails_leaves_the_pod_ended(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("p", agent="echo")
            await client.stop("p")

            async def refuse(*_: object) -> None:
                raise StartFailed("cannot fork: no memory; end some", step="fork", detail="")

            monkeypatch.setattr(supervisor.launcher, "launch", refuse)
            with pytest.raises(StartFailed):
                await client.restore("p")
            monkeypatch.undo()
            assert (await client.inspect("p")).pod.state == "stopped"
            assert supervisor.pods == {}
            assert supervisor.registry.read().leases == {}
            await client.restore("p")
    assert left_in(pods_environ) == NOTHING


async def test_the_next_supervisor_takes_up_a_restart_and_what_died_meanwhile(
    pods_environ: dict[str, str],
) -> None:
    policy = RestartPolicy(when="on-failure", limit=5)
    with trio.fail_after(WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                await client.spawn("pausing", agent="echo", restart=policy, env={"K": "v"})
                await client.spawn("dies", prompt=BUSY, restart=policy)
                await wait_text(client, "dies", "up")
                for total in (1, 2):
                    row = await client.inspect("pausing")
                    assert row.pod.pid is not None
                    os.kill(row.pod.pid, signal.SIGKILL)
                    if total == 1:
                        async with client.events("pausing", kinds=("restarted",)) as stream:
                            await stream.__anext__()
                        await client.wait("pausing")  # that it came up is on record by then
                while (await client.inspect("pausing")).restarts.attempt < 2:
                    await trio.lowlevel.checkpoint()
                dies = (await client.inspect("dies")).pod.pid
                os.kill(process.pid, signal.SIGKILL)
            await wait_process_ended(process)
        assert dies is not None
        os.kill(dies, signal.SIGKILL)
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                for name, total in (("pausing", 2), ("dies", 1)):
                    await client.wait(name)
                    row = await client.inspect(name)
                    assert row.restarts.total == total
                    events = (await client.read(name, since=0, kinds=("restarted",))).events
                    assert len(events) == total, "nothing was started twice"
                await client.shutdown(stop_pods=True)
            assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


async def test_after_another_boot_all_is_lost_free_readable_and_can_be_restored(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    policy = RestartPolicy(when="on-failure")
    with trio.fail_after(WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                await client.spawn("p", prompt=BUSY, write=[f"{short_dir}/w"], restart=policy)
                await wait_text(client, "p", "up")
                queued = await client.send("p", Run(input="echo later", if_busy="queue"))
            _reboot(pods_environ)
            await wait_process_ended(process)
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                row = await client.inspect("p")
                assert row.pod.state == "lost"
                assert row.pod.last_turn is not None
                assert row.pod.last_turn.stop_reason == "lost"
                assert [one.message_id for one in row.undelivered] == [queued.message_id]
                assert (await client.read_text("p", since=0)) == "up\n"
                await client.spawn("next", agent="echo", write=[f"{short_dir}/w"])
                await client.stop("next")
                again = await client.restore("p", prompt="echo back")
                assert again.spawned is not None
                assert again.spawned.pod.id == row.pod.id
                await client.wait("p")
                assert (await client.read_text("p", since=0)).endswith("back\n")
                await client.shutdown(stop_pods=True)
            assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


def _reboot(environ: dict[str, str]) -> None:
    """End every process at once, and give what they wrote the id of another boot."""
    for line in processes_of(environ):
        with suppress(ProcessLookupError):  # the launcher's end ends its spare
            os.kill(int(line.partition(":")[0]), signal.SIGKILL)
    places = places_of(environ, "test")
    shutil.rmtree(places.places.runtime, ignore_errors=True)
    ours, other = boot_id().encode(), b"00000000-0000-4000-8000-000000000000"
    changed = 0
    for path in Path(places.places.state).rglob("*"):
        if path.is_file() and ours in (content := path.read_bytes()):
            path.write_bytes(content.replace(ours, other))
            changed += 1
    assert changed >= 2, "the registry and the supervisor's journal name the boot"
