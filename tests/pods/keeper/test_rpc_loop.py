"""The server on one `poll`, turn by turn: what it takes up first, and what it takes up at all."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator

from directories import short_directory
from pods.keeper.rpc_loop import RpcLoop, digest_of
from pods.rpc.unix import bind_unix
from pods_protocol.api import LAUNCHER_API
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.codec import encode_request
from pods_protocol.pod_messages import Empty, Hello, HelloResult, Ping

TOKEN = "t"


@contextlib.contextmanager
def served(order: list[str]) -> Generator[tuple[RpcLoop, socket.socket]]:
    """A server that notes what it is asked, and a client that has said hello."""

    def ping(_: Ping) -> Empty:
        order.append("asked")
        return Empty()

    identity = HelloResult(
        protocol=PROTOCOL_VERSION, server="launcher", version="", name="", id="", pid=os.getpid()
    )
    with short_directory() as directory, contextlib.ExitStack() as stack:
        server = RpcLoop(
            bind_unix(f"{directory}/s"),
            LAUNCHER_API,
            owner_digest=digest_of(TOKEN),
            identity=identity,
            handlers={Ping.METHOD: ping},
            log=order.append,
        )
        stack.callback(server.close)
        client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        client.settimeout(5)
        client.connect(f"{directory}/s")
        client.sendall(encode_request(1, Hello(token=TOKEN, protocol=PROTOCOL_VERSION)))
        server.turn()
        server.turn()
        yield server, client


def test_what_the_owner_watches_comes_before_what_clients_ask() -> None:
    order: list[str] = []
    with served(order) as (server, client), contextlib.ExitStack() as stack:
        watched, signals = (stack.enter_context(end) for end in socket.socketpair())
        server.watch(watched, lambda: order.append(f"signal {watched.recv(1).decode()}"))
        # The kernel names them in the order in which they became ready.
        client.sendall(encode_request(2, Ping()))
        signals.sendall(b"1")
        server.turn()
    assert order == ["signal 1", "asked"]


def test_what_was_asked_is_done_also_where_the_client_has_gone_since() -> None:
    order: list[str] = []
    with served(order) as (server, client):
        client.recv(4096)  # what is left unread is told as an error in place of the end
        client.sendall(encode_request(2, Ping()))
        client.close()
        server.turn()
        assert (order, server.clients) == (["asked"], 0)
