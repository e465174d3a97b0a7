"""The trio client: against a fake for what goes wrong, against real pods for what goes right."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from client_support import (
    TOKEN,
    HangUp,
    Json,
    Peer,
    World,
    always,
    event,
    read_page,
    stop_result,
    world,
)
from pods.client import aio, connections, turns
from pods.client.arguments import rules, spawn_request
from pods.client.results import TurnResult
from pods_protocol.errors import (
    AlreadyRunning,
    ClientClosed,
    InvalidParams,
    NameTaken,
    NotAuthorized,
    NotConnected,
    PodEnded,
    StorageFailed,
    TimedOut,
    Undelivered,
    UnknownPod,
)
from pods_protocol.pod_messages import Ping
from pods_protocol.supervisor_messages import ListPods
from pods_protocol.values import Limits, RestartPolicy, ScopeRule
from supervisor_support import WAIT_SECONDS, is_there, supervisor_and_client


@pytest.fixture
def fake(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(short_dir, monkeypatch) as made:
        yield made


# Connecting


async def test_a_client_finds_the_supervisor_of_the_environment(fake: World) -> None:
    fake.supervisor.answers["list"] = always({"pods": [], "capacity": CAPACITY})
    async with aio.connect(client="me") as client:
        assert (await client.list()).pods == ()
    assert fake.supervisor.params_of("hello")[0]["client"] == "me"
    assert TOKEN not in repr(client)


CAPACITY: Json = {
    "depth": 0,
    "depth_limit": 3,
    "children": 0,
    "children_limit": 8,
    "pods": 0,
    "pods_limit": 1000,
}


async def test_with_start_off_nothing_is_started(pods_environ: dict[str, str]) -> None:
    with pytest.raises(NotConnected):
        async with aio.connect(start=False, environ=pods_environ):
            raise AssertionError("there is nobody to connect to")
    assert not is_there(pods_environ["PODS_RUNTIME_DIR"])


async def test_a_wrong_token_is_not_authorized(fake: World) -> None:
    with pytest.raises(NotAuthorized):
        async with aio.connect_socket(fake.supervisor.path, "wrong"):
            raise AssertionError("it let us in")


async def test_the_body_s_exception_comes_out_as_it_went_in(fake: World) -> None:
    fake.pod.answers["ping"] = always({})

    async def fail_with_a_pod_connected() -> None:
        async with aio.connect() as client:
            await client.ask("api", Ping())
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail_with_a_pod_connected()


async def test_a_closed_client_refuses(fake: World) -> None:
    async with aio.connect() as client:
        pass
    client.close()
    with pytest.raises(ClientClosed):
        await client.request(ListPods())
    with pytest.raises(ClientClosed):
        await client.ask("api", Ping())
    with pytest.raises(ClientClosed):
        client.events("api")
    assert "closed=True" in repr(client)
    assert fake.supervisor.params_of("list") == []


# Connections to pods


async def test_a_pod_s_connection_is_kept_and_made_anew_when_it_broke(fake: World) -> None:
    fake.pod.answers["ping"] = always({})
    async with aio.connect() as client:
        await client.ask("api", Ping())
        await client.ask("api", Ping())
        assert len(fake.pod.params_of("hello")) == 1
        fake.pod.answers["ping"] = always(HangUp())
        with pytest.raises(NotConnected):
            await client.ask("api", Ping())
        assert len(fake.pod.params_of("ping")) == 3, "a request is never sent twice"
        fake.pod.answers["ping"] = always({})
        await client.ask("api", Ping())
    assert len(fake.pod.params_of("hello")) == 2


async def test_requests_at_once_share_one_connection(fake: World) -> None:
    fake.pod.answers["ping"] = always({})
    with trio.fail_after(WAIT_SECONDS):
        async with aio.connect() as client, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.ask, "api", Ping())
    assert len(fake.pod.params_of("hello")) == 1


async def test_only_so_many_connections_are_kept(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_POD_CONNECTIONS", 2)
    fake.pod.answers["ping"] = always({})
    async with aio.connect() as client:
        for name in ("a", "b", "c", "c", "a"):
            await client.ask(name, Ping())
    assert [one["pod"] for one in fake.supervisor.params_of("connect")] == ["a", "b", "c", "a"]


async def test_an_ended_pod_says_so_and_is_not_remembered(fake: World) -> None:
    fake.supervisor.answers["connect"] = always(PodEnded("cannot connect: ended"))
    async with aio.connect() as client:
        for _ in range(2):
            with pytest.raises(PodEnded):
                await client.ask("api", Ping())
    assert len(fake.supervisor.params_of("connect")) == 2


# Arguments


def test_paths_of_every_kind_become_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exact = ScopeRule(target="/x", permission="read", recursive=False)
    here = os.getcwd()
    assert rules(["a", Path("b"), exact], "write") == (
        ScopeRule(target=f"{here}/a", permission="write"),
        ScopeRule(target=f"{here}/b", permission="write"),
        exact,
    )
    assert rules([""], "read")[0].target == ""
    with pytest.raises(TypeError, match="put it in a list"):
        rules("src/api", "write")


def test_a_spawn_without_options_is_a_shell_in_the_current_directory() -> None:
    request = spawn_request("api", {})
    assert (request.agent, request.cwd, request.delegable) == ("shell", os.getcwd(), None)
    narrow = spawn_request("api", {"delegable": ["/a"], "deny": ["/b"]})
    assert narrow.delegable == (ScopeRule(target="/a", permission="write"),)
    assert narrow.deny == (ScopeRule(target="/b", permission="read"),)


# Reading and waiting


async def test_read_text_joins_the_pages_and_then_moves_the_mark(fake: World) -> None:
    pages = [
        read_page([event(1, "text", text="a")], next=2, truncated=True),
        read_page([event(3, "text_delta", text="b")], next=4),
    ]
    fake.supervisor.answers["read"] = lambda _peer, _params: pages.pop(0)
    fake.supervisor.answers["advance"] = always({})
    async with aio.connect() as client:
        assert await client.read_text("api", reader="r") == "ab"
    assert [one["since"] for one in fake.supervisor.params_of("read")] == [None, 2]
    assert fake.supervisor.params_of("advance") == [{"pod": "api", "seq": 4, "reader": "r"}]


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), "5", None])
async def test_a_time_that_nobody_can_wait_is_refused_before_anything_is_asked(
    fake: World, seconds: Any
) -> None:
    async with aio.connect() as client:
        pod = client.pod("api")
        calls: list[Callable[[], Awaitable[object]]] = [
            partial(pod.read, wait_seconds=seconds),
            partial(pod.stop, grace_seconds=seconds),
            partial(client.shutdown, grace_seconds=seconds),
            partial(client.prune, seconds),
        ]
        if seconds is not None:  # then there is no limit
            calls += [
                partial(pod.turn, "x", timeout_seconds=seconds),
                partial(pod.wait, timeout_seconds=seconds),
                partial(client.wait, "api", timeout_seconds=seconds),
            ]
        for call in calls:
            with pytest.raises(InvalidParams, match=r"_seconds: it must be a number of seconds"):
                await call()
    assert [method for method, _ in fake.supervisor.requests] == ["hello"]
    assert fake.pod.requests == []


def test_limits_and_a_policy_may_be_plain_mappings() -> None:
    asked = spawn_request(
        "api", {"limits": {"turns": 3}, "restart": {"when": "on-failure", "limit": 2}}
    )
    assert asked.limits == Limits(turns=3)
    assert asked.restart == RestartPolicy(when="on-failure", limit=2)
    with pytest.raises(InvalidParams, match="turns"):
        spawn_request("api", {"limits": {"turn": 3}})
    with pytest.raises(InvalidParams):
        spawn_request("api", {"restart": {"when": "always"}})


async def test_a_wait_without_a_deadline_asks_again(fake: World) -> None:
    answers = [True, False]
    fake.supervisor.answers["wait"] = lambda _peer, _params: {
        "ready": [],
        "pending": [],
        "timed_out": answers.pop(0),
    }
    async with aio.connect() as client:
        assert not (await client.wait("api", any_of_them=True)).timed_out
        answers[:] = [True]
        assert (await client.wait("api", timeout_seconds=0)).timed_out
    assert fake.supervisor.params_of("wait")[0]["mode"] == "any"


# Turns


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


# Sessions


def spawnable(fake: World) -> None:
    from client_support import capacity, pod_info

    fake.supervisor.answers["spawn"] = always(
        {
            "pod": pod_info(),
            "socket": fake.pod.path,
            "token": TOKEN,
            "message": None,
            "enforcement": pod_info()["enforcement"],
            "capacity": capacity(),
        }
    )
    fake.supervisor.answers["stop"] = always(stop_result())


async def test_a_session_stops_its_pod_and_closing_again_is_nothing(fake: World) -> None:
    spawnable(fake)
    fake.supervisor.answers["remove"] = always({"pod": "api", "id": "i"})
    async with aio.connect() as client:
        async with client.session("api", remove=True) as session:
            pod = session.pod
            assert pod.spawned is not None
            assert TOKEN not in repr(pod.spawned)
        await session.close()
        assert session.closed
        with pytest.raises(ClientClosed):
            await session.turn("late")
    assert len(fake.supervisor.params_of("stop")) == 1
    assert len(fake.supervisor.params_of("remove")) == 1
    assert "closed=True" in repr(session)


async def test_a_failing_stop_never_hides_what_the_block_raised(fake: World) -> None:
    spawnable(fake)
    fake.supervisor.answers["stop"] = always(StorageFailed("cannot stop api: disk full"))
    async with aio.connect() as client:
        with pytest.raises(KeyError, match="mine") as caught:
            async with client.session("api"):
                raise KeyError("mine")
        assert "disk full" in caught.value.__notes__[0]
        session = client.session("api")
        with pytest.raises(StorageFailed):
            async with session:
                pass
        fake.supervisor.answers["stop"] = always(stop_result())
        await session.close()
        assert session.closed


async def test_a_session_that_cannot_be_opened_stops_nothing(fake: World) -> None:
    fake.supervisor.answers["spawn"] = always(NameTaken("cannot spawn api: taken"))
    async with aio.connect() as client:
        with pytest.raises(NameTaken):
            async with client.session("api"):
                raise AssertionError("it opened")
    assert fake.supervisor.params_of("stop") == []


async def test_a_session_cancelled_while_it_opens_leaves_no_pod(fake: World) -> None:
    spawnable(fake)
    async with aio.connect() as client:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with client.session("api"):
                raise AssertionError("it opened")
        assert scope.cancelled_caught
    assert len(fake.supervisor.params_of("stop")) == 1


async def test_a_session_cancelled_in_its_block_stops_its_pod(fake: World) -> None:
    spawnable(fake)
    async with aio.connect() as client:
        with trio.CancelScope() as scope:
            async with client.session("api"):
                scope.cancel()
                await trio.sleep_forever()
    assert len(fake.supervisor.params_of("stop")) == 1


def test_success_is_end_turn_alone() -> None:
    results = {
        reason: TurnResult(turn=1, stop_reason=reason, events=()).ok
        for reason in ("end_turn", "refusal", "cancelled", "lost")
    }
    assert results == {"end_turn": True, "refusal": False, "cancelled": False, "lost": False}


# Real pods


@pytest.mark.slow
async def test_every_method_answers_with_a_real_supervisor(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    with trio.fail_after(WAIT_SECONDS):
        async with supervisor_and_client(pods_environ) as (_, client):
            pod = await client.spawn(
                "api", write=[f"{short_dir}/w"], prompt="echo one", cwd=f"{short_dir}/w"
            )
            await pod.wait()
            assert await pod.read_text() == "one\n"
            assert await pod.read_text() == ""
            good = await pod.turn("echo two; pwd")
            assert good.text == f"two\n{short_dir}/w\n"
            bad = await pod.turn("echo no >&2; exit 3")
            assert (bad.ok, bad.exit_status) == (False, 3)
            started = await pod.send("sleep 100")
            assert started.state == "started"
            with pytest.raises(AlreadyRunning):
                await pod.send("echo busy")
            queued = await pod.send("echo later", if_busy="queue")
            await pod.withdraw(queued.message_id)
            assert (await pod.cancel()).turn == started.turn
            await pod.wait()
            assert (await pod.status()).state == "idle"
            assert (await pod.notify("by the way")).state == "noted"
            assert [one.role for one in (await pod.history()).entries][:2] == ["user", "assistant"]
            assert (await pod.inspect()).pod.name == "api"
            assert (await pod.read(since=0)).events[0].seq == 1
            (holder,) = await client.scopes()
            assert holder.pod == "api"
            assert not (await client.check_scope(write=[f"{short_dir}/w"])).granted
            assert (await client.doctor()).pods == {"idle": 1}
            assert (await pod.stop()).state == "stopped"
            assert (await pod.stop()).step == "already_ended"
            seqs = [one.seq async for one in pod.events()]
            assert seqs == list(range(1, len(seqs) + 1))
            assert (await client.prune(3600)).removed == ()
            await pod.remove()
            with pytest.raises(UnknownPod):
                await client.inspect("api")


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
