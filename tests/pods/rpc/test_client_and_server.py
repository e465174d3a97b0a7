"""The two ends of a connection on a real socket: who is let in, who is answered, what breaks."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing

from pods.rpc import server as server_module
from pods.rpc.client import RpcClient, open_rpc
from pods.rpc.server import Handler, Session, check_token, serve_connection, serve_unix
from pods.rpc.stream import UnixStream, connect_unix
from pods.rpc.unix import bind_unix
from pods_protocol.api import POD_API
from pods_protocol.bounds import HELLO_SECONDS, MAX_LINE_BYTES, PROTOCOL_VERSION
from pods_protocol.errors import (
    AlreadyRunning,
    Busy,
    InternalError,
    NotAuthorized,
    NotConnected,
    PodsError,
    TimedOut,
    TooLarge,
    UnsupportedProtocol,
)
from pods_protocol.events import Event
from pods_protocol.pod_messages import (
    Cancel,
    CancelResult,
    Empty,
    GetHistory,
    GetHistoryResult,
    Hello,
    HelloResult,
    HistoryEntry,
    Ping,
    Run,
    RunResult,
    WaitFor,
    WaitForResult,
)
from process_support import WAIT_SECONDS

TOKEN = "t" * 64


def authenticate(session: Session, hello: Hello) -> HelloResult:
    if not check_token(hello.token, TOKEN):
        raise NotAuthorized("cannot let you in: wrong token")
    session.caller = hello.client
    return HelloResult(
        protocol=PROTOCOL_VERSION, server="pod", version="0", name="p", id="1", pid=os.getpid()
    )


class Server:
    """A server whose handlers a test chooses."""

    def __init__(self, path: str, handlers: Mapping[str, Handler]) -> None:
        self.path = path
        self.handlers = handlers
        self.logged: list[str] = []
        self.sessions: list[Session] = []

    def authenticate(self, session: Session, hello: Hello) -> HelloResult:
        self.sessions.append(session)
        return authenticate(session, hello)

    async def serve(self, stream: UnixStream) -> None:
        await serve_connection(
            stream,
            POD_API,
            authenticate=self.authenticate,
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


@pytest.fixture
def start_server(nursery: trio.Nursery, short_dir: str) -> StartServer:
    async def start(handlers: Mapping[str, Handler]) -> Server:
        server = Server(f"{short_dir}/s", handlers)
        await nursery.start(server.run)
        return server

    return start


def opened(server: Server, token: str = TOKEN) -> Any:
    return open_rpc(server.path, POD_API, token=token, client="test")


def pong(session: Session, message: Ping) -> Empty:
    return Empty()


async def test_a_request_is_answered_to_its_asker(start_server: StartServer) -> None:
    def run(session: Session, message: Run) -> RunResult:
        return RunResult(message_id=message.input, state="started", turn=1)

    server = await start_server({"run": run})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as one, opened(server) as two:
            answers: list[RunResult] = []

            async def ask(client: RpcClient, text: str) -> None:
                answers.append(await client.request(Run(input=text)))
                assert answers[-1].message_id == text

            async with trio.open_nursery() as nursery:
                for client in (one, two):
                    for number in range(10):
                        nursery.start_soon(ask, client, f"{id(client)} {number}")
    assert len(answers) == 20


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


async def test_an_error_of_a_handler_reaches_the_asker_with_its_type_and_data(
    start_server: StartServer,
) -> None:
    def run(session: Session, message: Run) -> RunResult:
        raise AlreadyRunning("cannot run: busy; wait", turn=3)

    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await trio.lowlevel.checkpoint()
        raise TimedOut("cannot wait: too long", timeout_seconds=1)

    server = await start_server({"run": run, "wait": wait})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(AlreadyRunning) as refused:
                await client.request(Run(input="x"))
            assert refused.value.data == {"turn": 3}
            with pytest.raises(TimedOut):
                await client.request(WaitFor())


async def test_a_bug_in_a_handler_is_answered_logged_and_survived(
    start_server: StartServer,
) -> None:
    def run(session: Session, message: Run) -> RunResult:
        raise ZeroDivisionError("a secret detail")

    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("another")

    server = await start_server({"run": run, "wait": wait, "ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(InternalError) as first:
                await client.request(Run(input="x"))
            with pytest.raises(InternalError):
                await client.request(WaitFor())
            await client.request(Ping())
    assert "secret" not in first.value.message
    assert len(server.logged) == 2
    assert "ZeroDivisionError" in server.logged[0]


async def test_a_slow_request_does_not_hold_up_the_next(start_server: StartServer) -> None:
    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await trio.sleep_forever()
        raise AssertionError

    server = await start_server({"wait": wait, "ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.request, WaitFor())
            await trio.testing.wait_all_tasks_blocked()
            await client.request(Ping())
            nursery.cancel_scope.cancel()


async def test_requests_under_way_are_bounded(start_server: StartServer) -> None:
    release = trio.Event()

    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await release.wait()
        return WaitForResult(reached=True, state="idle", last_seq=0)

    server = await start_server({"wait": wait})
    refused: list[PodsError] = []
    answered: list[WaitForResult] = []

    async def ask(client: RpcClient) -> None:
        try:
            answered.append(await client.request(WaitFor()))
        except Busy as error:
            refused.append(error)
            release.set()

    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client, trio.open_nursery() as nursery:
            for _ in range(server_module.MAX_IN_FLIGHT + 1):
                nursery.start_soon(ask, client)
    assert len(refused) == 1
    assert len(answered) == server_module.MAX_IN_FLIGHT


async def test_an_answer_over_the_line_cap_becomes_an_error(start_server: StartServer) -> None:
    def history(session: Session, message: GetHistory) -> GetHistoryResult:
        entry = HistoryEntry(role="user", text="x" * MAX_LINE_BYTES, turn=1, seq=1)
        return GetHistoryResult(entries=(entry,), next=1)

    server = await start_server({"history": history, "ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(TooLarge):
                await client.request(GetHistory())
            await client.request(Ping())


async def test_notifications_reach_the_callback_in_order(start_server: StartServer) -> None:
    def cancel(session: Session, message: Cancel) -> CancelResult:
        for seq in range(1, 4):
            session.notify("event", Event(seq=seq, time=0.0, turn=None, type="status", data={}))
        return CancelResult(turn=None)

    server = await start_server({"cancel": cancel})
    seen: list[tuple[str, int]] = []
    with trio.fail_after(WAIT_SECONDS):
        async with open_rpc(
            server.path,
            POD_API,
            token=TOKEN,
            on_notification=lambda method, event: seen.append((method, event.seq)),
        ) as client:
            await client.request(Cancel())
    assert seen == [("event", 1), ("event", 2), ("event", 3)]


async def test_waiting_requests_fail_when_the_server_goes(start_server: StartServer) -> None:
    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        session.close()
        await trio.sleep_forever()
        raise AssertionError

    server = await start_server({"wait": wait})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(NotConnected):
                await client.request(WaitFor())
            await client.closed.wait()
            with pytest.raises(NotConnected):
                await client.request(Ping())
            await client.aclose()


async def test_an_answer_nobody_waits_for_any_more_is_dropped(start_server: StartServer) -> None:
    release = trio.Event()

    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await release.wait()
        return WaitForResult(reached=True, state="idle", last_seq=0)

    server = await start_server({"wait": wait, "ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(TimedOut, match="may still act"):
                await client.request(WaitFor(), timeout_seconds=0.01)
            release.set()
            await client.request(Ping())


async def test_each_request_waits_for_its_own_time_and_no_longer(
    start_server: StartServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await trio.sleep(message.timeout_seconds)
        return WaitForResult(reached=True, state="idle", last_seq=0)

    server = await start_server({"wait": wait, "ping": pong})
    ended: list[tuple[float, str]] = []

    async with opened(server) as client, trio.open_nursery() as nursery:
        began = trio.current_time()

        async def ask(answer_after: float, patience: float | None) -> None:
            try:
                await client.request(
                    WaitFor(timeout_seconds=answer_after), timeout_seconds=patience
                )
                outcome = "answered"
            except TimedOut as error:
                outcome = f"late after {error.data['timeout_seconds']:g}"
            ended.append((round(trio.current_time() - began), outcome))

        for case in ((20, 50), (30, 3), (40, None), (60, 10), (5, 4000)):
            nursery.start_soon(ask, *case)
    assert ended == [
        (3, "late after 3"),
        (5, "answered"),
        (10, "late after 10"),
        (20, "answered"),
        (40, "answered"),
    ]
    async with opened(server) as client:
        # An alarm that was set for a request which has been answered rings for nobody.
        await client.request(Ping(), timeout_seconds=1)
        assert (await client.request(WaitFor(timeout_seconds=5), timeout_seconds=9)).reached


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


def test_tokens_never_show_in_a_repr() -> None:
    assert TOKEN not in repr(Hello(token=TOKEN, protocol=1))
    assert TOKEN not in repr(attrs.asdict(Hello(token="", protocol=1)))


def test_an_empty_token_is_nobodys() -> None:
    assert check_token("secret", "secret")
    assert not check_token("", "secret")
    assert not check_token("", "")
