"""A blocking client of one socket, standard library only.

Owns the wire as the light command-line verbs need it: one connection, requests answered in any
order, a subscription at its end. Imports neither attrs nor trio: `pods ls` is measured in
milliseconds, and answers are shown as they came, as plain dictionaries. Used by `pods.cli`;
programs use `pods.client.aio` or `pods.client.sync`.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from pods.client.plain_connect import connect_plain, timed_out
from pods.client.waiting import wait_readable
from pods_protocol.bounds import HELLO_SECONDS, MAX_LINE_BYTES, PROTOCOL_VERSION
from pods_protocol.errors import (
    InvalidParams,
    NotConnected,
    ParseError,
    PodsError,
    TooLarge,
    error_from_wire,
)

Json = dict[str, Any]
"""One JSON object, as it came over the wire."""

ANSWER_SECONDS: Final = 60.0
"""How long an ordinary request may take: longer than a spawn on a machine that swaps, shorter than
a person's patience. Requests that wait on purpose bring their own."""

MAX_ANSWER_BYTES: Final = 16 * MAX_LINE_BYTES
"""Bytes that are held for one unfinished line. An answer of an honest server fits one line; a
server started with a larger cap than ours is still understood, an endless line is not."""

MAX_HELD_EVENTS: Final = 10_000
"""Events that may arrive while an answer is waited for."""

PIPELINED_REQUESTS: Final = 16
"""Requests of one batch under way at once: below the servers' bound for one connection."""

_CHUNK: Final = 256 * 1024
"""Bytes taken by one read: a full page of events in a few reads."""


class PlainClient:
    """A connection that has said hello.

    Args:
        path: the socket.
        token: the authority; kept nowhere once hello is said.
        timeout: seconds for connecting and for each request that brings no timeout of its own.
        client: what to be called in the server's log.
        session: with the owner's token, speak for this session of the owner's and no more.

    Raises:
        NotConnected: nobody answers there.
        NotAuthorized: not with this token, or the socket is another user's.
        TimedOut: the other side accepted and said nothing.
    """

    def __init__(
        self,
        path: str,
        token: str,
        *,
        timeout: float = ANSWER_SECONDS,
        client: str = "pods",
        session: str = "",
    ) -> None:
        self.path = path
        self.hello: Json = {}
        self._timeout = timeout
        self._buffer = bytearray()
        self._scanned = 0
        self._last_id = 0
        self._events: deque[Json] = deque()
        self._socket: socket.socket | None = connect_plain(path, timeout)
        try:
            hello = {"token": token, "protocol": PROTOCOL_VERSION, "client": client}
            if session:
                hello["session"] = session
            self.hello = self.call(
                "hello",
                hello,
                timeout=min(timeout, HELLO_SECONDS),
            )
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"PlainClient({self.path!r})"

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; again is nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def abort(self) -> None:
        """Have whoever waits here get NotConnected at once; for another thread than theirs."""
        sock = self._socket
        if sock is not None:
            with contextlib.suppress(OSError):  # the other side was first
                sock.shutdown(socket.SHUT_RDWR)

    @property
    def closed(self) -> bool:
        """Whether this connection has ended, from either side."""
        return self._socket is None

    @property
    def idle(self) -> bool:
        """Whether it is open and nothing has come unasked: the other side has not hung up."""
        if self._socket is None:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def fileno(self) -> int:
        """The descriptor, for a selector. Look at `take_events` first: events may be held already.

        Raises:
            NotConnected: closed.
        """
        return self._connected().fileno()

    def call(self, method: str, params: Json, *, timeout: float | None = None) -> Json:
        """Ask once and wait for the answer.

        Args:
            method: the wire name.
            params: its fields.
            timeout: seconds in all; None is the client's own.

        Raises:
            PodsError: what the server answered, with its class.
            NotConnected: the connection ended first.
            TimedOut: no answer in time.
            TooLarge: the request does not fit a line.
        """
        (outcome,) = self.call_many(method, [params], timeout=timeout)
        if isinstance(outcome, PodsError):
            raise outcome
        return outcome

    def call_many(
        self, method: str, batch: Sequence[Json], *, timeout: float | None = None
    ) -> list[Json | PodsError]:
        """Ask the same of several; the server works on them together.

        Args:
            method: the wire name.
            batch: the fields of each request.
            timeout: seconds for all of them; None is the client's own.

        Returns:
            The answer or the refusal of each, in the order of `batch`.

        Raises:
            NotConnected: the connection ended first.
            TimedOut: not all answers came in time.
            TooLarge: a request does not fit a line.
        """
        seconds = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        lines = [self._encode(method, params) for params in batch]
        outcomes: dict[int, Json | PodsError] = {}
        order: list[int] = []
        waiting: set[int] = set()
        todo = deque(lines)
        while todo or waiting:
            while todo and len(waiting) < PIPELINED_REQUESTS:
                request_id, line = todo.popleft()
                self._send(line, deadline, seconds)
                order.append(request_id)
                waiting.add(request_id)
            message = self._receive(deadline, seconds)
            answered = message.get("id")
            if answered in waiting:
                waiting.discard(answered)
                outcomes[answered] = _outcome(message)
            elif answered is None and "error" in message:
                self.close()
                raise error_from_wire(message["error"])
        return [outcomes[request_id] for request_id in order]

    def subscribe(self, since: int = 0, kinds: Sequence[str] = ()) -> int:
        """Have every event after `since` sent; read them with `events` or `take_events`.

        Returns:
            The newest seq there is.

        Raises:
            PodsError: as `call`.
        """
        answer = self.call("subscribe", {"since": since, "kinds": list(kinds)})
        return int(answer["last_seq"])

    def events(self, *, timeout: float | None = None) -> Iterator[Json]:
        """The subscription's events as they come, until the other side hangs up.

        Args:
            timeout: seconds for all that is taken; None waits for ever.

        Raises:
            TimedOut: the time is over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            while self._events:
                yield self._events.popleft()
            try:
                self._keep(self._receive(deadline, timeout or 0.0, keep=False))
            except NotConnected:
                return

    def take_events(self, *, read: bool = True) -> list[Json]:
        """What has come and is held.

        Args:
            read: take what the socket has ready first; for when a selector says that it is
                readable. Call it once without before the first select: events may have come
                together with an answer.

        Raises:
            NotConnected: the other side has hung up and nothing is left.
        """
        if read:
            try:
                self._fill(self._connected())
            except NotConnected:
                if not self._events:
                    raise
        while (line := self._next_line()) is not None:
            self._keep(_decode(line, self.path))
        taken = list(self._events)
        self._events.clear()
        return taken

    def _keep(self, message: Json) -> None:
        if message.get("method") == "event":
            self._events.append(message["params"])

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise _hung_up(self.path)
        return self._socket

    def _encode(self, method: str, params: Json) -> tuple[int, bytes]:
        self._last_id += 1
        body = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        try:
            line = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError as error:
            raise InvalidParams(
                f"cannot send {method}: the text {error.object[error.start : error.end]!r} is not "
                "valid Unicode; names, paths and messages go as UTF-8",
                path=method,
            ) from error
        if len(line) > MAX_LINE_BYTES:
            raise TooLarge(
                f"cannot send {method}: it has {len(line)} bytes and a line takes {MAX_LINE_BYTES};"
                " put the text into a file that the pod may read and name the file instead",
                limit_bytes=MAX_LINE_BYTES,
                size_bytes=len(line),
            )
        return self._last_id, line + b"\n"

    def _send(self, line: bytes, deadline: float, seconds: float) -> None:
        sock = self._connected()
        try:
            sock.settimeout(_left(deadline, seconds))
            sock.sendall(line)
        except TimeoutError as error:
            self.close()
            raise timed_out(seconds) from error
        except OSError:
            # The server may have refused the line and hung up: its reason is still to be read.
            return

    def _receive(self, deadline: float | None, seconds: float, *, keep: bool = True) -> Json:
        """The next message; events are put aside unless `keep` is false."""
        while True:
            while (line := self._next_line()) is not None:
                message = _decode(line, self.path)
                if not keep or message.get("method") is None:
                    return message
                self._keep(message)
                if len(self._events) > MAX_HELD_EVENTS:
                    self.close()
                    raise TooLarge(
                        f"cannot wait for an answer: more than {MAX_HELD_EVENTS} events came "
                        "before it; use one connection to follow events and another to ask",
                        limit_bytes=MAX_HELD_EVENTS,
                    )
            sock = self._connected()
            if not wait_readable(sock, None if deadline is None else _left(deadline, seconds)):
                raise timed_out(seconds)
            self._fill(sock)

    def _fill(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self.close()
            raise _hung_up(self.path)
        self._buffer += data

    def _next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned > MAX_ANSWER_BYTES:
                self.close()
                raise TooLarge(
                    f"cannot read from {self.path}: a line has more than {MAX_ANSWER_BYTES} bytes; "
                    "this is no pods server, or one of another version",
                    limit_bytes=MAX_ANSWER_BYTES,
                )
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line


def _outcome(message: Json) -> Json | PodsError:
    error = message.get("error")
    if error is not None:
        return error_from_wire(error)
    result: Json = message.get("result", {})
    return result


def _decode(line: bytes, path: str) -> Json:
    try:
        message: Any = json.loads(line)
    except ValueError as error:
        raise ParseError(
            f"cannot understand the answer from {path}: {error}; this is no pods server"
        ) from error
    if not isinstance(message, dict):
        raise ParseError(
            f"cannot understand the answer from {path}: not an object; this is no pods server"
        )
    return cast(Json, message)


def _left(deadline: float, seconds: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise timed_out(seconds)
    return left


def _hung_up(path: str) -> NotConnected:
    return NotConnected(
        f"cannot go on with {path}: the other side has hung up; `pods doctor` tells what runs",
        socket=path,
    )
