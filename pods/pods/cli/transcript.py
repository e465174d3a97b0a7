"""A pod's events as a conversation, or one a line.

Owns how each kind of event looks to a person. Text goes out as the agent wrote it; everything else
gets a line with a mark before it. Kinds that this version does not know are shown, not dropped.
Used by `logs`, `attach`, `send --wait` and `spawn --wait`.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

from pods.cli import render

TEXT_KINDS: Final = ("text_delta", "text")
"""Joined in order, these are what the agent said. (`pods_protocol.events` says so too; it imports
attrs, which a light verb does not pay for. A test compares.)"""

SILENT_KINDS: Final = frozenset({"turn_started", "usage", "status", "message_withdrawn"})
"""Of no interest in a conversation; `--events` shows them."""

MAX_LINE_LENGTH: Final = 200
"""Characters of an event's data on one line."""


class Transcript:
    """Writes events as a conversation to standard output, marks on lines of their own."""

    def __init__(self, *, timestamps: bool = False) -> None:
        self._timestamps = timestamps
        self._at_line_start = True
        self._colour = render.coloured()

    def show(self, event: dict[str, Any]) -> None:
        """Write one event."""
        kind, data = event["type"], event["data"]
        if kind in TEXT_KINDS:
            self._text(str(data["text"]), whole=kind == "text")
        elif kind not in SILENT_KINDS:
            self.finish_line()
            mark, colour, text = _mark(kind, event)
            stamp = f"{clock(event['time'])} " if self._timestamps else ""
            render.say(stamp + render.paint(f"{mark} {text}", colour, on=self._colour))

    def finish_line(self) -> None:
        """End a line of text that the agent left open."""
        if not self._at_line_start:
            render.say()
            self._at_line_start = True

    def _text(self, text: str, *, whole: bool) -> None:
        if whole:
            self.finish_line()
        render.write(text)
        if text:
            self._at_line_start = text.endswith("\n")
        if whole:
            self.finish_line()


def event_line(event: dict[str, Any], *, timestamps: bool) -> str:
    """One event on one line: seq, turn, kind, data."""
    stamp = f"{clock(event['time'])} " if timestamps else ""
    turn = "-" if event["turn"] is None else str(event["turn"])
    return f"{stamp}{event['seq']:>5} {turn:>3} {event['type']:<17} {_short(event['data'])}"


def clock(seconds: float) -> str:
    """A moment in local time."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _short(data: dict[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return render.clean(text if len(text) <= MAX_LINE_LENGTH else text[:MAX_LINE_LENGTH] + "…")


def _mark(kind: str, event: dict[str, Any]) -> tuple[str, str, str]:
    """Mark, colour and text of a kind that is not the agent's text."""
    data = event["data"]
    match kind:
        case "message_accepted":
            queued = " (queued)" if data.get("state") == "queued" else ""
            return ">", "bold", f"{data['input']}{queued}"
        case "thought":
            return "~", "dim", str(data["text"])
        case "tool_call":
            return "*", "cyan", f"{data['name']} {_short(data['arguments'])}"
        case "tool_result":
            return "*", "red" if data["is_error"] else "cyan", f"-> {data['summary']}"
        case "progress":
            step = f" ({data['step']} of {data['of']})" if "step" in data and "of" in data else ""
            return ".", "dim", f"{data['message']}{step}"
        case "question":
            options = f" [{' / '.join(data['options'])}]" if data["options"] else ""
            return "?", "yellow", f"{data['prompt']}{options}"
        case "answer":
            return "=", "yellow", f"{data['answer']} (by {data['by']})"
        case "artifact":
            return "+", "cyan", f"{data['name']}, {render.size(data['size'])}"
        case "turn_ended":
            colour = "green" if data["stop_reason"] == "end_turn" else "red"
            seconds = f", {data['seconds']:.1f} s" if "seconds" in data else ""
            return "--", colour, f"turn {event['turn']} ended: {render.outcome(data)}{seconds}"
        case "warning":
            return "!", "yellow", f"{data['code']}: {data['message']}"
        case "stopped":
            why = f": {data['message']}" if data.get("message") else ""
            return "--", "dim", f"the pod has ended: {data['reason']}{why}"
        case "restarted":
            return "--", "dim", f"restarted: {data['reason']}"
        case "child_event":
            return "@", "dim", f"{data['pod']}: {data['type']}"
        case "gap":
            return "!", "yellow", f"events {data['first']} to {data['last']} are gone"
        case _:
            return "?", "dim", f"{kind} {_short(data)}"
