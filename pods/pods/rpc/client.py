"""The asking side of a connection: requests with answers, notifications to a callback.

Owns one connection, its one reader task, and the requests that wait for an answer. Knows nothing
of what the methods mean. Used by clients, and by the supervisor towards pods, keepers, launcher.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar, cast

import outcome
import trio

from pods.rpc.stream import UnixStream, connect_unix
from pods_protocol.api import Api
from pods_protocol.bounds import HELLO_SECONDS, PROTOCOL_VERSION
from pods_protocol.connection import (
    NEED_DATA,
    Connection,
    ConnectionClosed,
    ErrorReceived,
    NotificationReceived,
    ResultReceived,
)
from pods_protocol.errors import NotConnected, TimedOut
from pods_protocol.pod_messages import Hello, HelloResult, Request

R = TypeVar("R")

NotificationHandler = Callable[[str, Any], None]

MAX_WAITING_REQUESTS: Final = 1024
"""Requests of one connection that wait for answers; past it a caller asks faster than it reads."""


class _Deadline(NamedTuple):
    """When a request has waited long enough, and what the error names."""

    time: float
    seconds: float
    method: str


class RpcClient:
    """One connection as its client.

    Args:
        stream: connected; owned from here on.
        api: what the other side answers.
        peer: what to call it in errors, for example `pod api` or a socket path.
        on_notification: called in the reader task with the method's name and its message; must
            not block, and must not raise.
    """

    def __init__(
        self,
        stream: UnixStream,
        api: Api,
        *,
        peer: str,
        on_notification: NotificationHandler | None = None,
    ) -> None:
        self._stream = stream
        self._connection = Connection("client", api)
        self._peer = peer
        self._on_notification = on_notification
        self._waiting: dict[int | str, trio.lowlevel.Task] = {}
        # Of those that wait no longer than some time: until when, and what to say then.
        self._deadlines: dict[int | str, _Deadline] = {}
        self._alarm = trio.CancelScope()
        self.closed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until the connection ends; then every waiting request gets `NotConnected`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stream.run_writer)
                task_status.started()
                while await self._rang():
                    self._give_up_on_late()
                # At once, not when the writer has gone too: nobody may take this connection for a
                # living one in between.
                self._finish()
                nursery.cancel_scope.cancel()
        finally:
            self._finish()

    async def _rang(self) -> bool:
        """Read until the connection ends, or (True) until some request may have waited enough.

        One alarm for all of them, in the task that reads anyway: a cancel scope for each would take
        a third of the time that a `status` takes. It is not put back when the answer comes, so it
        may ring for nothing, once.
        """
        earliest = min([each.time for each in self._deadlines.values()], default=math.inf)
        with trio.CancelScope(deadline=earliest) as self._alarm:
            await self._read()
            return False
        return True

    def _give_up_on_late(self) -> None:
        now = trio.current_time()
        for request_id, late in tuple(self._deadlines.items()):
            if late.time <= now:
                self._answer(request_id, outcome.Error(self._late(late)))

    async def _read(self) -> None:
        receive = self._stream.receive
        connection = self._connection
        while True:
            event = connection.next_event()
            if event is NEED_DATA:
                connection.receive_data(await receive())
            elif isinstance(event, ResultReceived):
                self._answer(event.request_id, outcome.Value(event.result))
            elif isinstance(event, NotificationReceived):
                if self._on_notification is not None:
                    self._on_notification(event.method, event.params)
            elif isinstance(event, ErrorReceived):
                if event.request_id is None:
                    return  # the other side gave up on us as a whole
                self._answer(event.request_id, outcome.Error(event.error))
            elif isinstance(event, ConnectionClosed):
                return

    def _answer(self, request_id: int | str, answer: outcome.Outcome[Any]) -> None:
        task = self._waiting.pop(request_id, None)
        if self._deadlines:
            self._deadlines.pop(request_id, None)
        if task is not None:  # else its asker was cancelled and does not want to know
            trio.lowlevel.reschedule(task, answer)

    def _finish(self) -> None:
        self._stream.close()
        self.closed.set()
        waiting, self._waiting = self._waiting, {}
        self._deadlines.clear()
        for task in waiting.values():
            trio.lowlevel.reschedule(task, outcome.Error(self._gone()))

    def _gone(self) -> NotConnected:
        return NotConnected(
            f"cannot go on with {self._peer}: the connection ended; connect again, `pods ls` tells "
            "whether it still runs",
            peer=self._peer,
        )

    async def request(self, message: Request[R], *, timeout_seconds: float | None = None) -> R:
        """Ask, and wait for the answer.

        Args:
            message: the request.
            timeout_seconds: give up after this; the other side may still do it.

        Raises:
            PodsError: what the other side answered.
            NotConnected: the connection ended before the answer came.
            TimedOut: no answer in time.
        """
        if self.closed.is_set():
            raise self._gone()
        if len(self._waiting) >= MAX_WAITING_REQUESTS:
            raise TimedOut(
                f"cannot ask {self._peer}: {MAX_WAITING_REQUESTS} requests wait for an answer "
                "already; wait for some of them first",
                limit=MAX_WAITING_REQUESTS,
            )
        request_id, line = self._connection.send_request(message)
        self._stream.send(line)
        if timeout_seconds is not None:
            until = trio.current_time() + timeout_seconds
            self._deadlines[request_id] = _Deadline(until, timeout_seconds, message.METHOD)
            if until < self._alarm.deadline:
                self._alarm.deadline = until
        # The connection decoded the answer as the class that `message` names: a cast, not a check.
        return cast("R", await self._wait(request_id))

    def _late(self, late: _Deadline) -> TimedOut:
        return TimedOut(
            f"cannot get an answer from {self._peer} to `{late.method}`: none came within "
            f"{late.seconds:g} s; it may still act on it, ask again or look at `pods ls`",
            timeout_seconds=late.seconds,
            method=late.method,
        )

    async def _wait(self, request_id: int) -> Any:
        self._waiting[request_id] = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._waiting.pop(request_id, None)
            self._deadlines.pop(request_id, None)
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    async def hello(
        self, token: str, *, client: str = "", timeout_seconds: float = HELLO_SECONDS
    ) -> HelloResult:
        """Say who we are; the first request on every connection.

        Raises:
            NotAuthorized, UnsupportedProtocol: what the other side thinks of it.
        """
        return await self.request(
            Hello(token=token, protocol=PROTOCOL_VERSION, client=client),
            timeout_seconds=timeout_seconds,
        )

    def close(self) -> None:
        """Close the connection; idempotent. The reader task ends, waiting requests fail."""
        self._stream.close()

    async def aclose(self) -> None:
        """As `close`, and wait until the reader task has seen it."""
        self.close()
        await self.closed.wait()


async def connect_within(path: str, peer: str, timeout_seconds: float) -> UnixStream:
    """Connect to the socket at `path`; a stopped process's full backlog is waited for no longer.

    Raises:
        TimedOut: nobody took the connection.
        NotConnected, NotAuthorized: as `connect_unix`.
    """
    with trio.move_on_after(timeout_seconds):
        return await connect_unix(path)
    raise TimedOut(
        f"cannot connect to {peer}: nobody took the connection within {timeout_seconds:g} s; "
        "the process may be stopped or overloaded",
        timeout_seconds=timeout_seconds,
    )


@asynccontextmanager
async def open_rpc(
    path: str,
    api: Api,
    *,
    token: str,
    client: str = "",
    peer: str | None = None,
    on_notification: NotificationHandler | None = None,
    timeout_seconds: float = HELLO_SECONDS,
) -> AsyncGenerator[RpcClient]:
    """A connection that has said hello, for the length of the block.

    Raises:
        NotConnected, TimedOut, NotAuthorized, UnsupportedProtocol: it did not come about.
    """
    named = peer or path
    stream = await connect_within(path, named, timeout_seconds)
    rpc = RpcClient(stream, api, peer=named, on_notification=on_notification)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        try:
            await rpc.hello(token, client=client, timeout_seconds=timeout_seconds)
            yield rpc
        except BaseException as error:
            # Carried past the nursery, which would wrap it in a group: the caller's own exception
            # must come out as it went in.
            failure = error
        finally:
            rpc.close()
    if failure is not None:
        raise failure
