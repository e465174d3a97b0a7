"""Pausing pods: a turn that its agent holds, a tree that its keeper stops."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from pods_protocol.errors import PodEnded, PodPaused, UnknownMessage
from pods_protocol.values import StopMode
from supervisor_support import (
    BUSY,
    NOTHING,
    WAIT_SECONDS,
    client_of,
    daemon,
    left_in,
    spawn_trouble,
    supervisor_and_client,
    wait_process_ended,
    wait_text,
)

STOP_BIT = 1 << (signal.SIGSTOP - 1)


def is_stopped(pid: int | None) -> bool:
    """Whether a process runs no more: it is stopped, or will be before its next instruction."""
    assert pid is not None
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines)
    return facts["State"].strip()[0] == "T" or bool(int(facts["ShdPnd"], 16) & STOP_BIT)


async def test_a_paused_pod_stands_still_keeps_its_mailbox_and_goes_on(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    own = f"{short_dir}/own"
    os.mkdir(own)
    os.mkfifo(f"{own}/go")
    waits = f"echo up; read line < {own}/go; echo $line"
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", prompt=waits, read=[own])
            await wait_text(client, "one", "up")
            assert (await pod.pause()).how == "tree"
            assert (await pod.pause()).how == "tree"
            row = (await client.list()).pods[0]
            assert (row.state, is_stopped(row.pid)) == ("paused", True)
            with pytest.raises(PodPaused, match="pods resume one"):
                await pod.send("echo no")
            assert (await pod.send("echo second", if_busy="queue", message_id="s")).position == 1
            assert (await pod.send("echo third", if_busy="queue", message_id="t")).position == 2
            assert (await pod.notify("by the way", wake=True, message_id="n")).state == "noted"
            await pod.withdraw("t")
            with pytest.raises(UnknownMessage):
                await pod.withdraw("t")
            assert is_stopped(row.pid)
            shown = await pod.inspect()
            assert shown.pod.state == "paused"
            assert [one.message_id for one in shown.queue] == ["s", "n"]
            waited = await pod.wait(timeout_seconds=0.05)
            assert (waited.timed_out, waited.pending[0].state) == (True, "paused")
            assert (await pod.resume()).state == "working"
            assert not is_stopped(row.pid)
            await trio.to_thread.run_sync(Path(f"{own}/go").write_text, "first\n")
            await pod.wait()
            text = await pod.read_text(since=0)
            assert text.startswith("up\nfirst\nsecond\n")
            assert (await pod.resume()).state == "idle"
            await pod.stop()
            for act in (pod.pause, pod.resume):
                with pytest.raises(PodEnded):
                    await act()
    assert left_in(pods_environ) == NOTHING


@pytest.mark.parametrize("mode", ["now", "finish", "kill"])
async def test_a_paused_pod_is_stopped_without_waiting_for_a_grace(
    pods_environ: dict[str, str], mode: StopMode
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", prompt="echo up; sleep 0.1")
            await wait_text(client, "one", "up")
            await pod.pause()
            await pod.send("echo never", if_busy="queue", message_id="m")
            stopped = await pod.stop(mode=mode)
            assert (stopped.previous_state, stopped.state) == ("paused", "stopped")
            assert stopped.step == ("kill" if mode == "kill" else "shutdown")
            assert [one.message_id for one in (await pod.inspect()).undelivered] == ["m"]
            assert (await pod.send("again", if_busy="queue", message_id="m")).position == 1
            with pytest.raises(PodEnded):
                await pod.send("again", if_busy="queue", message_id="unheard of")
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_that_hears_nothing_is_paused_and_resumed_all_the_same(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await spawn_trouble(client, short_dir, "deaf", "Deaf")
            pod = client.pod("deaf")
            assert (await pod.pause()).how == "tree"
            pid = (await pod.inspect()).pod.pid
            assert ((await pod.inspect()).pod.state, is_stopped(pid)) == ("paused", True)
            assert (await pod.resume()).state == "working"
            assert not is_stopped(pid)
            await pod.stop(mode="kill")
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_stays_paused_when_its_supervisor_is_killed(
    pods_environ: dict[str, str],
) -> None:
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                pod = await client.spawn("one", prompt=BUSY)
                await wait_text(client, "one", "up")
                await pod.pause()
                await pod.send("echo next", if_busy="queue")
                pid = (await pod.inspect()).pod.pid
                os.kill(process.pid, signal.SIGKILL)
        await wait_process_ended(process)
    assert is_stopped(pid)
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                pod = client.pod("one")
                assert (await pod.inspect()).pod.state == "paused"
                assert (await pod.send("echo last", if_busy="queue")).position == 2
                assert (await pod.resume()).state == "working"
                await pod.cancel()
                await pod.wait()
                assert await pod.read_text(since=0) == "up\nnext\nlast\n"
                await client.shutdown(stop_pods=True)
        assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


async def test_a_paused_pod_that_is_killed_comes_back_unpaused_with_what_waited(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn(
                "one",
                prompt=BUSY,
                restart="on-failure",
            )
            await wait_text(client, "one", "up")
            await pod.pause()
            await pod.send("echo next", if_busy="queue", message_id="a")
            await pod.send("echo last", if_busy="queue", message_id="b")
            pid = (await pod.inspect()).pod.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await wait_text(client, "one", "last")
            await pod.wait()
            shown = await pod.inspect()
            assert (shown.pod.state, shown.undelivered) == ("idle", ())
            assert (await pod.pause()).how == "tree"
            assert (await pod.resume()).state == "idle"
    assert left_in(pods_environ) == NOTHING
