"""What a handler puts off until its asker is answered, and where that comes first all the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence

import pytest
import trio

from pods.rpc.server import Handler, Session, serve_connection
from pods.rpc.stream import UnixStream
from pods_protocol.api import POD_API
from pods_protocol.errors import Busy
from pods_protocol.pod_messages import Empty, Ping, Subscribe, SubscribeResult
from process_support import WAIT_SECONDS
from rpc_support import authenticate, lines_asking, pong


async def answered_when_settling(
    handlers: Mapping[str, Handler], asked: Sequence[str]
) -> list[list[int]]:
    """Ask all of it; which ids had been answered at each `settle`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    settled: list[list[int]] = []

    def settle() -> None:
        lines = ours.recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT).splitlines()
        settled.append([json.loads(line)["id"] for line in lines])

    with ours:
        for line in lines_asking(*asked):
            ours.sendall(line)
        with trio.fail_after(WAIT_SECONDS):
            async with trio.open_nursery() as nursery:

                async def serve() -> None:
                    await serve_connection(
                        UnixStream(theirs),
                        POD_API,
                        authenticate=authenticate,
                        handlers=handlers,
                        log=print,
                        settle=settle,
                    )

                nursery.start_soon(serve)
                while len(settled) < len(asked):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
    return settled


def refuse(session: Session, message: Ping) -> Empty:
    raise Busy("cannot answer: too much to do", limit_name="x", limit=1)


def fail(session: Session, message: Ping) -> Empty:
    raise ZeroDivisionError


@pytest.mark.parametrize("handler", [pong, refuse, fail])
async def test_the_asker_is_answered_before_the_rest_is_done(handler: Handler) -> None:
    assert await answered_when_settling({"ping": handler}, ["ping", "ping"]) == [[0, 1], [0, 1, 2]]


async def test_a_connection_that_follows_hears_what_it_caused_before_the_answer() -> None:
    def subscribe(session: Session, message: Subscribe) -> SubscribeResult:
        session.follow(trio.sleep_forever)
        return SubscribeResult(last_seq=0)

    handlers: dict[str, Handler] = {"subscribe": subscribe, "ping": pong}
    seen = await answered_when_settling(handlers, ["subscribe", "ping"])
    assert seen[:2] == [[0, 1], [0, 1]]
