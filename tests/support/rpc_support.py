"""A server on a real socket for tests of `pods.rpc`, with handlers that a test chooses."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from pods.rpc.client import open_rpc
from pods.rpc.server import Handler, Session, check_token, serve_connection, serve_unix
from pods.rpc.stream import UnixStream
from pods.rpc.unix import bind_unix
from pods_protocol.api import POD_API
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.errors import NotAuthorized
from pods_protocol.pod_messages import Empty, Hello, HelloResult, Ping

TOKEN = "t" * 64


def authenticate(session: Session, hello: Hello) -> HelloResult:
    """Let in whoever has the token."""
    if not check_token(hello.token, TOKEN):
        raise NotAuthorized("cannot let you in: wrong token")
    session.caller = hello.client
    return HelloResult(
        protocol=PROTOCOL_VERSION, server="pod", version="0", name="p", id="1", pid=os.getpid()
    )


def lines_asking(*methods: str) -> list[bytes]:
    """`hello` and a request of each method with its defaults, a line each; ids count from 0."""
    hello = {"token": TOKEN, "protocol": PROTOCOL_VERSION, "client": ""}
    return [
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        + b"\n"
        for number, (method, params) in enumerate([("hello", hello), *((m, {}) for m in methods)])
    ]


class Server:
    """A server whose handlers a test chooses."""

    def __init__(self, path: str, handlers: Mapping[str, Handler]) -> None:
        self.path = path
        self.handlers = handlers
        self.logged: list[str] = []

    async def serve(self, stream: UnixStream) -> None:
        await serve_connection(
            stream,
            POD_API,
            authenticate=authenticate,
            handlers=self.handlers,
            log=self.logged.append,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listener = bind_unix(self.path)
        try:
            await serve_unix(listener, self.serve, log=self.logged.append, task_status=task_status)
        finally:
            listener.close()


StartServer = Callable[[Mapping[str, Handler]], Awaitable[Server]]


def opened(server: Server, token: str = TOKEN) -> Any:
    """A client of that server."""
    return open_rpc(server.path, POD_API, token=token, client="test")


def pong(session: Session, message: Ping) -> Empty:
    """Answers `ping`."""
    return Empty()
