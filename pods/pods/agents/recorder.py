"""What an agent says, as events within their bounds.

Owns the bound of everything that an agent may put into its journal: nothing that an agent or its
programs produce can fill a line, a reader or the disk by one call. Not async: output handlers call
it, and `turn` wraps it for agents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from pods.agents.text import clean, shorten, split_text
from pods_protocol.bounds import MAX_TEXT_EVENT_BYTES
from pods_protocol.errors import InvalidParams

MAX_TURN_OUTPUT_BYTES: Final = 8 * 1024 * 1024
"""Output of processes that one turn journals. More than anybody reads; beyond it the process goes
on, its output is dropped, and a `warning` says how much."""

MAX_TOOL_CONTENT_BYTES: Final = 128 * 1024
"""What a tool gave back; even where JSON writes each byte as six, it fits an event."""

MAX_TOOL_ARGUMENTS_BYTES: Final = 64 * 1024
"""Arguments of a tool call as JSON; larger ones are shown by their beginning."""

MAX_SUMMARY_BYTES: Final = 4 * 1024
"""A tool result's summary, a step of progress, a warning: one thing to read at a glance."""

MAX_LABEL_BYTES: Final = 200
"""Names and ids."""

Emit: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Journals one event of the turn: kind and data."""


class Recorder:
    """Puts one turn's events into the journal, bounded.

    Args:
        emit: where they go.
        max_output_bytes: what processes of this turn may say.

    Attributes:
        dropped_bytes: output beyond that, since the last `report_dropped`.
    """

    def __init__(self, emit: Emit, *, max_output_bytes: int = MAX_TURN_OUTPUT_BYTES) -> None:
        self._emit = emit
        self._max_output_bytes = max_output_bytes
        self._output_left = max_output_bytes
        self._calls = 0
        self.dropped_bytes = 0

    def text(self, text: str) -> None:
        """A block of the answer."""
        for piece in split_text(text):
            self._emit("text", {"text": piece})

    def text_delta(self, text: str) -> None:
        """The next piece of a streamed answer."""
        for piece in split_text(text):
            self._emit("text_delta", {"text": piece})

    def thought(self, text: str) -> None:
        """What is for people and not part of the answer."""
        for piece in split_text(text):
            self._emit("thought", {"text": piece})

    def output(self, stream: str, text: str) -> None:
        """What a process said on `stdout` or `stderr`."""
        for piece in split_text(text, MAX_TEXT_EVENT_BYTES):
            size = len(piece.encode())
            if size > self._output_left:
                self._output_left = 0
                self.dropped_bytes += size
                continue
            self._output_left -= size
            self._emit("text_delta", {"text": piece, "stream": stream})

    def report_dropped(self) -> None:
        """Say how much output was dropped, if any was."""
        if not self.dropped_bytes:
            return
        dropped, self.dropped_bytes = self.dropped_bytes, 0
        self.warning(
            "output_dropped",
            f"{dropped} bytes of output were dropped: a turn keeps {self._max_output_bytes}; "
            "write large output to a file",
        )

    def tool_call(
        self, name: str, arguments: Mapping[str, Any], *, call_id: str | None = None
    ) -> str:
        """The beginning of a tool call; returns its id.

        Raises:
            InvalidParams: the arguments cannot be JSON.
        """
        self._calls += 1
        used_id = clean(call_id)[:MAX_LABEL_BYTES] if call_id else f"call-{self._calls}"
        try:
            encoded = orjson.dumps(dict(arguments))
        except TypeError as error:
            raise InvalidParams(
                f"cannot journal the arguments of {name!r}: {error}; give plain JSON values",
                path="arguments",
            ) from None
        shown: dict[str, Any] = dict(arguments)
        if len(encoded) > MAX_TOOL_ARGUMENTS_BYTES:
            shown = {
                "cut": shorten(encoded.decode(), MAX_TOOL_ARGUMENTS_BYTES // 4),
                "size_bytes": len(encoded),
            }
        self._emit(
            "tool_call",
            {"call_id": used_id, "name": shorten(name, MAX_LABEL_BYTES), "arguments": shown},
        )
        return used_id

    def tool_result(
        self, call_id: str, summary: str, *, content: str | None = None, is_error: bool = False
    ) -> None:
        """The end of a tool call."""
        data: dict[str, Any] = {
            "call_id": clean(call_id)[:MAX_LABEL_BYTES],
            "summary": shorten(summary, MAX_SUMMARY_BYTES),
            "is_error": is_error,
        }
        if content is not None:
            data["content"] = shorten(content, MAX_TOOL_CONTENT_BYTES)
        self._emit("tool_result", data)

    def progress(self, message: str, *, step: int | None = None, of: int | None = None) -> None:
        """How far it is: step `step` of `of`."""
        data: dict[str, Any] = {"message": shorten(message, MAX_SUMMARY_BYTES)}
        if step is not None:
            data["step"] = step
        if of is not None:
            data["of"] = of
        self._emit("progress", data)

    def usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
    ) -> None:
        """What the turn has cost so far: totals, each call replaces the one before."""
        told = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": cost_usd,
        }
        data = {name: value for name, value in told.items() if value is not None}
        if data:
            self._emit("usage", data)

    def artifact(self, data: dict[str, Any]) -> None:
        """A result with a name; `data` is as the event carries it."""
        self._emit("artifact", data)

    def warning(self, code: str, message: str) -> None:
        """Something to know that failed nothing."""
        self._emit("warning", {"code": code, "message": shorten(message, MAX_SUMMARY_BYTES)})
