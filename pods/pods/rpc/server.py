"""The answering side of a connection: who is there, what they ask, answers in order.

Owns connections from `accept` to close: hello deadline, uid check, the bound on requests under way,
turning any error into a typed answer. Knows no method's meaning: handlers are passed in.
"""

from __future__ import annotations

import errno
import hmac
import os
import socket
import traceback
from collections.abc import Awaitable, Callable, Mapping
from types import CoroutineType
from typing import Any, Final, cast

import trio

from pods.descriptors import OVERLOAD, is_out_of_descriptors, no_descriptors
from pods.rpc.stream import UnixStream
from pods.rpc.unix import no_hello
from pods_protocol.api import Api
from pods_protocol.bounds import HELLO_SECONDS, PROTOCOL_VERSION
from pods_protocol.connection import (
    NEED_DATA,
    BadRequest,
    Connection,
    ConnectionClosed,
    RequestReceived,
)
from pods_protocol.errors import (
    Busy,
    InternalError,
    NotAuthorized,
    PodsError,
    UnsupportedProtocol,
)
from pods_protocol.pod_messages import Hello, HelloResult

MAX_IN_FLIGHT: Final = 256
"""Requests of one connection that are being answered at once; more are refused as `busy`."""

MAX_CONNECTIONS: Final = 512
"""Connections of one socket at once: a descriptor each, below the usual limit of 1024."""

ACCEPT_PAUSE_SECONDS: Final = 0.05
"""After the system ran out of descriptors: time for others to close some."""

FAREWELL_SECONDS: Final = 1.0
"""Time for the last answer to leave before a connection is closed on its peer."""

Handler = Callable[["Session", Any], object | Awaitable[object]]
Authenticate = Callable[["Session", Hello], HelloResult]
Log = Callable[[str], None]
Refused = Callable[["Session", str, object, PodsError], None]
Settle = Callable[[], None]


def check_token(given: str, expected: str) -> bool:
    """Whether the tokens are equal, in time that tells nothing of where they differ.

    An empty one is no token: it never matches.
    """
    return bool(expected) and hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode()
    )


class Session:
    """One connection, as handlers see it; also a sink for a journal's feed.

    Attributes:
        caller: who it is, as `authenticate` decided.
        nursery: tasks that live as long as the connection.
        peer_pid, peer_uid: the other process when it connected.
        in_flight: requests that are not answered yet.
        following: a task of the connection sends what nobody asked for one by one.
    """

    def __init__(self, stream: UnixStream, connection: Connection, nursery: trio.Nursery) -> None:
        self._stream = stream
        self.try_send: Callable[[bytes], bool] = stream.send
        self._connection = connection
        self.nursery = nursery
        self.peer_pid, self.peer_uid = stream.peer()
        self.caller: Any = None
        self.in_flight = 0
        self.following = False
        self._answered: trio.Event | None = None

    def peer_process(self) -> int | None:
        """A pidfd of who connected, for the caller to close; None where the kernel tells none."""
        return self._stream.peer_process()

    def follow(self, serve: Callable[..., Awaitable[None]], *args: object) -> None:
        """Let a task send notifications for as long as somebody is there to read them."""
        self.following = True
        self.nursery.start_soon(serve, *args)

    def done_with_one(self) -> None:
        """One of the requests in flight is answered."""
        self.in_flight -= 1
        if not self.in_flight and self._answered is not None:
            self._answered.set()

    async def answer_the_rest(self) -> None:
        """Wait until a peer that asks no more has got what it asked for, or is gone.

        `printf ... | nc -N -U SOCKET` closes its sending side and listens on.
        """
        if not self.in_flight and not self.following:
            return
        async with trio.open_nursery() as nursery:

            async def answered() -> None:
                if self.following:
                    return  # that has no last answer: it goes on while somebody listens
                self._answered = trio.Event()
                await self._answered.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(answered)
            await self._stream.peer_gone()
            nursery.cancel_scope.cancel()

    async def drained(self) -> None:
        """Wait until nothing waits to go out."""
        await self._stream.drained()

    def notify(self, method: str, params: object) -> None:
        """Send a notification; a peer that does not read is cut off at the outbox's bound."""
        self._stream.send(self._connection.send_notification(method, params))

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def answer(self, request_id: int | str, result: object) -> None:
        """Send the one answer to a request; one that no line can hold becomes an error."""
        try:
            line = self._connection.send_result(request_id, result)
        except PodsError as error:
            line = self._connection.send_error(request_id, error)
        self._stream.send(line)

    def refuse(self, request_id: int | str | None, error: PodsError) -> None:
        """Send the one answer to a request: this error."""
        self._stream.send(self._connection.send_error(request_id, error))


async def serve_connection(
    stream: UnixStream,
    api: Api,
    *,
    authenticate: Authenticate,
    handlers: Mapping[str, Handler],
    log: Log,
    refused: Refused | None = None,
    settle: Settle | None = None,
) -> None:
    """Serve one connection until either side ends it; raises nothing for what the peer does.

    Args:
        stream: accepted; closed at the end.
        api: the methods of this kind of socket.
        authenticate: judges a `hello` (uid and version are checked already), sets
            `session.caller`; raises `NotAuthorized`.
        handlers: wire name -> what answers it. A plain function is answered in order, at once; a
            coroutine function runs as a task of the connection and is cancelled with it.
        log: takes the traceback of a handler's bug.
        refused: is told of each error that a method or `authenticate` answers, with the method and
            its message.
        settle: is called when a plain function has been answered, before anything else runs: does
            what can wait until its asker knows. A connection that follows hears of what it caused
            before the answer, so there it is called first.
    """
    connection = Connection("server", api)
    try:
        async with trio.open_nursery() as nursery:
            session = Session(stream, connection, nursery)
            nursery.start_soon(stream.run_writer)
            server = _Server(
                session, stream, connection, authenticate, handlers, log, refused, settle
            )
            with trio.move_on_after(HELLO_SECONDS) as hello_deadline:
                await server.serve(hello_deadline)
            if hello_deadline.cancelled_caught:
                session.refuse(None, no_hello(HELLO_SECONDS))
            if stream.pending_bytes:
                with trio.move_on_after(FAREWELL_SECONDS):
                    await session.drained()
            nursery.cancel_scope.cancel()
    finally:
        stream.close()


