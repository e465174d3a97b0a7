"""The trio client: whom it connects to, what it asks, and each method with a real supervisor."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from client_support import TOKEN, HangUp, World, always, capacity, event, read_page
from pods.client import aio, connections
from pods_protocol.errors import (
    AlreadyRunning,
    ClientClosed,
    InvalidParams,
    NotAuthorized,
    NotConnected,
    PodEnded,
    UnknownPod,
)
from pods_protocol.pod_messages import Ping
from pods_protocol.supervisor_messages import ListPods
from supervisor_support import WAIT_SECONDS, is_there, supervisor_and_client

# Connecting


async def test_a_client_finds_the_supervisor_of_the_environment(fake: World) -> None:
    fake.supervisor.answers["list"] = always({"pods": [], "capacity": capacity()})
    async with aio.connect(client="me") as client:
        assert (await client.list()).pods == ()
    assert fake.supervisor.params_of("hello")[0]["client"] == "me"
    assert TOKEN not in repr(client)


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


# A real supervisor


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
