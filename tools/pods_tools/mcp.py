"""The Model Context Protocol's server side without any I/O: bytes in, events out, bytes to send.

Owns what MCP says of a server that offers tools and nothing else: the handshake of the revisions up
to 2025-11-25 (`initialize`), the one without a handshake of 2026-07-28 (`server/discover`, and a
version in each request's `_meta`), `ping`, the list of tools, which calls are open, cancellation
and progress. Both eras are served on one connection; each request says which it is of. Knows no
tool by name and runs none: a call is an event, its result comes back by `send_result`. Knows no
descriptor, clock or thread; `pods.cli.mcp_stdio` moves its bytes.

The standard library alone, attrs neither: a host starts this with every session and waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeGuard, cast

from pods_protocol.errors import TooLarge
from pods_protocol.framing import LineBuffer

HANDSHAKE_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions that begin with `initialize`, the newest first."""

STATELESS_VERSIONS: Final = ("2026-07-28",)
"""Revisions whose every request says which it is of."""

TOOLS_FILE: Final = "mcp_tools.json"
"""In this package: the definitions in MCP's shape, as `pods_tools.reference` wrote them down. A
host wants the list before the tools themselves could be imported."""

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"

MAX_OPEN_CALLS: Final = 32
"""Calls under way at once. Each holds a thread and a connection of the bridge; hosts make a few."""

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""Of one message from the client: the longest prompt that SpawnPod takes, a million characters,
with every one of them escaped. What is too long for a supervisor is refused in its own words."""

MAX_ID_CHARACTERS: Final = 256
"""Of a request's id or progress token; both are sent back."""

LIST_TTL_MILLISECONDS: Final = 3_600_000
"""For how long a host may keep the list: the tools of one release never change."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
UNSUPPORTED_VERSION: Final = -32022
"""MCP's own number, of 2026-07-28: a client takes another revision from its `supported`."""

RequestId: TypeAlias = int | str
Json: TypeAlias = dict[str, Any]


class CallTool(NamedTuple):
    """A tool is to be called; answer with `send_result`, unless `CancelCall` comes first."""

    request_id: RequestId
    name: str
    arguments: Any
    wants_progress: bool


class CancelCall(NamedTuple):
    """An open call is not wanted any more; nothing may be sent for it."""

    request_id: RequestId


class Closed(NamedTuple):
    """The client's bytes have ended, or cannot be understood any more. No event follows."""

    clean: bool


McpEvent: TypeAlias = CallTool | CancelCall | Closed


class _Open(NamedTuple):
    stateless: bool
    progress_token: RequestId | None


class _Refused(Exception):
    """A request gets a JSON-RPC error instead of a result."""

    def __init__(self, code: int, message: str, data: Json | None = None) -> None:
        super().__init__(message)
        self.error: Json = {"code": code, "message": message}
        if data is not None:
            self.error["data"] = data


