"""One end of a connection without any I/O: bytes in, events out, messages in, bytes out.

Owns the order of messages: hello first, each request answered once, what is legal when. Knows no
socket, clock or task; `pods.rpc` and the keeper's loop move its bytes. What the peer does wrong
comes out as an event and never as an exception; an exception here is a fault of our own.

    connection.receive_data(data)                   # b"" once the peer's bytes end
    while (event := connection.next_event()) is not NEED_DATA: ...
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeGuard, cast

from pods_protocol import codec
from pods_protocol.api import Api
from pods_protocol.bounds import MAX_LINE_BYTES
from pods_protocol.connection_events import (
    NEED_DATA,
    BadRequest,
    ConnectionClosed,
    ConnectionEvent,
    ErrorReceived,
    NeedData,
    NotificationReceived,
    RequestId,
    RequestReceived,
    ResultReceived,
)
from pods_protocol.errors import (
    InvalidRequest,
    NotConnected,
    ParseError,
    PodsError,
    TooLarge,
    UnknownMethod,
    error_from_wire,
)
from pods_protocol.faults import describe_value, nearest_of, quote
from pods_protocol.framing import LineBuffer
from pods_protocol.pod_messages import Request
from pods_protocol.states import MOVES, Move, State

__all__ = [
    "BadRequest",
    "Connection",
    "ConnectionClosed",
    "ConnectionEvent",
    "ErrorReceived",
    "HELLO",
    "LocalProtocolError",
    "MAX_ID_CHARACTERS",
    "NEED_DATA",
    "NeedData",
    "NotificationReceived",
    "RequestId",
    "RequestReceived",
    "ResultReceived",
]

MAX_ID_CHARACTERS: Final = 128
"""Of a request's id that is a string; it is sent back with every answer, errors included."""

HELLO: Final = "hello"


class LocalProtocolError(Exception):
    """This side tried what the protocol does not allow: a bug in the caller, never the peer's."""


_REQUEST_MEMBERS: Final = ("jsonrpc", "id", "method", "params")
_REQUEST_MEMBER_SET: Final = frozenset(_REQUEST_MEMBERS)

_READING: Final = frozenset({State.AWAITING_HELLO, State.GREETING, State.READY})
"""Where the peer's bytes are looked at."""

_ILLEGAL_NOW: Final = {
    State.AWAITING_HELLO: "cannot do {method}: say hello first, with a token and the protocol",
    State.GREETING: "cannot do {method}: hello is not answered yet; wait for its answer",
    State.READY: "cannot do {method}: hello was said already; a connection says it once",
}


class Connection:
    """One end of one connection.

    Args:
        role: which end.
        api: what the server answers.
        max_line_bytes: the longest line either way, newline excluded.
    """

    def __init__(
        self,
        role: Literal["client", "server"],
        api: Api,
        *,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self._is_client = role == "client"
        self._api = api
        self._max_line_bytes = max_line_bytes
        self._buffer = LineBuffer(max_line_bytes)
        self._state = State.AWAITING_HELLO
        self._eof = False
        self._next_id = 1
        # Requests not answered yet, id -> method; None is one that was refused as it came.
        self._open: dict[RequestId, str | None] = {}

    @property
    def state(self) -> State:
        """Where this end is."""
        return self._state

    # --- bytes in, events out ---

    def receive_data(self, data: bytes) -> None:
        """Store what came; b"" says that the peer's bytes have ended.

        Raises:
            LocalProtocolError: bytes after the end.
        """
        if not data:
            self._eof = True
        elif self._eof:
            raise LocalProtocolError("cannot take bytes: the peer's bytes have ended already")
        elif self._state in _READING:
            self._buffer.feed(data)

    def next_event(self) -> ConnectionEvent:
        """What the bytes so far mean next; raises nothing for what the peer did."""
        while self._state in _READING:
            try:
                line = self._buffer.next_line()
            except TooLarge as error:
                return self._peer_failed(error)
            if line is None:
                if not self._eof:
                    return NEED_DATA
                self._move(Move.PEER_FAILED if len(self._buffer) else Move.PEER_CLOSED)
                break
            event = self._on_client_line(line) if self._is_client else self._on_server_line(line)
            if event is not None:
                return event
        return ConnectionClosed(clean=self._state is State.CLOSED)

    # --- messages in, bytes out ---

    def send_request(self, message: Request[Any]) -> tuple[int, bytes]:
        """The bytes that ask, and the id of the answer. Ids count from 1.

        Raises:
            NotConnected: the connection has ended.
            TooLarge: the line would be over the cap; nothing was asked.
            InvalidParams: a value in the message cannot be JSON; nothing was asked.
            LocalProtocolError: `hello` is not first, or this side answers.
        """
        self._require_role(client=True)
        method = message.METHOD
        known = self._api.methods.get(method)
        if known is None or not isinstance(message, known.request):
            raise LocalProtocolError(f"cannot send {method}: no request of a {self._api.name}")
        if self._state not in _READING:
            raise NotConnected(
                f"cannot ask `{method}`: the connection has ended; connect again", method=method
            )
        move = Move.HELLO if method == HELLO else Move.REQUEST
        self._require(move)
        request_id = self._next_id
        line = self._checked(codec.encode_request(request_id, message), method)
        self._move(move)
        self._next_id += 1
        self._open[request_id] = method
        return request_id, line

    def send_result(self, request_id: RequestId, result: object) -> bytes:
        """The bytes that answer.

        Raises:
            TooLarge: the line would be over the cap; answer with this error instead.
            InternalError: a value in the result cannot be JSON; the same.
            LocalProtocolError: no such request is open, or this is not its kind of answer.
        """
        self._require_role(client=False)
        method = self._open.get(request_id)
        if method is None:
            raise LocalProtocolError(f"cannot answer {request_id!r}: no such request is open")
        if type(result) is not self._api.methods[method].result:
            raise LocalProtocolError(f"cannot answer {method} with a {type(result).__name__}")
        move = Move.HELLO_ACCEPTED if method == HELLO else Move.RESULT
        self._require(move)
        line = self._checked(codec.encode_result(request_id, result), method)
        self._move(move)
        del self._open[request_id]
        return line

    def send_error(self, request_id: RequestId | None, error: PodsError) -> bytes:
        """The bytes that refuse; without an id, what could not be told apart from noise.

        Raises:
            LocalProtocolError: no such request is open.
        """
        self._require_role(client=False)
        if request_id is not None and request_id not in self._open:
            raise LocalProtocolError(f"cannot refuse {request_id!r}: no such request is open")
        method = None if request_id is None else self._open[request_id]
        self._move(Move.HELLO_REFUSED if method == HELLO else Move.ERROR)
        if request_id is not None:
            del self._open[request_id]
        return codec.encode_error(request_id, error)

    def send_notification(self, method: str, params: object) -> bytes:
        """The bytes that say something unasked.

        Raises:
            TooLarge: the line would be over the cap.
            InternalError: a value in it cannot be JSON.
            LocalProtocolError: before `hello` was answered, or no notification of this socket.
        """
        self._require_role(client=False)
        if type(params) is not self._api.notifications.get(method):
            raise LocalProtocolError(f"cannot say {method}: none of a {self._api.name}'s")
        self._require(Move.NOTIFICATION)
        line = self._checked(codec.encode_notification(method, params), method)
        self._move(Move.NOTIFICATION)
        return line

    def send_failed(self) -> None:
        """A write failed: the peer may have half a line, so nothing more may be sent."""
        self._move(Move.SEND_FAILED)

    # --- the two ends ---

    def _on_server_line(self, line: bytes) -> RequestReceived | BadRequest:
        try:
            envelope = codec.decode_line(line)
        except ParseError as error:
            return BadRequest(None, error, fatal=False)
        request_id: object = envelope.get("id")
        if not _is_id(request_id):
            return BadRequest(
                None,
                InvalidRequest(
                    f"cannot take a request: its id is {describe_value(request_id)}; give each a "
                    f"whole number or a string of at most {MAX_ID_CHARACTERS} characters"
                ),
                fatal=False,
            )
        if request_id in self._open:
            return BadRequest(
                None,
                InvalidRequest(
                    f"cannot take request {request_id!r}: one of this id is not answered yet; "
                    "count up",
                    id=request_id,
                ),
                fatal=False,
            )
        try:
            method, message = self._read_request(envelope)
        except PodsError as error:
            self._open[request_id] = None
            return BadRequest(request_id, error, fatal=False)
        self._move(Move.HELLO if method == HELLO else Move.REQUEST)
        self._open[request_id] = method
        return RequestReceived(request_id, method, message)

    def _read_request(self, envelope: dict[str, Any]) -> tuple[str, Any]:
        if envelope.get("jsonrpc") != "2.0":
            raise InvalidRequest('cannot take a request: it needs "jsonrpc": "2.0"')
        if not envelope.keys() <= _REQUEST_MEMBER_SET:
            name = next(name for name in envelope if name not in _REQUEST_MEMBERS)
            raise InvalidRequest(
                f"cannot take a request with the member {quote(name)}: it has only "
                f"{', '.join(_REQUEST_MEMBERS)}",
                nearest=nearest_of(name, _REQUEST_MEMBERS),
            )
        method = envelope.get("method")
        if not isinstance(method, str):
            raise InvalidRequest(
                f"cannot take a request: its method is {describe_value(method)}; name one"
            )
        known = self._api.methods.get(method)
        move = Move.HELLO if method == HELLO else Move.REQUEST
        if move not in MOVES[self._state]:
            raise InvalidRequest(_ILLEGAL_NOW[self._state].format(method=quote(method)))
        if known is None:
            nearest = nearest_of(method, self._api.methods)
            hint = "" if nearest is None else f"; did you mean `{nearest}`?"
            raise UnknownMethod(
                f"cannot do {quote(method)}: a {self._api.name} has no such method{hint}",
                method=quote(method).strip("`"),
                nearest=nearest,
            )
        return method, codec.from_json(known.request, envelope.get("params", {}))

    def _on_client_line(
        self, line: bytes
    ) -> ResultReceived | ErrorReceived | NotificationReceived | None:
        try:
            envelope = codec.decode_line(line)
            if "method" in envelope and "id" not in envelope:
                return self._on_notification(envelope)
            return self._on_answer(envelope)
        except PodsError as error:
            self._move(Move.PEER_FAILED)
            return ErrorReceived(None, error)

    def _on_notification(self, envelope: dict[str, Any]) -> NotificationReceived | None:
        method = envelope["method"]
        if Move.NOTIFICATION not in MOVES[self._state]:
            raise InvalidRequest("cannot take a notification: hello is not answered yet")
        kind = self._api.notifications.get(method) if isinstance(method, str) else None
        if kind is None:
            return None  # a newer server says more than this side knows
        params = codec.from_json_lenient(kind, envelope.get("params"))
        self._move(Move.NOTIFICATION)
        return NotificationReceived(method, params)

    def _on_answer(self, envelope: dict[str, Any]) -> ResultReceived | ErrorReceived:
        request_id = envelope.get("id")
        refusal = envelope.get("error")
        if refusal is not None and not isinstance(refusal, dict):
            raise InvalidRequest(f"cannot take an answer: its error is {describe_value(refusal)}")
        wire = cast("dict[str, Any] | None", refusal)
        if request_id is None and wire is not None:
            # It could not tell which request of ours it refuses, so none can be relied on.
            self._move(Move.PEER_FAILED)
            return ErrorReceived(None, error_from_wire(wire))
        if not _is_id(request_id) or request_id not in self._open:
            raise InvalidRequest("cannot take an answer: nothing open was asked with its id")
        method = self._open[request_id]
        assert method is not None  # only a server refuses requests as they come
        if wire is not None:
            self._move(Move.HELLO_REFUSED if method == HELLO else Move.ERROR)
            del self._open[request_id]
            return ErrorReceived(request_id, error_from_wire(wire))
        if "result" not in envelope:
            raise InvalidRequest(f"cannot take the answer to `{method}`: no result, no error")
        del self._open[request_id]
        try:
            result = codec.from_json_lenient(self._api.methods[method].result, envelope["result"])
        except PodsError as error:
            self._move(Move.HELLO_REFUSED if method == HELLO else Move.ERROR)
            return ErrorReceived(request_id, error)
        self._move(Move.HELLO_ACCEPTED if method == HELLO else Move.RESULT)
        return ResultReceived(request_id, result)

    # --- small parts ---

    def _peer_failed(self, error: PodsError) -> BadRequest | ErrorReceived:
        self._move(Move.PEER_FAILED)
        if self._is_client:
            return ErrorReceived(None, error)
        return BadRequest(None, error, fatal=True)

    def _require_role(self, *, client: bool) -> None:
        if self._is_client is not client:
            raise LocalProtocolError(
                "cannot send this: requests are the client's, everything else is the server's"
            )

    def _require(self, move: Move) -> None:
        if move not in MOVES[self._state]:
            raise LocalProtocolError(
                f"cannot send now: no `{move.value}` while {self._state.value}"
            )

    def _move(self, move: Move) -> None:
        target = MOVES[self._state].get(move)
        if target is None:
            raise LocalProtocolError(f"cannot go on: no `{move.value}` while {self._state.value}")
        self._state = target

    def _checked(self, line: bytes, method: str) -> bytes:
        size = len(line) - 1
        if size > self._max_line_bytes:
            raise TooLarge(
                f"cannot send `{method}`: its line has {size} bytes and the cap is "
                f"{self._max_line_bytes}; ask for less at once, or put large content into a file "
                "and send its path",
                limit_bytes=self._max_line_bytes,
                size_bytes=size,
            )
        return line


def _is_id(value: object) -> TypeGuard[RequestId]:
    if type(value) is int:
        return True
    return isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS
