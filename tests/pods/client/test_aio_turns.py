"""A turn by the trio client: which events are its own, and how it ends."""

from __future__ import annotations

import copy
import threading

import pytest
import trio
import trio.testing

from client_support import Json, Peer, World, always, event, read_page
from pods.client import aio, turns
from pods.client.results import TurnResult
from pods_protocol.errors import NotConnected, PodEnded, TimedOut, Undelivered
from supervisor_support import WAIT_SECONDS, supervisor_and_client


def turn_events(fake: World, *events: Json, hang_up: bool = False) -> threading.Event:
    """The events that follow `run`; `ID` in them becomes the message's id.

    Returns:
        Set once all of them have been sent.
    """
    peers: list[Peer] = []
    played = threading.Event()

    def subscribe(peer: Peer, _params: Json) -> Json:
        peers.append(peer)  # before the answer: `run` may follow it at once, by another thread
        return {"last_seq": 4}

    def play(_peer: Peer, params: Json) -> None:
        for one in copy.deepcopy(events):
            if one["data"].get("message_id") == "ID":
                one["data"]["message_id"] = params["message_id"]
            peers[0].event(one)
        if hang_up:
            fake.pod.hang_up()
        played.set()

    fake.pod.answers["subscribe"] = subscribe
    fake.pod.answers["run"] = lambda _peer, params: {
        "message_id": params["message_id"],
        "state": "queued",
        "position": 1,
        "turn": None,
    }
    fake.pod.answers["after run"] = play
    return played


GOOD = (
    event(5, "text", text="another's"),
    event(6, "turn_started", turn=2, message_id="ID"),
    event(7, "text_delta", turn=2, text="he"),
    event(8, "text_delta", turn=2, text="y"),
    event(9, "artifact", turn=2, name="n"),
    event(10, "turn_ended", turn=2, stop_reason="end_turn", exit_status=0),
)


async def test_a_turn_is_gathered_from_its_own_events(fake: World) -> None:
    turn_events(fake, *GOOD)
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            result = await client.pod("api").turn("hello", if_busy="queue")
    assert result.ok
    assert (result.turn, result.text, result.exit_status) == (2, "hey", 0)
    assert [one.seq for one in result.events] == [7, 8, 9, 10]
    assert [one.seq for one in result.artifacts] == [9]
    assert result.duration_seconds == 4.0
    assert "hey" not in repr(result)
    assert fake.pod.params_of("subscribe")[0]["since"] == 4


async def test_a_turn_of_too_many_events_keeps_the_last(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MAX_TURN_EVENTS", 2)
    turn_events(fake, *GOOD)
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            result = await client.pod("api").turn("hello")
    assert result.truncated
    assert [one.seq for one in result.events] == [9, 10]


@pytest.mark.parametrize(("events", "method"), [(GOOD[:3], "cancel"), (GOOD[:1], "withdraw")])
async def test_a_turn_that_takes_too_long_is_cancelled_or_withdrawn(
    fake: World, events: tuple[Json, ...], method: str, mock_clock: trio.testing.MockClock
) -> None:
    """The clock stands still until the client has all of the turn that there is."""
    played = turn_events(fake, *events)
    fake.pod.answers["cancel"] = always({"turn": 2})
    fake.pod.answers["withdraw"] = always({})

    async def take_turn() -> None:
        with pytest.raises(TimedOut, match=r"more than 20 s"):
            await client.pod("api").turn("hello", timeout_seconds=20)

    async with aio.connect() as client, trio.open_nursery() as nursery:
        nursery.start_soon(take_turn)
        assert await trio.to_thread.run_sync(played.wait, WAIT_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(20)
    assert len(fake.pod.params_of(method)) == 1


async def test_a_withdrawn_message_ends_its_turn_as_an_error(fake: World) -> None:
    turn_events(fake, event(5, "message_withdrawn", message_id="ID", reason="withdrawn"))
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            with pytest.raises(Undelivered, match="withdrawn") as caught:
                await client.pod("api").turn("hello")
            assert caught.value.data["reason"] == "withdrawn"


async def test_a_message_that_its_pod_never_got_to_says_so(fake: World) -> None:
    turn_events(fake, event(5, "message_withdrawn", message_id="ID", reason="undelivered"))
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            with pytest.raises(Undelivered, match="not delivered: its pod ended") as caught:
                await client.pod("api").turn("hello")
            assert caught.value.data["reason"] == "undelivered"


async def test_a_pod_that_ends_before_the_turn_is_an_error(fake: World) -> None:
    turn_events(fake, hang_up=True)
    connects = iter([fake.supervisor.answers["connect"]] * 2)
    ended = always(PodEnded("cannot connect: ended"))
    fake.supervisor.answers["connect"] = lambda peer, params: next(connects, ended)(peer, params)
    fake.supervisor.answers["read"] = always(read_page([]))
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client:
            with pytest.raises((PodEnded, NotConnected)):
                await client.pod("api").turn("hello")


def test_success_is_end_turn_alone() -> None:
    results = {
        reason: TurnResult(turn=1, stop_reason=reason, events=()).ok
        for reason in ("end_turn", "refusal", "cancelled", "lost")
    }
    assert results == {"end_turn": True, "refusal": False, "cancelled": False, "lost": False}


@pytest.mark.slow
async def test_a_turn_of_a_pod_that_is_killed_is_lost(pods_environ: dict[str, str]) -> None:
    with trio.fail_after(WAIT_SECONDS):
        async with (
            supervisor_and_client(pods_environ) as (_, client),
            client.session("api") as session,
        ):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def kill() -> None:
                    async for one in session.pod.events():
                        if one.type == "text_delta":
                            break
                    await session.pod.stop(mode="kill")

                result = await session.turn("echo up; sleep 100")
            assert not result.ok
            assert result.text == "up\n"
