"""Children's events in their parents' journals: once, in order, whatever was busy, dead or away."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from pods.client import aio
from pods.client.pod_handle import Pod
from pods.supervisor import relay
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods.supervisor.watch import LAST_RECONNECT_SECONDS
from pods_protocol.errors import InvalidParams, TimedOut
from pods_protocol.events import Event
from pods_protocol.values import RestartPolicy
from supervisor_support import (
    BUSY,
    NOTHING,
    WAIT_SECONDS,
    acting_as,
    client_of,
    daemon,
    left_in,
    places_of,
    spawn_trouble,
    supervisor_and_client,
    wait_process_ended,
    wait_text,
)

AT_ONCE_SECONDS = LAST_RECONNECT_SECONDS - 1
"""It takes less than a second, on a machine that does nothing else. What wakes nobody
is found when the supervisor looks at the pod again."""


async def told(client: aio.PodsClient, parent: str, last: tuple[str, str]) -> list[tuple[str, str]]:
    """Child and kind of all that a parent was told, once `last` is among them."""
    seen: list[Event] = []
    cursor = 0
    while last not in [(event.data["pod"], event.data["type"]) for event in seen]:
        answer = await client.read(
            parent, since=cursor, kinds=["child_event"], wait_seconds=WAIT_SECONDS
        )
        cursor = answer.next
        seen += answer.events
    for child in {event.data["id"] for event in seen}:
        seqs = [event.data["seq"] for event in seen if event.data["id"] == child]
        assert seqs == sorted(set(seqs)), "once, and in order"
    return [(event.data["pod"], event.data["type"]) for event in seen]


def pid_of(pod: Pod) -> int:
    assert pod.spawned is not None
    assert pod.spawned.pod.pid is not None
    return pod.spawned.pod.pid


def live_pod(supervisor: Supervisor, name: str) -> LivePod:
    return next(live for live in supervisor.pods.values() if live.name == name)


def keeper_pid(supervisor: Supervisor, name: str) -> int:
    identity = live_pod(supervisor, name).keeper_identity
    assert identity is not None
    return identity.pid


async def test_a_parent_that_is_idle_or_busy_is_told_of_turns_questions_and_ends(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            boss = await client.spawn("boss", prompt=BUSY)
            async with acting_as(supervisor.places.socket, boss) as as_boss:
                await as_boss.spawn("kid", agent="echo", prompt="my result")
                await as_boss.wait("kid")
                await as_boss.stop("kid")
            both = [("kid", "turn_ended"), ("kid", "stopped")]
            assert await told(client, "boss", both[-1]) == both
            answer = await client.read("boss", since=0, kinds=["child_event"])
            first = answer.events[0].data
            assert first["text"] == "my result"
            assert first["data"]["stop_reason"] == "end_turn"
            assert "wake" not in first
            assert answer.events[0].turn == 1
            await client.remove("kid")
    assert left_in(pods_environ) == NOTHING


async def test_an_idle_parent_is_woken_as_its_child_was_spawned_to(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            boss = await client.spawn("boss", agent="echo")
            async with acting_as(supervisor.places.socket, boss) as as_boss:
                await as_boss.spawn("quiet", agent="echo", prompt="unheard")
                await told(client, "boss", ("quiet", "turn_ended"))
                await as_boss.spawn("kid", agent="echo", prompt="my result", wake_on="ended")
                await wait_text(client, "boss", "child pod kid: turn 1 ended (end_turn)\nmy result")
                text = await client.read_text("boss", since=0)
                assert text.startswith("child pod quiet: turn 1 ended"), "it is told of all of it"
                assert {row.name: row.wake_on for row in (await as_boss.list()).pods} == {
                    "quiet": "none",
                    "kid": "ended",
                }
            with pytest.raises(InvalidParams, match="no parent pod"):
                await client.spawn("nobodys", wake_on="ended")
            shell = await client.spawn("shell")
            async with acting_as(supervisor.places.socket, shell) as as_shell:
                with pytest.raises(InvalidParams, match="run the news as a command"):
                    await as_shell.spawn("kid2", wake_on="question")
    assert left_in(pods_environ) == NOTHING


async def test_a_killed_child_is_an_event_of_its_parent_at_once(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            boss = await client.spawn("boss", agent="echo")
            async with acting_as(supervisor.places.socket, boss) as as_boss:
                for victim, reason in (("pod", "failed"), ("keeper", "lost")):
                    kid = await as_boss.spawn(victim, prompt=BUSY)
                    await wait_text(client, victim, "up")
                    pid = pid_of(kid) if victim == "pod" else keeper_pid(supervisor, victim)
                    os.kill(pid, signal.SIGKILL)
                    with trio.fail_after(AT_ONCE_SECONDS):
                        seen = await told(client, "boss", (victim, "stopped"))
                    assert seen[-2:] == [(victim, "turn_ended"), (victim, "stopped")]
                    answer = await client.read("boss", since=0, kinds=["child_event"])
                    turn, end = (event.data for event in answer.events[-2:])
                    assert (turn["data"]["stop_reason"], turn["text"]) == ("lost", "up\n")
                    assert end["data"]["reason"] == reason
                await as_boss.spawn("alive", prompt=BUSY)
            for any_of_them in (True, False):
                done = await client.wait(
                    "pod", "alive", until="ended", any_of_them=any_of_them, timeout_seconds=0.0
                )
                assert [outcome.pod for outcome in done.ready] == ["pod"], "it ended before"
                assert [outcome.pod for outcome in done.pending] == ["alive"]
                assert done.timed_out is not any_of_them
                assert done.ready[0].last_turn is not None
                assert done.ready[0].last_turn.stop_reason == "lost"
    assert left_in(pods_environ) == NOTHING


@pytest.mark.parametrize("then", ["goes on", "cannot", "is killed"])
async def test_a_parent_is_told_of_nothing_that_its_child_has_not_on_disk_for_good(
    pods_environ: dict[str, str], short_dir: str, then: str
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            work = f"{short_dir}/work"
            os.mkdir(work)
            boss = await client.spawn("boss", agent="echo", write=[work])
            async with acting_as(supervisor.places.socket, boss) as as_boss:
                await spawn_trouble(as_boss, work, "kid", "Unsynced")
                kid = live_pod(supervisor, "kid")
                assert kid.pod_pid is not None
                assert kid.pod is not None
                if then == "cannot":
                    await kid.pod.aclose()  # its state comes from the disk, and over a new link
                await as_boss.wait("kid", timeout_seconds=0.0)
                assert kid.fold.turn is None, "its file has the end of the turn"
                await supervisor.relay.wait_told(supervisor.known(kid.id))
                assert (await client.read("boss", since=0, kinds=["child_event"])).events == ()
                if then == "is killed":
                    os.kill(kid.pod_pid, signal.SIGKILL)
                else:
                    answer = b"" if then == "goes on" else b"no"
                    await trio.to_thread.run_sync(Path(f"{work}/kid/begun.go").write_bytes, answer)
                    await as_boss.wait("kid")
                    await told(client, "boss", ("kid", "turn_ended"))
                    await as_boss.stop("kid")
            seen = await told(client, "boss", ("kid", "stopped"))
            assert seen == [("kid", "turn_ended"), ("kid", "stopped")]
            turn = (await client.read("kid", since=0, kinds=["turn_ended"])).events
            heard = (await client.read("boss", since=0, kinds=["child_event"])).events
            assert [event.seq for event in turn] == [heard[0].data["seq"]]
            assert turn[0].data == heard[0].data["data"]
    assert left_in(pods_environ) == NOTHING


async def test_a_parent_that_is_started_again_is_told_what_it_missed_and_nothing_twice(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            again = RestartPolicy(when="on-failure", limit=2)
            boss = await client.spawn("boss", agent="echo", restart=again)
            async with acting_as(supervisor.places.socket, boss) as as_boss:
                await as_boss.spawn("kid", agent="echo", prompt="one", on_parent_exit="keep")
            assert await told(client, "boss", ("kid", "turn_ended")) == [("kid", "turn_ended")]
            os.kill(pid_of(boss), signal.SIGSTOP)
            await client.send("kid", "two")
            await client.wait("kid")
            os.kill(pid_of(boss), signal.SIGKILL)
            await client.stop("kid")
            assert await told(client, "boss", ("kid", "stopped")) == [
                *[("kid", "turn_ended")] * 2, ("kid", "stopped"),
            ]  # fmt: skip
            await client.wait("boss")  # it is told by then, and a moment later that is on record
            restarts = (await client.inspect("boss")).restarts
            assert restarts.total == 1
    assert left_in(pods_environ) == NOTHING


async def test_a_stopped_parent_is_told_when_it_goes_on_and_its_child_is_kept_until_then(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pods.supervisor.remove.TOLD_SECONDS", 0.05)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            boss = await client.spawn("boss", agent="echo")
            async with acting_as(supervisor.places.socket, boss) as as_boss:
                await as_boss.spawn("kid", agent="echo")
                os.kill(pid_of(boss), signal.SIGSTOP)
                try:
                    for number in range(3):
                        await as_boss.send("kid", f"message {number}")
                        await as_boss.wait("kid")
                    await as_boss.stop("kid")
                    # What is on its way over this link will be heard, and told again over the next.
                    link = live_pod(supervisor, "boss").pod
                    assert link is not None
                    await link.aclose()
                    with pytest.raises(TimedOut, match="has not been told of its end"):
                        await client.remove("kid")
                    report = await client.prune(0.0, force=True)
                    assert (report.removed, report.uncertain) == ((), ("kid",))
                finally:
                    os.kill(pid_of(boss), signal.SIGCONT)
            assert await told(client, "boss", ("kid", "stopped")) == [
                *[("kid", "turn_ended")] * 3, ("kid", "stopped"),
            ]  # fmt: skip
            await client.remove("kid")
    assert relay.TOLD_SECONDS > 0.05
    assert left_in(pods_environ) == NOTHING


async def test_what_a_parent_was_not_told_goes_to_its_own_parent_and_the_rest_does_not(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        path = supervisor.places.socket
        with trio.fail_after(WAIT_SECONDS):
            top = await client.spawn("top", agent="echo")
            async with acting_as(path, top) as as_top:
                boss = await as_top.spawn("boss", agent="echo")
                async with acting_as(path, boss) as as_boss:
                    for name, keep in (("kept", "keep"), ("ended", "keep"), ("goes", "stop")):
                        await as_boss.spawn(
                            name,
                            agent="echo",
                            prompt="told",
                            wake_on="question",
                            on_parent_exit="keep" if keep == "keep" else "stop",
                        )
                        await told(client, "boss", (name, "turn_ended"))
                    os.kill(pid_of(boss), signal.SIGSTOP)
                    await as_boss.stop("ended")
                    for name in ("kept", "goes"):
                        await as_boss.send(name, "untold")
                        await as_boss.wait(name)
                os.kill(pid_of(boss), signal.SIGKILL)
                seen = await told(client, "top", ("goes", "stopped"))
                assert ("ended", "stopped") in seen
                turns = [child for child, kind in seen if kind == "turn_ended"]
                assert sorted(child for child in turns if child != "boss") == ["goes", "kept"]
                assert seen.count(("boss", "stopped")) == 1
                await as_top.send("kept", "still there")
                await as_top.wait("kept")
                await as_top.stop("kept")
                seen = await told(client, "top", ("kept", "stopped"))
                assert seen.count(("kept", "turn_ended")) == 2
            answer = await client.read("top", since=0, kinds=["child_event", "turn_started"])
            assert "turn_started" not in {event.type for event in answer.events}, "top did not ask"
            texts = [event.data.get("text") for event in answer.events]
            assert texts.count("untold") == 2
            assert "told" not in texts
    assert left_in(pods_environ) == NOTHING


@pytest.mark.slow
async def test_nothing_is_lost_or_told_twice_over_the_death_of_the_supervisor(
    pods_environ: dict[str, str],
) -> None:
    path = places_of(pods_environ, "test").socket
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                boss = await client.spawn("boss", agent="echo")
                async with acting_as(path, boss) as as_boss:
                    kid = await as_boss.spawn("kid", agent="echo", prompt="first", wake_on="ended")
                    dies = await as_boss.spawn("dies", prompt=BUSY)
                    await wait_text(client, "dies", "up")
                    await wait_text(client, "boss", "first")
                    os.kill(pid_of(boss), signal.SIGSTOP)
                    await as_boss.send("kid", "second")
                    await as_boss.wait("kid")
                    os.kill(process.pid, signal.SIGKILL)
        await wait_process_ended(process)
    os.kill(pid_of(dies), signal.SIGKILL)
    os.kill(pid_of(boss), signal.SIGCONT)
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                await client.wait("dies", until="ended")
                await told(client, "boss", ("dies", "stopped"))
                await wait_text(client, "boss", "second")
                os.kill(pid_of(kid), signal.SIGKILL)
                assert sorted(await told(client, "boss", ("kid", "stopped"))) == [
                    ("dies", "stopped"), ("dies", "turn_ended"),
                    ("kid", "stopped"), ("kid", "turn_ended"), ("kid", "turn_ended"),
                ]  # fmt: skip
                await client.wait("boss")
                text = await client.read_text("boss", since=0)
                assert text.count("child pod kid: turn 1 ended") == 1
                assert text.count("child pod kid: turn 2 ended") == 1
                await client.shutdown(stop_pods=True)
        assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING
