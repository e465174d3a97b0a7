"""What an ACP agent says while it works, as events of a turn.

Owns the reading of `session/update`: text, thoughts, tool calls with their locations, plans and
usage. Lenient, for agents differ: what is not understood is left out, never an error. Pieces of
text are joined until something else is said or `flush` is called, so that an agent that streams
words does not make an event of each. Not async, no I/O but what the recorder does. Called by
`agent` for each update.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import orjson

from pods.agents.recorder import Recorder
from pods.agents.text import Coalescer, shorten

MAX_TOOL_CALLS: Final = 512
"""Calls remembered in a turn: beyond it the oldest is forgotten, and what is still said of it makes
it a new one."""

MAX_SHOWN_LOCATIONS: Final = 50
"""Of one tool call; an agent that touches more says so in words."""

MAX_INPUT_BYTES: Final = 256 * 1024
"""Of one call's arguments as JSON that are kept: far above what an event shows of them."""

MAX_OUTPUT_CHARACTERS: Final = 64 * 1024
"""Of a raw result as JSON, before the recorder's own bound."""

DONE: Final = frozenset({"completed", "failed"})

_PLAN_MARKS: Final = {"completed": "[x]", "in_progress": "[>]"}

Json: TypeAlias = dict[str, Any]


class ToolCall:
    """A call that was begun: what is known of it so far.

    Attributes:
        title: what it does, in words.
        kind: `read`, `edit`, `execute`, ... of ACP.
        locations: the files that it is about.
        raw_input: the arguments, where the agent tells them.
        content: what it gave so far.
        raw_output: what the tool gave back, where the agent tells that.
    """

    __slots__ = ("content", "kind", "locations", "raw_input", "raw_output", "title")

    def __init__(self) -> None:
        self.title = ""
        self.kind = "other"
        self.locations: list[str] = []
        self.raw_input: Any = None
        self.content: list[Json] = []
        self.raw_output: Any = None

    def take(self, given: Mapping[str, Any]) -> None:
        """Take what an update says; what it leaves out stays."""
        if isinstance(given.get("title"), str):
            self.title = given["title"]
        if isinstance(given.get("kind"), str):
            self.kind = given["kind"]
        if isinstance(given.get("locations"), list):
            self.locations = locations_of(given["locations"])
        if given.get("rawInput") is not None:
            self.raw_input = _kept(given["rawInput"])
        if given.get("rawOutput") is not None:
            self.raw_output = given["rawOutput"]
        if isinstance(given.get("content"), list):
            self.content = _objects(given["content"])

    @property
    def is_bare(self) -> bool:
        """Whether nothing but its name is known: agents say what it is about a moment later."""
        return not self.locations and not self.raw_input

    def arguments(self) -> Json:
        """What the event `tool_call` carries."""
        found: Json = {"kind": self.kind}
        if self.locations:
            found["locations"] = self.locations
        if self.raw_input is not None:
            found["input"] = self.raw_input
        return found


TerminalText: TypeAlias = Callable[[str], str]
"""From a terminal's id to what it has said."""


class Updates:
    """Journals what one turn's updates say.

    Args:
        recorder: where the events go.
        terminal_text: what a terminal of this turn has said.
        cost_usd: what the session has cost before: agents tell its sum, and a turn tells its own.

    Attributes:
        cost_usd: what the session has cost by now, as far as the agent tells.
    """

    def __init__(
        self, recorder: Recorder, terminal_text: TerminalText, *, cost_usd: float = 0.0
    ) -> None:
        self._recorder = recorder
        self._terminal_text = terminal_text
        self._text = Coalescer(self._emit)
        self._calls: dict[str, ToolCall] = {}
        self._open: set[str] = set()
        self._ended: set[str] = set()
        self.cost_usd = self._cost_before = cost_usd

    def take(self, update: Mapping[str, Any]) -> None:
        """Take one `update` of a `session/update`."""
        kind = update.get("sessionUpdate")
        if kind in ("agent_message_chunk", "agent_thought_chunk"):
            stream = "text" if kind == "agent_message_chunk" else "thought"
            self._text.feed(stream, block_text(update.get("content")))
        elif kind in ("tool_call", "tool_call_update"):
            self._take_call(update)
        elif kind == "plan":
            self._take_plan(_objects(update.get("entries")))
        elif kind == "usage_update":
            self._take_cost(update.get("cost"))

    def flush(self) -> None:
        """Hand joined text on; called when nothing more is there to be read."""
        self._text.flush()

    def end(self, usage: Any) -> None:
        """The turn is over; `usage` is what its answer says."""
        self.flush()
        if isinstance(usage, dict):
            given = cast("Json", usage)
            self._recorder.usage(
                input_tokens=_number(given.get("inputTokens")),
                output_tokens=_number(given.get("outputTokens")),
            )
        for call_id, call in self._calls.items():
            if call_id not in self._open and call_id not in self._ended:
                self._begin(call_id, call)
        for call_id in sorted(self._open):
            self._recorder.tool_result(call_id, "it was not told how this ended", is_error=True)
        self._open.clear()

    def permission_asked(self, given: Mapping[str, Any]) -> ToolCall:
        """The call that a permission is asked for, which is told if it was not yet.

        Some agents say what a call is about here and nowhere else.
        """
        call_id = given.get("toolCallId")
        if not isinstance(call_id, str) or not call_id:
            call = ToolCall()
            call.take(given)
            return call
        self.flush()
        call = self._call(call_id)
        call.take(given)
        if call_id not in self._open and call_id not in self._ended:
            self._begin(call_id, call)
        return call

    # --- parts ---

    def _emit(self, stream: str, text: str) -> None:
        if stream == "thought":
            self._recorder.thought(text)
        else:
            self._recorder.text_delta(text)

    def _take_call(self, update: Mapping[str, Any]) -> None:
        call_id = update.get("toolCallId")
        if not isinstance(call_id, str) or not call_id:
            return
        self.flush()
        call = self._call(call_id)
        call.take(update)
        status = str(update.get("status"))
        if call_id in self._ended:
            return  # what an agent adds to a call that is over is a repetition of it
        first = update.get("sessionUpdate") == "tool_call"
        if call_id not in self._open and not (first and status not in DONE and call.is_bare):
            self._begin(call_id, call)
        if status in DONE:
            self._finish(call_id, call, failed=status == "failed")

    def _call(self, call_id: str) -> ToolCall:
        call = self._calls.get(call_id)
        if call is None:
            if len(self._calls) >= MAX_TOOL_CALLS:
                oldest = next(iter(self._calls))
                del self._calls[oldest]
                self._open.discard(oldest)
                self._ended.discard(oldest)
            call = self._calls[call_id] = ToolCall()
        return call

    def _begin(self, call_id: str, call: ToolCall) -> None:
        self._open.add(call_id)
        self._recorder.tool_call(call.title or call.kind, call.arguments(), call_id=call_id)

    def _finish(self, call_id: str, call: ToolCall, *, failed: bool) -> None:
        self._open.discard(call_id)
        self._ended.add(call_id)
        places = ", ".join(call.locations)
        summary = f"{call.title or call.kind}{f' ({places})' if places else ''}"
        content = content_text(call.content, self._terminal_text)
        if not content and call.raw_output is not None:
            content = as_text(call.raw_output)
        self._recorder.tool_result(call_id, summary, content=content or None, is_error=failed)
        call.content, call.raw_output = [], None  # told, and possibly large

    def _take_plan(self, entries: Sequence[Json]) -> None:
        if not entries:
            return
        self.flush()
        done = sum(one.get("status") == "completed" for one in entries)
        lines = [
            f"{_PLAN_MARKS.get(str(one.get('status')), '[ ]')} {one.get('content')}"
            for one in entries
        ]
        self._recorder.progress("plan:\n" + "\n".join(lines), step=done, of=len(entries))

    def _take_cost(self, cost: Any) -> None:
        if not isinstance(cost, dict):
            return
        given = cast("Json", cost)
        amount = given.get("amount")
        if given.get("currency") == "USD" and isinstance(amount, int | float):
            self.flush()
            if amount < self._cost_before:
                self._cost_before = 0.0  # it counts anew
            self.cost_usd = float(amount)
            self._recorder.usage(cost_usd=round(self.cost_usd - self._cost_before, 9))


def block_text(block: Any) -> str:
    """A content block as text; what is none is named."""
    if not isinstance(block, dict):
        return ""
    given = cast("Json", block)
    kind = given.get("type")
    if kind == "text":
        text = given.get("text")
        return text if isinstance(text, str) else ""
    if kind == "resource_link":
        return f"[{given.get('name') or 'file'}]({given.get('uri')})"
    if kind == "resource" and isinstance(given.get("resource"), dict):
        resource = cast("Json", given["resource"])
        text = resource.get("text")
        return text if isinstance(text, str) else f"[resource {resource.get('uri')}]"
    return f"[{kind}]" if isinstance(kind, str) else ""


def content_text(content: Sequence[Json], terminal_text: TerminalText) -> str:
    """What a tool call gave, as text."""
    pieces: list[str] = []
    for one in content:
        kind = one.get("type")
        if kind == "content":
            pieces.append(block_text(one.get("content")))
        elif kind == "diff":
            pieces.append(_diff_text(one))
        elif kind == "terminal" and isinstance(one.get("terminalId"), str):
            pieces.append(terminal_text(one["terminalId"]))
    return "\n".join(piece for piece in pieces if piece)


def _diff_text(diff: Json) -> str:
    old, new = diff.get("oldText"), diff.get("newText")
    path = diff.get("path")
    if not isinstance(new, str):
        return f"changed {path}"
    if not isinstance(old, str) or not old:
        return f"wrote {path}: {new.count(chr(10)) + 1} lines"
    before, after = old.count("\n") + 1, new.count("\n") + 1
    return f"changed {path}: {before} lines became {after}"


def locations_of(given: Any) -> list[str]:
    """`path` or `path:line` of each location."""
    found: list[str] = []
    for one in _objects(given)[:MAX_SHOWN_LOCATIONS]:
        path, line = one.get("path"), one.get("line")
        if isinstance(path, str) and path:
            found.append(f"{path}:{line}" if type(line) is int else path)
    return found


def as_text(value: Any) -> str:
    """A raw result: a string as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "[nested too deeply to be shown]"
    return shorten(text, MAX_OUTPUT_CHARACTERS)


def _kept(value: Any) -> Any:
    """Arguments as a journal takes them; what is too much or too deep becomes a text."""
    try:
        size = len(orjson.dumps(value))
    except TypeError:  # more brackets than it writes
        return as_text(value)
    return value if size <= MAX_INPUT_BYTES else as_text(value)


def _objects(given: Any) -> list[Json]:
    if not isinstance(given, list):
        return []
    return [cast("Json", one) for one in cast("list[object]", given) if isinstance(one, dict)]


def _number(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
