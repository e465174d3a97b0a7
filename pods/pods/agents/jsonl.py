"""Structured output of a program: JSON lines that become events.

Owns the short list of kinds that a program may write and the shape of each. Whatever is not one of
them is text and a warning, never an error: a program that prints a stray line loses nothing. Each
line is `{"type": KIND, "data": {...}}`; besides the kinds of `FIELDS` there is
`{"type": "stop_reason", "data": {"stop_reason": ..., "message": ...}}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast, get_args

import orjson

from pods.agents.artifacts import TEXT_TYPE
from pods.agents.recorder import Recorder
from pods.agents.text import Coalescer, Decoder
from pods_protocol.errors import PodsError
from pods_protocol.values import StopReason

MAX_JSON_LINE_BYTES: Final = 512 * 1024
"""One line of a program's structured output: the largest inline artifact as JSON, with room. What
is beyond it in one line is dropped, with a warning."""

MAX_LINE_WARNINGS: Final = 20
"""Warnings about bad lines in one turn; a program that writes plain text makes one of each line."""

STOP_REASONS: Final[tuple[str, ...]] = tuple(
    reason for reason in get_args(StopReason) if reason not in ("lost", "limit")
)
"""What an agent may end a turn with; `lost` is for turns whose process is gone, and of its limits
the pod alone speaks."""


class _Field(NamedTuple):
    types: tuple[type, ...]
    required: bool = True


_TEXT: Final = _Field((str,))
_NUMBER: Final = _Field((int,), required=False)

FIELDS: Final[Mapping[str, Mapping[str, _Field]]] = {
    "text": {"text": _TEXT},
    "text_delta": {"text": _TEXT},
    "thought": {"text": _TEXT},
    "progress": {"message": _TEXT, "step": _NUMBER, "of": _NUMBER},
    "tool_call": {
        "name": _TEXT,
        "arguments": _Field((dict,)),
        "call_id": _Field((str,), required=False),
    },
    "tool_result": {
        "call_id": _TEXT,
        "summary": _TEXT,
        "content": _Field((str,), required=False),
        "is_error": _Field((bool,), required=False),
    },
    "usage": {
        "input_tokens": _NUMBER,
        "output_tokens": _NUMBER,
        "cost_usd": _Field((int, float), required=False),
    },
    "artifact": {
        "name": _TEXT,
        "text": _TEXT,
        "media_type": _Field((str,), required=False),
    },
    "stop_reason": {"stop_reason": _TEXT, "message": _Field((str,), required=False)},
}
"""Kind -> the fields of its `data`."""

StoreArtifact = Callable[[str, str, str], None]
"""Journals a result: name, text, media type."""


class JsonLines:
    """Takes a program's output: its standard output is JSON lines, its standard error is text.

    Args:
        recorder: where the events go.
        store_artifact: where results go.

    Attributes:
        stop_reason: the last one that the program told, or None.
        message: what it said with it.
    """

    def __init__(self, recorder: Recorder, store_artifact: StoreArtifact) -> None:
        self._recorder = recorder
        self._store_artifact = store_artifact
        self._stderr = Coalescer(recorder.output)
        self._decoder = Decoder()
        self._line = bytearray()
        self._cut = 0
        self._warnings = 0
        self._mid_line = False
        self.stop_reason: StopReason | None = None
        self.message = ""

    @property
    def holds(self) -> bool:
        """Whether text of the standard error waits to be joined."""
        return len(self._stderr) > 0

    def flush(self) -> None:
        """Hand the joined text on; a line waits for its end."""
        self._stderr.flush()

    def feed(self, stream: str, data: bytes) -> None:
        """Take bytes."""
        if stream == "stderr":
            self._stderr.feed("stderr", self._decoder.feed(data))
            return
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._keep(piece)
            self._take_line()
        self._keep(rest)

    def end(self) -> None:
        """Take a last line without a newline, and what is left of the rest."""
        self._take_line()
        self._stderr.feed("stderr", self._decoder.end())
        self._stderr.flush()

    def _keep(self, piece: bytes) -> None:
        room = MAX_JSON_LINE_BYTES - len(self._line)
        self._line += piece[:room]
        self._cut += max(0, len(piece) - room)

    def _take_line(self) -> None:
        line, cut = bytes(self._line), self._cut
        self._line.clear()
        self._cut = 0
        if cut:
            self._warn("line_cut", f"{cut} bytes of a line over {MAX_JSON_LINE_BYTES} were dropped")
            self._as_text(line)
        elif line.strip():
            fault = self._take(line)
            if fault:
                self._warn("bad_line", f"a line of output is no event: {fault}")
                self._as_text(line)

    def _as_text(self, line: bytes) -> None:
        # A bad line is a line of its own, whatever text was said before it.
        start = "\n" if self._mid_line else ""
        self._mid_line = False
        self._recorder.output("stdout", f"{start}{line.decode('utf-8', 'replace')}\n")

    def _warn(self, code: str, message: str) -> None:
        self._warnings += 1
        if self._warnings < MAX_LINE_WARNINGS:
            self._recorder.warning(code, message)
        elif self._warnings == MAX_LINE_WARNINGS:
            self._recorder.warning(code, f"{message}; further lines like it are not reported")

    def _take(self, line: bytes) -> str:
        """Journal the event in a line; what is wrong with it, or nothing."""
        try:
            value: Any = orjson.loads(line)
        except ValueError as error:
            return str(error)
        if not isinstance(value, dict):
            return "it is not a JSON object"
        given = cast("dict[str, Any]", value)
        kind, data = given.get("type"), given.get("data")
        fields = FIELDS.get(kind) if isinstance(kind, str) else None
        if not isinstance(kind, str) or fields is None:
            return f"its type is {kind!r}; the types are {', '.join(FIELDS)}"
        if not isinstance(data, dict):
            return "its `data` is not an object"
        found = cast("dict[str, Any]", data)
        fault = _check(found, fields)
        if fault:
            return f"in `{kind}`, {fault}"
        try:
            return self._record(kind, found)
        except PodsError as error:
            if not error.CODE.startswith("storage"):
                return error.message
            raise

    def _record(self, kind: str, data: dict[str, Any]) -> str:
        recorder = self._recorder
        if kind == "stop_reason":
            if data["stop_reason"] not in STOP_REASONS:
                return f"the stop reason is none of {', '.join(STOP_REASONS)}"
            self.stop_reason = cast("StopReason", data["stop_reason"])
            self.message = data.get("message", "")
        elif kind == "text":
            recorder.text(data["text"])
            self._said(data["text"])
        elif kind == "text_delta":
            recorder.text_delta(data["text"])
            self._said(data["text"])
        elif kind == "thought":
            recorder.thought(data["text"])
        elif kind == "progress":
            recorder.progress(**data)
        elif kind == "tool_call":
            recorder.tool_call(data["name"], data["arguments"], call_id=data.get("call_id"))
        elif kind == "tool_result":
            recorder.tool_result(
                data["call_id"],
                data["summary"],
                content=data.get("content"),
                is_error=data.get("is_error", False),
            )
        elif kind == "usage":
            recorder.usage(**data)
        else:
            self._store_artifact(data["name"], data["text"], data.get("media_type", TEXT_TYPE))
        return ""

    def _said(self, text: str) -> None:
        if text:
            self._mid_line = not text.endswith("\n")


def _check(data: Mapping[str, Any], fields: Mapping[str, _Field]) -> str:
    """What is wrong with the fields, or nothing."""
    for name in data:
        if name not in fields:
            return f"there is no field `{name}`; the fields are {', '.join(fields)}"
    for name, field in fields.items():
        if name not in data:
            if field.required:
                return f"`{name}` is missing"
        elif type(data[name]) not in field.types:
            expected = " or ".join(one.__name__ for one in field.types)
            return f"`{name}` is not a {expected}"
    return ""
