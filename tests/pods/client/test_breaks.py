"""A request is not asked for ever, however long each of its supervisors lasts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import cast

import pytest
import trio
import trio.testing

from pods.cli.again import ask_again
from pods.client.breaks import MAX_BREAKS, WITHIN_SECONDS, Breaks, once_more
from pods.client.plain import PlainClient
from pods.client.supervisor_link import SupervisorLink
from pods.rpc.client import RpcClient
from pods_protocol.errors import NotConnected
from pods_protocol.supervisor_messages import ListPods

LASTS_SECONDS = 1.05
"""Of each supervisor here: long enough to look as if it worked."""


class Broken:
    """A verb's connection to a supervisor that has died."""

    path = "/nowhere"
    closed = True

    def __enter__(self) -> Broken:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        pass


class Dying:
    """A client's connection to a supervisor that dies of each request, late."""

    def __init__(self, asked: list[float]) -> None:
        self.asked = asked
        self.closed = trio.Event()
        self.closed.set()

    async def request(self, message: object, *, timeout_seconds: float) -> object:
        self.asked.append(timeout_seconds)
        await trio.sleep(LASTS_SECONDS)
        raise NotConnected("gone")


class Clock:
    """A time that goes on with each request."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asked_by_a_verb(breaks: Breaks | None, lasts_seconds: float = LASTS_SECONDS) -> int:
    clock = Clock()
    asked: list[float] = []

    def ask(_client: PlainClient) -> None:
        asked.append(clock.now)
        clock.now += lasts_seconds
        raise NotConnected("gone")

    with pytest.raises(NotConnected, match="again and again"):
        ask_again(lambda: cast("PlainClient", Broken()), ask, breaks=breaks, clock=clock)
    return len(asked)


async def asked_by_a_client(breaks: Breaks | None) -> int:
    asked: list[float] = []

    @asynccontextmanager
    async def opening() -> AsyncGenerator[RpcClient]:
        await trio.lowlevel.checkpoint()
        yield cast("RpcClient", Dying(asked))

    async with trio.open_nursery() as nursery:
        link = SupervisorLink(cast("RpcClient", Dying(asked)), nursery, opening)
        with pytest.raises(NotConnected):
            await link.ask_again(lambda: (ListPods(), 10.0), breaks=breaks)
    return len(asked)


def test_a_verb_gives_up_a_supervisor_that_lasts_a_second_each_time() -> None:
    assert asked_by_a_verb(None) == 1 + MAX_BREAKS


def test_a_spawn_is_asked_twice_in_all_however_late() -> None:
    assert asked_by_a_verb(once_more(), WITHIN_SECONDS * 10) == 2


def test_nothing_is_asked_again_after_its_time() -> None:
    assert asked_by_a_verb(Breaks(until=2.0)) == 2


async def test_a_client_gives_up_a_supervisor_that_lasts_a_second_each_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await asked_by_a_client(None) == 1 + MAX_BREAKS
    assert await asked_by_a_client(Breaks(until=trio.current_time() + 2.0)) == 2


def test_one_that_dies_every_now_and_then_is_gone_on_after() -> None:
    breaks = Breaks()
    assert all(breaks.another(number * WITHIN_SECONDS) for number in range(100))