class McpServer:
    """One connection's server end.

    Args:
        tools: the definitions, in MCP's shape.
        version: of this server.
        instructions: for the model: what the tools are for.
        max_line_bytes: the longest line that is taken.
    """

    def __init__(
        self,
        tools: Sequence[Mapping[str, Any]],
        *,
        version: str,
        instructions: str,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self._tools = [dict(tool) for tool in tools]
        self._info: Json = {"name": "pods", "title": "pods", "version": version}
        self._instructions = instructions
        self._buffer = LineBuffer(max_line_bytes)
        self._out = bytearray()
        self._todo: list[Any] = []  # the rest of a batch; the newest message last
        self._open: dict[RequestId, _Open] = {}
        self._initialized = False
        self._eof = False
        self._closed: Closed | None = None

    @property
    def open_calls(self) -> int:
        """Calls that are neither answered nor cancelled."""
        return len(self._open)

    # --- bytes in, events out ---

    def receive_data(self, data: bytes) -> None:
        """Store what came; b"" says that the client's bytes have ended."""
        if data:
            self._buffer.feed(data)
        else:
            self._eof = True

    def next_event(self) -> McpEvent | None:
        """What the bytes so far ask of the caller; None before more come.

        Raises nothing for what a client did: that is answered, see `data_to_send`.
        """
        while self._closed is None:
            if self._todo:
                event = self._on_message(self._todo.pop())
                if event is not None:
                    return event
                continue
            try:
                line = self._buffer.next_line()
            except TooLarge as error:
                self._refuse(None, INVALID_REQUEST, error.message)
                self._closed = Closed(clean=False)
                break
            if line is not None:
                self._read(line)
            elif not self._eof:
                return None
            else:
                self._closed = Closed(clean=len(self._buffer) == 0)
        return self._closed

    def data_to_send(self) -> bytes:
        """The bytes for the client so far; they are given once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    # --- what the caller says ---

    def send_result(
        self, request_id: RequestId, text: str, data: Mapping[str, Any], *, is_error: bool
    ) -> None:
        """Answer a call; nothing is sent where it was cancelled.

        Args:
            request_id: of the call.
            text: for the model, whole.
            data: the same as JSON. It fits the tool's output schema where the call went well; what
                an error has beside its text goes under `_meta`, for the schema is not for it.
            is_error: the call did not do what it was asked to.
        """
        known = self._open.pop(request_id, None)
        if known is None:
            return
        result: Json = {"content": [{"type": "text", "text": text}], "isError": is_error}
        if is_error:
            result["_meta"] = {"pods/error": dict(data)}
        else:
            result["structuredContent"] = dict(data)
        self._answer(request_id, result, stateless=known.stateless)

    def send_progress(self, request_id: RequestId, progress: float, message: str) -> None:
        """Say that a call is under way, where its client wants to hear of that.

        Args:
            request_id: of the call.
            progress: grows from one to the next; there is no total.
            message: for people.
        """
        known = self._open.get(request_id)
        if known is None or known.progress_token is None:
            return
        self._write(
            {
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": {
                    "progressToken": known.progress_token,
                    "progress": progress,
                    "message": message,
                },
            }
        )

    # --- messages ---

    def _read(self, line: bytes) -> None:
        try:
            message: Any = json.loads(line)
        except (ValueError, RecursionError):
            self._refuse(None, PARSE_ERROR, "cannot read this line: it is not JSON")
            return
        if isinstance(message, list):  # 2025-03-26 has batches; each message is answered by itself
            self._todo = message[::-1]
        else:
            self._todo = [message]

    def _on_message(self, message: Any) -> McpEvent | None:
        if not isinstance(message, dict):
            self._refuse(None, INVALID_REQUEST, "cannot take this message: it is not an object")
            return None
        given = cast("Json", message)
        method, params = given.get("method"), given.get("params")
        if "method" not in given:
            return None  # an answer; nothing was asked
        if params is None:
            params = {}
        if "id" not in given:
            return self._on_notification(method, params)
        request_id = given["id"]
        if not _is_id(request_id):
            self._refuse(
                None,
                INVALID_REQUEST,
                "cannot take this request: its id is neither a whole number nor a string of at "
                f"most {MAX_ID_CHARACTERS} characters",
            )
            return None
        try:
            if given.get("jsonrpc") != "2.0" or not isinstance(method, str):
                raise _Refused(INVALID_REQUEST, 'a request needs "jsonrpc": "2.0" and a method')
            if not isinstance(params, dict):
                raise _Refused(INVALID_PARAMS, "the params must be an object")
            return self._on_request(request_id, method, cast("Json", params))
        except _Refused as refused:
            self._write({"jsonrpc": "2.0", "id": request_id, "error": refused.error})
            return None

    def _on_notification(self, method: Any, params: Any) -> CancelCall | None:
        if method != "notifications/cancelled" or not isinstance(params, dict):
            return None  # `notifications/initialized`, and what later revisions may say
        request_id = cast("Json", params).get("requestId")
        if not _is_id(request_id) or self._open.pop(request_id, None) is None:
            return None  # its answer has just gone out
        return CancelCall(request_id)

    def _on_request(self, request_id: RequestId, method: str, params: Json) -> CallTool | None:
        if request_id in self._open:
            raise _Refused(
                INVALID_REQUEST, f"request {request_id!r} is not answered yet; give each its own id"
            )
        meta = params.get("_meta")
        if not isinstance(meta, dict):
            meta = {}
        stateless = _is_stateless(cast("Json", meta), method)
        if not stateless and not self._initialized and method not in ("initialize", "ping"):
            raise _Refused(
                INVALID_REQUEST,
                f"{method!r} comes before `initialize`; send that first, or say the protocol's "
                f"version in each request's `_meta` as `{VERSION_KEY}`",
            )
        if method == "tools/call":
            return self._on_call(request_id, params, cast("Json", meta), stateless=stateless)
        if method == "initialize" and not stateless:
            result = self._initialize(params)
        elif method == "server/discover":
            result = self._discover()
        elif method == "ping":
            result = {}
        elif method == "tools/list":
            result = self._list(params, stateless=stateless)
        else:
            raise _Refused(
                METHOD_NOT_FOUND, f"this server has no {method[:80]!r}: it offers tools alone"
            )
        self._answer(request_id, result, stateless=stateless)
        return None

    def _initialize(self, params: Json) -> Json:
        asked = params.get("protocolVersion")
        if not isinstance(asked, str):
            raise _Refused(INVALID_PARAMS, "`protocolVersion` must be a string")
        self._initialized = True
        return {
            "protocolVersion": asked if asked in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": self._info,
            "instructions": self._instructions,
        }

    def _discover(self) -> Json:
        return {
            "supportedVersions": [*STATELESS_VERSIONS],
            "capabilities": {"tools": {}},
            "instructions": self._instructions,
            **_CACHED,
        }

    def _list(self, params: Json, *, stateless: bool) -> Json:
        if params.get("cursor") is not None:
            raise _Refused(INVALID_PARAMS, "no page gave this `cursor`: the list is one page")
        return {"tools": self._tools, **(_CACHED if stateless else {})}

    def _on_call(
        self, request_id: RequestId, params: Json, meta: Json, *, stateless: bool
    ) -> CallTool:
        name = params.get("name")
        if not isinstance(name, str):
            raise _Refused(INVALID_PARAMS, "`name` must say which tool to call")
        if len(self._open) >= MAX_OPEN_CALLS:
            raise _Refused(
                INVALID_REQUEST,
                f"{MAX_OPEN_CALLS} calls are open, which is the most; wait until some have "
                "returned, then call again",
            )
        token = meta.get("progressToken")
        self._open[request_id] = _Open(stateless, token if _is_id(token) else None)
        arguments = params.get("arguments")
        return CallTool(request_id, name, {} if arguments is None else arguments, _is_id(token))

    # --- bytes out ---

    def _answer(self, request_id: RequestId, result: Json, *, stateless: bool) -> None:
        if stateless:
            meta = {**result.get("_meta", {}), SERVER_INFO_KEY: self._info}
            result = {"resultType": "complete", **result, "_meta": meta}
        self._write({"jsonrpc": "2.0", "id": request_id, "result": result})

    def _refuse(self, request_id: RequestId | None, code: int, message: str) -> None:
        error = {"code": code, "message": message}
        self._write({"jsonrpc": "2.0", "id": request_id, "error": error})

    def _write(self, message: Json) -> None:
        # Half a character, as a host's own arguments may hold, becomes `?`: no strict reader on
        # the other side would take it, escaped or not.
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        self._out += text.encode("utf-8", "replace") + b"\n"


_CACHED: Final[Mapping[str, Any]] = {"ttlMs": LIST_TTL_MILLISECONDS, "cacheScope": "private"}
"""What 2026-07-28 wants beside an answer that may be kept; private, for it names the session."""


def _is_stateless(meta: Json, method: str) -> bool:
    """Whether a request is of the era without a handshake.

    Raises:
        _Refused: of a revision that is not served.
    """
    asked = meta.get(VERSION_KEY)
    if asked is None:
        return method == "server/discover"
    if asked in STATELESS_VERSIONS:
        return True
    raise _Refused(
        UNSUPPORTED_VERSION,
        f"protocol version {str(asked)[:40]!r} is not served here; take one of `supported`, or "
        f"begin with `initialize` for {HANDSHAKE_VERSIONS[0]} and before",
        {"supported": [*STATELESS_VERSIONS], "requested": asked},
    )


def _is_id(value: object) -> TypeGuard[RequestId]:
    if type(value) is int:
        return True
    return isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS
