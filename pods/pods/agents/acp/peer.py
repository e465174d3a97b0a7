"""One side of an ACP connection without any I/O: bytes in, events out, bytes to send.

Owns the JSON-RPC of it: lines, ids, which requests are open on either side, and what is refused
unread. Knows no method by name; both `process` (we are the client) and `pods acp` (we are the
agent) are its callers. A line that is no message of JSON-RPC is an event of its own and never an
error: agents print to the wire by mistake, and what follows is still theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

import orjson

from pods_protocol.errors import TooLarge
from pods_protocol.framing import LineBuffer

MAX_LINE_BYTES: Final = 32 * 1024 * 1024
"""Of one message: agents send whole files, twice in a diff, and pictures; more is no message."""

MAX_OPEN_REQUESTS: Final = 64
"""Of the other side, not answered yet. Each may hold a task, a question or a program of ours."""

MAX_ID_CHARACTERS: Final = 256
"""Of a request's id, which is sent back."""

MAX_STRAY_CHARACTERS: Final = 200
"""Shown of a line that is no message."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
AUTH_REQUIRED: Final = -32000
"""ACP's own number: log in first."""
NOT_FOUND: Final = -32002
"""ACP's own number: no such file, session or terminal."""

RequestId: TypeAlias = int | str
Json: TypeAlias = dict[str, Any]


class Asked(NamedTuple):
    """The other side asks; `answer` or `refuse` it once."""

    request_id: RequestId
    method: str
    params: Json


class Told(NamedTuple):
    """The other side says something that has no answer."""

    method: str
    params: Json


class Answered(NamedTuple):
    """A request of ours has its result."""

    request_id: int
    result: Json


class Refused(NamedTuple):
    """A request of ours failed."""

    request_id: int
    code: int
    message: str
    data: Any


class Stray(NamedTuple):
    """A line that means nothing here, its beginning."""

    text: str


class Closed(NamedTuple):
    """The bytes have ended, or cannot be understood any more. No event follows.

    Attributes:
        reason: empty where they ended between two lines.
    """

    reason: str


PeerEvent: TypeAlias = Asked | Told | Answered | Refused | Stray | Closed


class AcpPeer:
    """One connection, seen from one side.

    Args:
        max_line_bytes: the longest line that is taken.
    """

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._buffer = LineBuffer(max_line_bytes)
        self._out = bytearray()
        self._last_id = 0
        self._ours: set[int] = set()
        self._theirs: set[RequestId] = set()
        self._eof = False
        self._closed: Closed | None = None

    @property
    def open_requests(self) -> frozenset[int]:
        """Ids of our requests without an answer."""
        return frozenset(self._ours)

    # --- bytes in, events out ---

    def receive_data(self, data: bytes) -> None:
        """Store what came; b"" says that the other side's bytes have ended."""
        if data:
            self._buffer.feed(data)
        else:
            self._eof = True

    def next_event(self) -> PeerEvent | None:
        """The next thing that the bytes so far say; None before more come."""
        while self._closed is None:
            try:
                line = self._buffer.next_line()
            except TooLarge as error:
                self._closed = Closed(error.message)
                break
            if line is not None:
                event = self._take(line)
                if event is not None:
                    return event
            elif not self._eof:
                return None
            else:
                self._closed = Closed("in the middle of a line" if len(self._buffer) else "")
        return self._closed

    # --- bytes out ---

    @property
    def unsent(self) -> int:
        """How many bytes wait for `data_to_send`."""
        return len(self._out)

    def data_to_send(self) -> bytes:
        """The bytes for the other side so far; they are given once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def request(self, method: str, params: Mapping[str, Any]) -> int:
        """Ask; the id that `Answered` or `Refused` will carry."""
        self._last_id += 1
        self._ours.add(self._last_id)
        self._write({"id": self._last_id, "method": method, "params": params})
        return self._last_id

    def forget(self, request_id: int) -> None:
        """Nobody waits for that answer any more; it becomes stray when it comes."""
        self._ours.discard(request_id)

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Say something that has no answer."""
        self._write({"method": method, "params": params})

    def answer(self, request_id: RequestId, result: Mapping[str, Any]) -> None:
        """Answer a request; nothing where that was done before."""
        if request_id in self._theirs:
            self._theirs.discard(request_id)
            self._write({"id": request_id, "result": result})

    def refuse(
        self, request_id: RequestId, code: int, message: str, data: Mapping[str, Any] | None = None
    ) -> None:
        """Answer a request with an error; nothing where it has an answer."""
        if request_id in self._theirs:
            self._theirs.discard(request_id)
            self._error(request_id, code, message, data)

    # --- parts ---

    def _take(self, line: bytes) -> PeerEvent | None:
        try:
            message: Any = orjson.loads(line)
        except ValueError:
            return _stray(line)
        if not isinstance(message, dict):
            return _stray(line)
        given = cast("Json", message)
        if "method" in given:
            return self._take_call(given, line)
        request_id = given.get("id")
        if type(request_id) is not int or request_id not in self._ours:
            return _stray(line)
        self._ours.discard(request_id)
        if "error" in given:
            return _refused(request_id, given["error"])
        result = given.get("result")
        # `null` is what several agents answer where the schema has an empty object.
        return Answered(request_id, cast("Json", result) if isinstance(result, dict) else {})

    def _take_call(self, given: Json, line: bytes) -> Asked | Told | Stray | None:
        method, params = given["method"], given.get("params")
        if params is None:
            params = {}
        if "id" not in given:
            if isinstance(method, str) and isinstance(params, dict):
                return Told(method, cast("Json", params))
            return _stray(line)
        request_id = given["id"]
        if not _is_id(request_id) or request_id in self._theirs:
            self._error(None, INVALID_REQUEST, "each request needs an id of its own")
            return None
        if not isinstance(method, str) or not isinstance(params, dict):
            self._error(request_id, INVALID_REQUEST, "a request needs a method and an object")
            return None
        if len(self._theirs) >= MAX_OPEN_REQUESTS:
            self._error(
                request_id,
                INVALID_REQUEST,
                f"{MAX_OPEN_REQUESTS} requests are open, which is the most; wait for answers",
            )
            return None
        self._theirs.add(request_id)
        return Asked(request_id, method, cast("Json", params))

    def _error(
        self,
        request_id: RequestId | None,
        code: int,
        message: str,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        error: Json = {"code": code, "message": message}
        if data is not None:
            error["data"] = data
        self._write({"id": request_id, "error": error})

    def _write(self, message: Json) -> None:
        whole = {"jsonrpc": "2.0", **message}
        try:
            self._out += orjson.dumps(whole)
        except TypeError:
            # Half a character, as a file's name may hold: no strict reader would take it.
            import json

            text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
            self._out += text.encode("utf-8", "replace")
        self._out += b"\n"


def _is_id(value: object) -> bool:
    if type(value) is int:
        return True
    return isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS


def _refused(request_id: int, error: Any) -> Refused:
    if not isinstance(error, dict):
        return Refused(request_id, INTERNAL_ERROR, "it gave no reason", None)
    given = cast("Json", error)
    code, message = given.get("code"), given.get("message")
    return Refused(
        request_id,
        code if type(code) is int else INTERNAL_ERROR,
        message if isinstance(message, str) else "it gave no reason",
        given.get("data"),
    )


def _stray(line: bytes) -> Stray:
    text = line.decode("utf-8", "replace").strip()
    if len(text) > MAX_STRAY_CHARACTERS:
        text = text[:MAX_STRAY_CHARACTERS] + "..."
    return Stray(text)
