"""The event stream against a server that breaks, floods and ends when it is told to."""

from __future__ import annotations

import pytest
import trio

from client_support import HangUp, Json, Peer, World, always, event, read_page
from pods.client import aio, stream
from pods_protocol.errors import ClientClosed, NotConnected, PodEnded, UnknownPod
from supervisor_support import WAIT_SECONDS

ENDED: Json = {"ready": [], "pending": [], "timed_out": False}


def subscriptions(fake: World, *scripts: list[Json] | None) -> None:
    """What each subscription in turn brings before it breaks; None goes on without an end."""
    left = list(scripts)
    fake.pod.answers["subscribe"] = always({"last_seq": 0})

    def play(peer: Peer, _params: Json) -> None:
        script = left.pop(0) if left else []
        peer.event(*(script or []))
        if script is not None:
            raise HangUp

    fake.pod.answers["after subscribe"] = play


def texts(*seqs: int) -> list[Json]:
    return [event(seq, "text", text=str(seq)) for seq in seqs]


async def test_a_broken_connection_costs_no_event_and_repeats_none(fake: World) -> None:
    subscriptions(fake, texts(1, 2), texts(3), None)
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client, client.events("api") as events:
            assert [(await events.__anext__()).seq for _ in range(3)] == [1, 2, 3]
            assert "cursor=3" in repr(events)
    assert [one["since"] for one in fake.pod.params_of("subscribe")][:2] == [0, 2]


async def test_the_rest_of_an_ended_pod_comes_from_its_journal(fake: World) -> None:
    subscriptions(fake, texts(1))
    connects = [fake.supervisor.answers["connect"], always(PodEnded("cannot connect: ended"))]
    fake.supervisor.answers["connect"] = lambda peer, params: connects.pop(0)(peer, params)
    pages = [
        read_page(texts(2, 3), truncated=True),
        read_page([], next=9, truncated=True),
        read_page(texts(10)),
    ]
    fake.supervisor.answers["read"] = lambda _peer, _params: pages.pop(0)
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            seqs = [one.seq async for one in client.events("api", kinds=["text"])]
    assert seqs == [1, 2, 3, 10]
    assert [one["since"] for one in fake.supervisor.params_of("read")] == [1, 3, 9]
    assert fake.supervisor.params_of("read")[0]["kinds"] == ["text"]


async def test_a_pod_whose_socket_is_gone_is_asked_about_before_it_counts_as_broken(
    fake: World,
) -> None:
    fake.pod.close()
    fake.supervisor.answers["wait"] = always(ENDED)
    fake.supervisor.answers["read"] = always(read_page(texts(1)))
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            assert [one.seq async for one in client.events("api")] == [1]
            fake.supervisor.answers["wait"] = always({**ENDED, "timed_out": True})
            with pytest.raises(NotConnected):
                await client.events("api").__anext__()


async def test_a_reader_that_is_behind_gets_everything_from_a_bounded_buffer(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_BUFFERED_EVENTS", 3)
    subscriptions(fake, texts(1, 2, 3, 4, 5, 6), texts(4, 5), None)
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client, client.events("api") as events:
            seqs = [(await events.__anext__()).seq for _ in range(5)]
    assert seqs == [1, 2, 3, 4, 5]
    assert [one["since"] for one in fake.pod.params_of("subscribe")][:2] == [0, 3]


async def test_a_pod_that_always_hangs_up_is_given_up(fake: World) -> None:
    subscriptions(fake)
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            with pytest.raises(NotConnected, match="in a row"):
                await client.events("api").__anext__()
    assert len(fake.pod.params_of("subscribe")) == stream.MAX_FRUITLESS_SUBSCRIPTIONS


async def test_an_unknown_pod_is_said_at_the_first_event(fake: World) -> None:
    fake.supervisor.answers["connect"] = always(UnknownPod("cannot find the pod api"))
    async with aio.connect() as client:
        with pytest.raises(UnknownPod):
            await client.events("api").__anext__()


async def test_a_closed_stream_wakes_its_reader_and_closing_again_is_nothing(fake: World) -> None:
    subscriptions(fake, None)
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            events = client.events("api")
            await events.__aenter__()
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def read() -> None:
                    with pytest.raises(ClientClosed):
                        await events.__anext__()

                await trio.testing.wait_all_tasks_blocked()
                await events.aclose()
            await events.aclose()
