"""Who is let in: by token, version and user, and who says so in time."""

from __future__ import annotations

import json
import os
import socket

import attrs
import pytest
import trio
import trio.testing

from pods.rpc import server as server_module
from pods.rpc.server import check_token, serve_connection
from pods.rpc.stream import UnixStream, connect_unix
from pods_protocol.api import POD_API
from pods_protocol.bounds import HELLO_SECONDS, PROTOCOL_VERSION
from pods_protocol.errors import NotAuthorized, NotConnected, UnsupportedProtocol
from pods_protocol.pod_messages import Hello, Ping
from process_support import WAIT_SECONDS
from rpc_support import TOKEN, StartServer, authenticate, opened, pong


async def test_a_wrong_token_is_refused_and_the_connection_ends(
    start_server: StartServer,
) -> None:
    server = await start_server({"ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        with pytest.raises(NotAuthorized):
            async with opened(server, token="x" * 64):
                raise AssertionError("not reached")


async def test_another_protocol_version_is_told_what_is_spoken_here(
    start_server: StartServer,
) -> None:
    server = await start_server({})
    stream = await connect_unix(server.path)
    hello = {"token": TOKEN, "protocol": 99, "client": ""}
    line = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": hello}
    with trio.fail_after(WAIT_SECONDS):
        stream.send(json.dumps(line).encode() + b"\n")
        answer = json.loads(await stream.receive())
        assert await stream.receive() == b""
    stream.close()
    assert answer["error"]["data"]["code"] == UnsupportedProtocol.CODE
    assert answer["error"]["data"]["supported"] == [PROTOCOL_VERSION]


async def test_a_peer_of_another_user_is_refused(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def foreign(_stream: UnixStream) -> tuple[int, int]:
        return 1, os.geteuid() + 1

    server = await start_server({})
    monkeypatch.setattr(UnixStream, "peer", foreign)
    with trio.fail_after(WAIT_SECONDS), pytest.raises(NotAuthorized, match="belongs to user"):
        async with opened(server):
            raise AssertionError("not reached")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_a_real_peer_of_another_user_is_refused(
    start_server: StartServer, short_dir: str
) -> None:
    server = await start_server({})
    os.chmod(short_dir, 0o755)
    os.chmod(server.path, 0o666)
    program = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.setuid(12345);"
        "s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b'\\n');"
        "sys.stdout.buffer.write(s.recv(65536))"
    )
    hello = {"token": TOKEN, "protocol": PROTOCOL_VERSION, "client": ""}
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": hello})
    with trio.fail_after(WAIT_SECONDS):
        done = await trio.run_process(
            ["/usr/bin/env", "python3", "-I", "-c", program, server.path, line],
            capture_stdout=True,
        )
    assert json.loads(done.stdout)["error"]["data"]["code"] == NotAuthorized.CODE


async def test_a_client_that_says_nothing_is_let_go(
    short_dir: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    start = trio.current_time()
    await serve_connection(
        UnixStream(ours), POD_API, authenticate=authenticate, handlers={}, log=print
    )
    assert trio.current_time() - start == pytest.approx(HELLO_SECONDS)
    answer, end = theirs.recv(4096), theirs.recv(1)
    error = json.loads(answer)
    assert (error["id"], error["error"]["data"]["code"]) == (None, "timed_out")
    assert error["error"]["data"]["timeout_seconds"] == HELLO_SECONDS
    assert end == b""
    theirs.close()


async def test_connections_are_bounded(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 1)
    server = await start_server({"ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(NotConnected):
                async with opened(server):
                    raise AssertionError("not reached")
            await client.request(Ping())


def test_tokens_never_show_in_a_repr() -> None:
    assert TOKEN not in repr(Hello(token=TOKEN, protocol=1))
    assert TOKEN not in repr(attrs.asdict(Hello(token="", protocol=1)))


def test_an_empty_token_is_nobodys() -> None:
    assert check_token("secret", "secret")
    assert not check_token("", "secret")
    assert not check_token("", "")
