"""What breaks on a real socket: a connection, a listener, and nobody else with it."""

from __future__ import annotations

import errno
import json
import socket
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from pods.rpc.client import open_rpc
from pods.rpc.server import serve_unix
from pods.rpc.stream import UnixStream, connect_unix
from pods.rpc.unix import bind_unix
from pods_protocol.api import POD_API
from pods_protocol.bounds import MAX_LINE_BYTES
from pods_protocol.errors import NotConnected, TimedOut, TooLarge
from pods_protocol.pod_messages import Ping
from process_support import WAIT_SECONDS
from rpc_support import TOKEN, Server, StartServer, opened, pong


async def test_a_line_without_an_end_is_refused_at_the_cap(start_server: StartServer) -> None:
    server = await start_server({"ping": pong})
    stream = await connect_unix(server.path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.run_writer)
        with trio.fail_after(WAIT_SECONDS):
            stream.send(b"x" * (2 * MAX_LINE_BYTES))
            answer = json.loads(await stream.receive())
            assert answer["error"]["data"]["code"] == TooLarge.CODE
            while await stream.receive():
                pass
        stream.close()
        nursery.cancel_scope.cancel()
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:  # nobody else noticed
            await client.request(Ping())


async def test_a_connection_nobody_accepts_times_out(
    short_dir: str, autojump_clock: trio.testing.MockClock
) -> None:
    listener = bind_unix(f"{short_dir}/s", backlog=0)
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(f"{short_dir}/s")
    with pytest.raises(TimedOut, match="nobody took the connection"):
        async with open_rpc(f"{short_dir}/s", POD_API, token=TOKEN):
            raise AssertionError("not reached")
    waiting.close()
    listener.close()


async def test_the_bodys_exception_comes_out_as_it_went_in(start_server: StartServer) -> None:
    server = await start_server({})
    with trio.fail_after(WAIT_SECONDS), pytest.raises(ZeroDivisionError):
        async with opened(server):
            raise ZeroDivisionError


async def test_a_server_that_gives_up_on_the_connection_ends_it(short_dir: str) -> None:
    listener = bind_unix(f"{short_dir}/s")
    listener.setblocking(False)

    async def serve() -> None:
        await trio.lowlevel.wait_readable(listener)
        sock, _ = listener.accept()
        line = {"jsonrpc": "2.0", "id": None, "error": {"code": -32003, "message": "cannot"}}
        sock.sendall(json.dumps(line).encode() + b"\n")
        sock.close()

    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with pytest.raises(NotConnected):
                async with open_rpc(f"{short_dir}/s", POD_API, token=TOKEN):
                    raise AssertionError("not reached")
    listener.close()


async def test_one_broken_connection_reaches_no_other(start_server: StartServer) -> None:
    server = await start_server({"ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            for half in (b'{"jsonrpc":', b"not json\n", b"\xff\xfe\n", b""):
                stream = await connect_unix(server.path)
                stream.send(half)
                stream.close()
                await client.request(Ping())


async def test_a_bug_in_a_connection_is_logged_and_the_next_is_served(
    short_dir: str, nursery: trio.Nursery
) -> None:
    logged: list[str] = []

    async def broken(stream: UnixStream) -> None:
        raise ZeroDivisionError

    listener = bind_unix(f"{short_dir}/s")

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await serve_unix(listener, broken, log=logged.append, task_status=task_status)

    await nursery.start(serve)
    with trio.fail_after(WAIT_SECONDS):
        for _ in range(2):
            stream = await connect_unix(f"{short_dir}/s")
            assert await stream.receive() == b""
            stream.close()
    assert len(logged) == 2
    nursery.cancel_scope.cancel()
    listener.close()


class FaultyListener:
    """A listening socket that fails a few accepts first."""

    def __init__(self, listener: socket.socket, failures: list[OSError]) -> None:
        self._listener = listener
        self._failures = failures

    def setblocking(self, flag: bool) -> None:
        self._listener.setblocking(flag)

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        if self._failures:
            raise self._failures.pop(0)
        return self._listener.accept()


async def test_running_out_of_descriptors_is_survived(
    short_dir: str, nursery: trio.Nursery
) -> None:
    listener = bind_unix(f"{short_dir}/s")
    failures = [OSError(errno.EMFILE, "x"), OSError(errno.ECONNABORTED, "x")]
    faulty: Any = FaultyListener(listener, failures)
    server = Server(f"{short_dir}/s", {"ping": pong})

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await serve_unix(faulty, server.serve, log=print, task_status=task_status)

    await nursery.start(serve)
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            await client.request(Ping())
    assert not failures
    nursery.cancel_scope.cancel()
    listener.close()


async def test_an_accept_that_fails_for_good_ends_the_listener(short_dir: str) -> None:
    listener = bind_unix(f"{short_dir}/s")
    faulty: Any = FaultyListener(listener, [OSError(errno.EBADF, "gone")])
    server = Server(f"{short_dir}/s", {})
    with trio.fail_after(WAIT_SECONDS), pytest.raises(ExceptionGroup):
        await serve_unix(faulty, server.serve, log=print)
    listener.close()
