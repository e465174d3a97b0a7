"""Pods that die unasked and are started again on the same journal, lease and sockets."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from pods import restarts
from pods.client import aio
from pods.restarts import JITTER, LONGEST_PAUSE_SECONDS
from pods.scope.registry import ScopeRegistry
from pods.supervisor.core import Supervisor
from pods.supervisor.processes import wait_process_gone
from pods_protocol.errors import PodEnded, ScopeConflict
from pods_protocol.events import Event
from pods_protocol.pod_messages import GetStatus, Run
from pods_protocol.supervisor_messages import InspectPodResult
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
    supervisor_and_client,
    wait_process_ended,
    wait_text,
)

pytestmark = pytest.mark.slow


@asynccontextmanager
async def working(
    environ: dict[str, str], directory: str, *, limit: int = 5
) -> AsyncGenerator[tuple[Supervisor, aio.PodsClient]]:
    """A supervisor with a pod `p` in the middle of a turn, which is started again when it dies."""
    os.mkdir(f"{directory}/w")
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(environ) as (supervisor, client):
            await client.spawn(
                "p",
                prompt=BUSY,
                write=[f"{directory}/w"],
                env={"SECRET": "s"},
                restart=RestartPolicy(when="on-failure", limit=limit),
            )
            await wait_text(client, "p", "up")
            yield supervisor, client
    assert left_in(environ) == NOTHING


async def pid_of(client: aio.PodsClient, pod: str = "p") -> int:
    """The pod's process."""
    pid = (await client.inspect(pod)).pod.pid
    assert pid is not None
    return pid


async def events_of(client: aio.PodsClient, pod: str = "p") -> list[Event]:
    """Everything in its journal."""
    return list((await client.read(pod, since=0)).events)


async def wait_restarted(client: aio.PodsClient, total: int, pod: str = "p") -> InspectPodResult:
    """Wait until it has come up again so many times."""
    async with client.events(pod, kinds=("restarted",)) as stream:
        async for _ in stream:
            total -= 1
            if not total:
                break
    await client.ask(pod, GetStatus())  # answered through the supervisor, which has it on record
    return await client.inspect(pod)


@pytest.mark.parametrize("victim", ["pod", "keeper"])
async def test_a_pod_killed_in_its_turn_goes_on_with_what_waits(
    pods_environ: dict[str, str], short_dir: str, victim: str
) -> None:
    async with working(pods_environ, short_dir) as (supervisor, client):
        before = await client.inspect("p")
        token = supervisor.pods[before.pod.id].token
        message = Run(input='echo "$PODS_NOTES / $SECRET"', if_busy="queue")
        assert (await client.send("p", message)).state == "queued"
        pid = before.pod.pid if victim == "pod" else before.keeper_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        after = await wait_restarted(client, 1)
        await client.wait("p")
        assert after.pod.id == before.pod.id
        assert after.pod.pid != before.pod.pid
        assert after.socket == before.socket
        assert supervisor.pods[before.pod.id].token == token
        assert (after.restarts.attempt, after.restarts.total) == (1, 1)
        events = await events_of(client)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        kinds = [(event.type, event.turn) for event in events]
        lost = next(event for event in events if event.type == "turn_ended")
        assert lost.data["stop_reason"] == "lost"
        assert kinds.index(("turn_ended", 1)) < kinds.index(("restarted", None))
        (restarted,) = [event for event in events if event.type == "restarted"]
        assert restarted.data["attempt"] == 1
        text = await client.read_text("p", since=0)
        assert "up\n" in text, "what it said before is there"
        assert "restarted (attempt 1)" in text, "the agent is told"
        assert "/ s\n" in text, "its variables are there again"
        with pytest.raises(ScopeConflict):
            await client.spawn("thief", write=[f"{short_dir}/w"])


