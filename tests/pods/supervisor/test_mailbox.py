"""Messages under crashes: what waits, what was never delivered, what is asked twice."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from pods_protocol.errors import InvalidParams, PodEnded, Undelivered, UnknownMessage
from supervisor_support import (
    BUSY,
    NOTHING,
    WAIT_SECONDS,
    acting_as,
    client_of,
    daemon,
    left_in,
    supervisor_and_client,
    wait_process_ended,
    wait_text,
)


async def test_what_waited_in_a_killed_pod_is_reported_to_its_sender_and_stays_visible(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("busy", prompt=BUSY)
            await wait_text(client, "busy", "up")
            await pod.notify("a note", message_id="n")
            await pod.send("first", if_busy="queue", message_id="a")
            refused: list[Undelivered] = []

            async def turn() -> None:
                with pytest.raises(Undelivered) as caught:
                    await pod.turn("second", if_busy="queue")
                refused.append(caught.value)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(turn)
                while len((await pod.inspect()).queue) < 2:
                    await pod.read(since=(await pod.status()).last_seq, wait_seconds=1)
                shown = await pod.inspect()
                assert [one.message_id for one in shown.notes] == ["n"]
                assert shown.queue[0].message_id == "a"
                assert shown.pod.pid is not None
                os.kill(shown.pod.pid, signal.SIGKILL)
            assert refused[0].data["reason"] == "undelivered"
            undelivered = (await pod.inspect()).undelivered
            assert [one.message_id for one in undelivered] == [
                "a", refused[0].data["message_id"], "n"
            ]  # fmt: skip
            assert all(0 < one.accepted <= one.given_up for one in undelivered)
            with pytest.raises(PodEnded):
                await pod.send("too late", if_busy="queue")
    assert left_in(pods_environ) == NOTHING


async def test_the_queue_and_every_answer_survive_a_killed_supervisor(
    pods_environ: dict[str, str],
) -> None:
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                pod = await client.spawn("busy", prompt=BUSY, message_id="p")
                await client.spawn("other")
                await wait_text(client, "busy", "up")
                first = await pod.send("echo first", if_busy="queue", message_id="a")
                await pod.send("echo second", if_busy="queue", message_id="b")
                await pod.send("echo third", if_busy="queue", message_id="c")
                stopped = await client.stop("other", message_id="s")
                again = await client.stop("other", message_id="t")
                assert (stopped.step, again.step) == ("shutdown", "already_ended")
                os.kill(process.pid, signal.SIGKILL)
        await wait_process_ended(process)
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                pod = client.pod("busy")
                assert [one.message_id for one in (await pod.inspect()).queue] == ["a", "b", "c"]
                assert await pod.send("echo first", if_busy="queue", message_id="a") == first
                assert await client.stop("other", message_id="s") == stopped
                assert await client.stop("other", message_id="t") == again
                with pytest.raises(InvalidParams):
                    await client.stop("other", message_id="")
                same = await client.spawn("busy", prompt=BUSY, message_id="p")
                assert same.spawned is not None
                assert (await pod.inspect()).pod.id == same.spawned.pod.id
                await pod.withdraw("b")
                with pytest.raises(UnknownMessage):
                    await pod.withdraw("b")
                await pod.cancel()
                await pod.wait()
                assert await pod.read_text(since=0) == "up\nfirst\nthird\n"
                await client.shutdown(stop_pods=True)
        assert await wait_process_ended(process) == 0
    assert left_in(pods_environ) == NOTHING


@pytest.mark.parametrize("end", ["killed", "stopped"])
async def test_a_parent_pod_is_told_which_messages_its_child_never_took_up(
    pods_environ: dict[str, str], end: str
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            boss = await client.spawn("boss", agent="echo")
            async with acting_as(supervisor.places.socket, boss) as as_boss:
                kid = await as_boss.spawn("kid", prompt=BUSY)
                await wait_text(as_boss, "kid", "up")
                await kid.send("first", if_busy="queue", message_id="a")
                await client.send("kid", "of a person", if_busy="queue", message_id="b")
                await kid.notify("a note", message_id="n")
                shown = await kid.inspect()
                assert [one.sender for one in shown.queue] == ["pod boss", "owner"]
                assert [one.sender for one in shown.notes] == ["pod boss"]
                if end == "killed":
                    assert shown.pod.pid is not None
                    os.kill(shown.pod.pid, signal.SIGKILL)
                else:
                    await kid.stop()
                await as_boss.wait("kid", until="ended")
            answer = await client.read(
                "boss", since=0, kinds=["child_event"], wait_seconds=WAIT_SECONDS
            )
            while answer.events[-1].data["type"] != "stopped":
                answer = await client.read(
                    "boss", since=answer.next, kinds=["child_event"], wait_seconds=WAIT_SECONDS
                )
            assert answer.events[-1].data["data"]["undelivered"] == ["a", "b", "n"]
            undelivered = (await client.inspect("kid")).undelivered
            assert [one.sender for one in undelivered] == ["pod boss", "owner", "pod boss"]
    assert left_in(pods_environ) == NOTHING


async def test_a_first_message_is_from_whoever_asked_for_the_pod(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("p", agent="echo", prompt="hello")
            await client.wait("p")
            (accepted,) = (await client.read("p", since=0, kinds=["message_accepted"])).events
            assert accepted.data["sender"] == "owner"
    assert left_in(pods_environ) == NOTHING
