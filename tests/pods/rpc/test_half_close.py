"""A client that closes its sending side, as `printf ... | nc -N -U` does, and listens on."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import trio
import trio.testing

from pods.rpc.server import Handler, Session, serve_connection
from pods.rpc.stream import UnixStream
from pods_protocol.api import POD_API
from pods_protocol.events import Event
from pods_protocol.pod_messages import (
    ReadEvents,
    ReadEventsResult,
    Subscribe,
    SubscribeResult,
)
from process_support import WAIT_SECONDS
from rpc_support import authenticate, lines_asking

ANSWER = ReadEventsResult(events=(), next=0, last_seq=0, truncated=False, state="idle")


@asynccontextmanager
async def served(
    handlers: Mapping[str, Handler], *asked: str
) -> AsyncGenerator[tuple[UnixStream, trio.Event]]:
    """A client that has asked all it asks, and an event for when the server is done with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    client, over = UnixStream(ours), trio.Event()

    async def serve() -> None:
        await serve_connection(
            UnixStream(theirs), POD_API, authenticate=authenticate, handlers=handlers, log=print
        )
        over.set()

    for line in lines_asking(*asked):
        client.send(line)
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                yield client, over
            finally:
                client.close()


async def lines_of(client: UnixStream) -> list[dict[str, object]]:
    received = b""
    while data := await client.receive():
        received += data
    return [json.loads(line) for line in received.splitlines()]


async def test_what_was_asked_is_answered_then_the_connection_closes() -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def read(_: Session, __: ReadEvents) -> ReadEventsResult:
        begun.set()
        await go_on.wait()
        return ANSWER

    async with served({"read": read}, "read", "read") as (client, over):
        client.end_of_sending()
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not over.is_set()
        go_on.set()
        # Both reads go on at once, and trio draws lots for who comes first.
        assert {line["id"] for line in await lines_of(client)} == {0, 1, 2}
        await over.wait()


async def test_what_was_asked_is_cancelled_when_the_peer_is_wholly_gone() -> None:
    begun, cancelled = trio.Event(), trio.Event()

    async def read(_: Session, __: ReadEvents) -> ReadEventsResult:
        begun.set()
        try:
            await trio.Event().wait()
        finally:
            cancelled.set()
        return ANSWER

    async with served({"read": read}, "read") as (client, over):
        client.end_of_sending()
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not cancelled.is_set()
        client.close()
        await over.wait()
        assert cancelled.is_set()


async def test_a_subscription_goes_on_for_as_long_as_somebody_listens() -> None:
    sessions: list[Session] = []

    def subscribe(session: Session, _: Subscribe) -> SubscribeResult:
        session.follow(trio.sleep_forever)
        sessions.append(session)
        return SubscribeResult(last_seq=0)

    async with served({"subscribe": subscribe}, "subscribe") as (client, over):
        client.end_of_sending()
        await trio.testing.wait_all_tasks_blocked()
        sessions[0].notify("event", Event(seq=1, time=0.0, turn=None, type="text", data={}))
        received = b""
        while b'"event"' not in received:
            received += await client.receive()
        assert not over.is_set()
        client.close()
        await over.wait()


async def test_a_connection_that_its_server_closes_ends_at_once() -> None:
    sessions: list[Session] = []

    async def read(session: Session, _: ReadEvents) -> ReadEventsResult:
        sessions.append(session)
        await trio.Event().wait()
        return ANSWER

    async with served({"read": read}, "read") as (client, over):
        client.end_of_sending()
        await trio.testing.wait_all_tasks_blocked()
        sessions[0].close()
        await over.wait()