async def test_a_pod_that_is_told_to_end_stays_ended(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with working(pods_environ, short_dir) as (_, client):
        os.kill(await pid_of(client), signal.SIGTERM)
        await client.wait("p", until="ended")
        assert (await client.inspect("p")).pod.state == "stopped"
        assert (await client.inspect("p")).restarts.total == 0


async def test_past_its_limit_a_pod_has_failed_and_says_why(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with working(pods_environ, short_dir, limit=1) as (supervisor, client):
        os.kill(await pid_of(client), signal.SIGKILL)
        again = await wait_restarted(client, 1)
        assert again.pod.pid is not None
        os.kill(again.pod.pid, signal.SIGKILL)
        await client.wait("p", until="ended")
        assert (await client.inspect("p")).pod.state == "failed"
        last = (await events_of(client))[-1]
        assert last.type == "stopped"
        assert "1 restarts in a row did not last" in last.data["message"]
        assert supervisor.registry.read().leases == {}


async def test_a_stop_between_two_attempts_ends_it(
    pods_environ: dict[str, str], short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE_SECONDS", LONGEST_PAUSE_SECONDS)
    async with working(pods_environ, short_dir) as (supervisor, client):
        os.kill(await pid_of(client), signal.SIGKILL)
        again = await wait_restarted(client, 1)
        await client.send("p", BUSY)
        assert again.pod.pid is not None
        os.kill(again.pod.pid, signal.SIGKILL)
        # Written by the supervisor, as the next process will not come at once.
        since, kinds = again.pod.last_seq, ("turn_ended",)
        assert (await client.read("p", since=since, kinds=kinds, wait_seconds=WAIT_SECONDS)).events
        pausing = await client.inspect("p")
        assert pausing.pod.state == "starting"
        assert (pausing.restarts.attempt, pausing.pod.pid) == (2, None)
        assert len(supervisor.registry.read().leases) == 1, "its scope is not free meanwhile"
        stopped = await client.stop("p")
        assert stopped.state == "stopped"
        assert stopped.seconds < LONGEST_PAUSE_SECONDS * (1 - JITTER), "not after the pause"
        ends = [event for event in await events_of(client) if event.type == "turn_ended"]
        assert [event.data["stop_reason"] for event in ends] == ["lost", "lost"]
        with pytest.raises(PodEnded):
            await client.send("p", "echo hi")


async def test_a_killed_launcher_takes_no_pod_along_and_deaths_are_still_noticed(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with working(pods_environ, short_dir) as (supervisor, client):
        await client.spawn("other", agent="echo")
        before = await pid_of(client)
        launcher = supervisor.launcher.pid
        assert launcher is not None
        os.kill(launcher, signal.SIGKILL)
        other = await client.inspect("other")
        assert other.keeper_pid is not None
        os.kill(other.keeper_pid, signal.SIGKILL)
        await client.wait("other", until="ended")
        assert (await client.inspect("other")).pod.state == "lost"
        os.kill(before, signal.SIGKILL)
        after = await wait_restarted(client, 1)
        assert after.pod.pid != before
        assert supervisor.launcher.pid != launcher


async def test_pods_whose_leases_lapsed_while_no_supervisor_was_there_get_them_back_in_any_order(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    work = f"{short_dir}/w"
    os.makedirs(f"{work}/kid/grandkid")
    os.mkdir(f"{work}/secret")
    places = places_of(pods_environ, "test")
    registry = ScopeRegistry(places.places.registry)
    again = RestartPolicy(when="on-failure", limit=5)
    with trio.fail_after(2 * WAIT_SECONDS):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                boss = await client.spawn(
                    "boss", agent="echo", write=[work], deny=[f"{work}/secret"], restart=again
                )
                async with acting_as(places.socket, boss) as as_boss:
                    kid = await as_boss.spawn(
                        "kid", agent="echo", write=[f"{work}/kid"], restart=again
                    )
                async with acting_as(places.socket, kid) as as_kid:
                    await as_kid.spawn("grandkid", agent="echo", write=[f"{work}/kid/grandkid"])
                ids = {one.name: one.id for one in (await client.list()).pods}
                pids = [await pid_of(client, name) for name in ("boss", "kid")]
        await wait_process_ended(process)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        # What their deadlines would do, had the supervisor died while it waited to start them.
        registry.transact(lambda table: (table.reclaim([ids["boss"], ids["kid"]]), None))
        assert registry.read().leases[ids["grandkid"]].parent_id is None
        async with supervisor_and_client(pods_environ) as (supervisor, client):
            for name in ("boss", "kid"):
                assert (await wait_restarted(client, 1, name)).restarts.total == 1
            leases = registry.read().leases
            assert leases[ids["grandkid"]].parent_id == ids["kid"]
            assert leases[ids["kid"]].parent_id == ids["boss"]
            assert [rule.target for rule in leases[ids["kid"]].grant.deny] == [f"{work}/secret"]
            assert (await client.inspect("grandkid")).pod.state == "idle"
            launcher = supervisor.launcher.identity
            assert launcher is not None
        await wait_process_gone(launcher)  # it was another supervisor's child
    assert left_in(pods_environ) == NOTHING