class _Server:
    """The read loop of one connection."""

    def __init__(
        self,
        session: Session,
        stream: UnixStream,
        connection: Connection,
        authenticate: Authenticate,
        handlers: Mapping[str, Handler],
        log: Log,
        refused: Refused | None,
        settle: Settle | None,
    ) -> None:
        self._session = session
        self._stream = stream
        self._connection = connection
        self._authenticate = authenticate
        self._handlers = handlers
        self._log = log
        self._refused = refused
        self._settle = settle

    def _refuse(
        self, request_id: int | str, method: str, message: object, error: PodsError
    ) -> None:
        if self._refused is not None:
            self._refused(self._session, method, message, error)
        self._session.refuse(request_id, error)

    async def serve(self, hello_deadline: trio.CancelScope) -> None:
        receive = self._stream.receive
        connection = self._connection
        while True:
            event = connection.next_event()
            if event is NEED_DATA:
                data = await receive()
                if not data:
                    await self._session.answer_the_rest()
                connection.receive_data(data)
            elif isinstance(event, RequestReceived):
                if event.method == "hello":
                    if not self._greet(event.request_id, event.message):
                        return
                    hello_deadline.deadline = float("inf")
                else:
                    self._dispatch(event)
            elif isinstance(event, BadRequest):
                self._session.refuse(event.request_id, event.error)
                if event.fatal:
                    return
            elif isinstance(event, ConnectionClosed):
                return

    def _greet(self, request_id: int | str, hello: Hello) -> bool:
        session = self._session
        try:
            if session.peer_uid != os.geteuid():
                raise NotAuthorized(
                    f"cannot serve user {session.peer_uid}: this socket belongs to user "
                    f"{os.geteuid()}; run pods as the user who owns it"
                )
            if hello.protocol != PROTOCOL_VERSION:
                raise UnsupportedProtocol(
                    f"cannot speak protocol {hello.protocol}: this side speaks {PROTOCOL_VERSION}; "
                    "install the same version of agent-pods on both sides",
                    offered=hello.protocol,
                    supported=[PROTOCOL_VERSION],
                )
            result = self._authenticate(session, hello)
        except PodsError as error:
            self._refuse(request_id, "hello", None, error)
            return False
        session.answer(request_id, result)
        return True

    def _dispatch(self, event: RequestReceived) -> None:
        settle = self._settle
        if settle is None:
            self._answer(event, None)
            return
        try:
            self._answer(event, settle if self._session.following else None)
        finally:
            settle()

    def _answer(self, event: RequestReceived, before: Settle | None) -> None:
        session = self._session
        handler = self._handlers[event.method]
        try:
            result = handler(session, event.message)
            if before is not None:
                before()
        except PodsError as error:
            self._refuse(event.request_id, event.method, event.message, error)
            return
        except Exception as error:
            session.refuse(event.request_id, self._bug(event.method, error))
            return
        if not isinstance(result, CoroutineType):
            session.answer(event.request_id, result)
        elif session.in_flight >= MAX_IN_FLIGHT:
            result.close()
            session.refuse(
                event.request_id,
                Busy(
                    f"cannot take `{event.method}`: {MAX_IN_FLIGHT} requests of this connection "
                    "are under way; wait for one of them",
                    limit_name="in_flight",
                    limit=MAX_IN_FLIGHT,
                ),
            )
        else:
            session.in_flight += 1
            running = cast("Awaitable[object]", result)
            session.nursery.start_soon(self._finish, event, running)

    async def _finish(self, event: RequestReceived, running: Awaitable[object]) -> None:
        try:
            result = await running
        except PodsError as error:
            self._refuse(event.request_id, event.method, event.message, error)
        except Exception as error:
            self._session.refuse(event.request_id, self._bug(event.method, error))
        else:
            self._session.answer(event.request_id, result)
        finally:
            self._session.done_with_one()

    def _bug(self, method: str, error: Exception) -> PodsError:
        if is_out_of_descriptors(error):
            return no_descriptors(f"answer `{method}`", error)
        self._log(f"a bug in `{method}`:\n{traceback.format_exc()}")
        return InternalError(
            f"cannot answer `{method}`: a bug of pods; its log has the details, please report it",
            method=method,
        )


async def serve_unix(
    listener: socket.socket,
    serve: Callable[[UnixStream], Awaitable[None]],
    *,
    log: Log,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept connections until cancelled; each is a task, and no failure in one reaches another.

    Args:
        listener: bound and listening; made non-blocking, closed by its owner.
        serve: one connection's life.
        log: takes the traceback of a connection's bug.
    """
    listener.setblocking(False)
    count = 0

    async def one(stream: UnixStream) -> None:
        nonlocal count
        try:
            await serve(stream)
        except Exception:
            log(f"a bug in a connection:\n{traceback.format_exc()}")
        finally:
            count -= 1
            stream.close()

    async with trio.open_nursery() as nursery:
        task_status.started()
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(listener)
                continue
            except OSError as error:
                if error.errno in OVERLOAD:
                    await trio.sleep(ACCEPT_PAUSE_SECONDS)
                    continue
                if error.errno == errno.ECONNABORTED:
                    continue
                raise
            if count >= MAX_CONNECTIONS:
                sock.close()
                await trio.lowlevel.checkpoint()
                continue
            count += 1  # here, not in the task: a burst is accepted before any of them runs
            nursery.start_soon(one, UnixStream(sock))
