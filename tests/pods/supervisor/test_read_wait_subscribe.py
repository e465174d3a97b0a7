"""Reading, waiting and following: nothing missed, nothing told to strangers."""

from __future__ import annotations

import secrets

import pytest
import trio

from pods.client import aio
from pods.rpc.client import RpcClient, open_rpc
from pods.supervisor.core import Supervisor
from pods_protocol.errors import (
    InvalidParams,
    InvalidRequest,
    NotAuthorized,
    NotConnected,
    PodRunning,
    UnknownPod,
)
from pods_protocol.events import Event
from pods_protocol.pod_messages import Ping
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import (
    ListPods,
    ReadOutput,
    ShutdownSupervisor,
    SubscribeLifecycle,
    WaitPods,
)
from supervisor_support import BUSY, WAIT_SECONDS, acting_as, supervisor_and_client, wait_text


async def test_a_wait_sees_what_came_before_it(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", agent="echo")
            for number in range(30):
                sent = await client.send("one", f"message {number}", if_busy="queue")
                done = await client.wait("one")
                assert done.ready[0].last_turn is not None
                assert done.ready[0].last_turn.turn == number + 1, sent
            await client.stop("one")
            done = await client.wait("one", until="question")
            assert done.ready[0].state == "stopped"


async def test_a_wait_for_any_is_over_with_the_first_and_for_all_with_the_last(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("busy", prompt=BUSY)
            await client.spawn("idle", agent="echo")
            either = await client.wait("busy", "idle", any_of_them=True)
            assert [outcome.pod for outcome in either.ready] == ["idle"]
            assert [outcome.pod for outcome in either.pending] == ["busy"]
            both = await client.wait("busy", "idle", timeout_seconds=0.05)
            assert both.timed_out
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.stop, "busy")
                both = await client.wait("busy", "idle")
            assert not both.timed_out
            with pytest.raises(InvalidParams):
                await client.request(WaitPods(pods=()))
            with pytest.raises(UnknownPod):
                await client.wait("idle", "nobody")


async def test_a_wait_goes_on_over_the_removal_of_its_pod(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("gone", agent="echo")
            await client.spawn("busy", prompt=BUSY)
            async with trio.open_nursery() as nursery:

                async def wait() -> None:
                    done = await client.wait("gone", "busy", until="ended")
                    assert {outcome.state for outcome in done.ready} == {"stopped"}

                nursery.start_soon(wait)
                await client.stop("gone")
                await client.remove("gone")
                await client.stop("busy")


async def test_a_read_waits_for_text_and_for_the_end(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", prompt="echo up; read line < /dev/tty; exec sleep 1000")
            await wait_text(client, "one", "up")
            first = await client.read("one", since=0)
            assert first.next == first.last_seq
            answers: list[str] = []

            async def read_on() -> None:
                answer = await client.read("one", since=first.next, wait_seconds=WAIT_SECONDS)
                answers.append(answer.events[0].type)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_on)
                await client.send("one", "echo second", if_busy="interrupt")
            assert len(answers) == 1
            await client.stop("one")
            ended = await client.read("one", since=0)
            assert ended.state == "stopped"
            assert ended.events[-1].type == "stopped"
            seqs = [event.seq for event in ended.events]
            assert seqs == list(range(1, len(seqs) + 1))
            nothing = await client.read("one", since=ended.next, wait_seconds=WAIT_SECONDS)
            assert nothing.events == ()


async def test_a_cursor_is_kept_for_each_reader_and_only_goes_on(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", agent="echo", prompt="hi")
            await client.wait("one")
            answer = await client.read("one")
            assert answer.events[0].seq == 1
            await client.advance("one", answer.next)
            await client.advance("one", 1)
            assert (await client.read("one")).events == ()
            assert (await client.read("one", reader="other")).events[0].seq == 1
            (row,) = (await client.list()).pods
            assert row.unread == 0
            (row,) = (await client.list(reader="other")).pods
            assert row.unread == row.last_seq
            with pytest.raises(InvalidParams):
                await client.advance("one", 10_000)
            for bad in (
                ReadOutput(pod="one", since=-1),
                ReadOutput(pod="one", limit=0),
                ReadOutput(pod="one", max_bytes=0),
                ReadOutput(pod="one", wait_seconds=-1.0),
                ReadOutput(pod="one", reader=""),
            ):
                with pytest.raises(InvalidParams):
                    await client.request(bad)


async def test_a_stranger_is_refused_and_a_pod_sees_its_own_subtree_alone(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        path = supervisor.places.socket
        with trio.fail_after(WAIT_SECONDS):
            for token in (secrets.token_hex(32), "", "x" * 1000):
                with pytest.raises(NotAuthorized):
                    async with open_rpc(path, SUPERVISOR_API, token=token):
                        raise AssertionError
            first = await client.spawn("first")
            await client.spawn("second")
            async with acting_as(path, first) as as_first:
                assert (await as_first.list()).pods == ()
                for name in ("first", "second"):
                    with pytest.raises(UnknownPod):
                        await as_first.inspect(name)
                with pytest.raises(NotAuthorized):
                    await as_first.shutdown(stop_pods=True)
                await as_first.spawn("child")
                assert [row.name for row in (await as_first.list()).pods] == ["child"]
                assert [holder.pod for holder in await as_first.scopes()] == ["child"]
                await client.stop("first")
                with pytest.raises((NotAuthorized, NotConnected)):
                    await as_first.list()
            assert first.spawned is not None
            with pytest.raises(NotAuthorized):
                async with open_rpc(path, SUPERVISOR_API, token=first.spawned.token):
                    raise AssertionError


async def _follow(
    nursery: trio.Nursery, supervisor: Supervisor, token: str, since: int | None
) -> tuple[RpcClient, trio.MemoryReceiveChannel[Event]]:
    send, receive = trio.open_memory_channel[Event](1000)

    async def run(*, task_status: trio.TaskStatus[RpcClient]) -> None:
        async with open_rpc(
            supervisor.places.socket,
            SUPERVISOR_API,
            token=token,
            on_notification=lambda _, event: send.send_nowait(event),
        ) as rpc:
            await rpc.request(SubscribeLifecycle(since=since))
            task_status.started(rpc)
            await rpc.closed.wait()

    return await nursery.start(run), receive


async def _take_until(
    events: trio.MemoryReceiveChannel[Event], kind: str, pod: str
) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    while (kind, pod) not in seen:
        event = await events.receive()
        assert "ancestors" not in event.data
        seen.append((event.type, event.data["pod"]))
    return seen


async def test_lifecycle_events_are_replayed_and_live_and_each_callers_own(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            first = await client.spawn("first")
            assert first.spawned is not None
            await client.wait("first")  # what it says of itself as it starts is said
            async with trio.open_nursery() as nursery:
                owner, to_owner = await _follow(nursery, supervisor, supervisor.token, 0)
                pod, to_pod = await _follow(nursery, supervisor, first.spawned.token, 0)
                late, to_late = await _follow(nursery, supervisor, supervisor.token, None)
                await client.spawn("second", agent="echo")
                async with aio.connect_socket(
                    supervisor.places.socket, first.spawned.token
                ) as as_first:
                    await as_first.spawn("child", agent="echo", prompt="hi")
                    await as_first.wait("child")
                    await as_first.stop("child")
                    await as_first.remove("child")
                await client.stop("second")
                seen = await _take_until(to_owner, "pod_ended", "second")
                assert next(kind for kind, name in seen if name == "first") == "pod_spawned"
                spawns = [name for kind, name in seen if kind == "pod_spawned"]
                assert spawns == ["first", "second", "child"]
                seen = await _take_until(to_pod, "pod_removed", "child")
                assert {name for _, name in seen} == {"child"}
                assert "pod_state" in {kind for kind, _ in seen}
                seen = await _take_until(to_late, "pod_ended", "second")
                assert "first" not in {name for _, name in seen}
                for rpc in (owner, pod, late):
                    rpc.close()


async def test_shutdown_refuses_while_pods_run_unless_it_is_to_stop_them(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one")
            with pytest.raises(PodRunning, match=r"1 pod runs \(one\); .*`pods down --stop-pods`"):
                await client.shutdown()
            async with open_rpc(
                supervisor.places.socket, SUPERVISOR_API, token=supervisor.token
            ) as rpc:
                await rpc.request(Ping())
                answer = await rpc.request(ShutdownSupervisor(stop_pods=True))
                assert answer.stopped == ("one",)
                await rpc.closed.wait()
                with pytest.raises((NotConnected, InvalidRequest)):
                    await rpc.request(ListPods())
