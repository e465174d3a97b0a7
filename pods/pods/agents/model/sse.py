"""Server-sent events, from bytes as they come. Pure.

Owns the splitting of lines, which is at line feeds alone, with or without a carriage return before:
text in JSON may hold other separators that Python's own splitting knows. Fields other than `event`
and `data` say nothing here.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from pods.agents.model.talk import BrokenReply

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""Of one event: far above any piece of an answer, and a bound for an endpoint gone mad."""


@frozen
class ServerEvent:
    """One event: its kind (empty for none) and its data."""

    kind: str
    data: str


class EventReader:
    """Takes bytes, gives events."""

    def __init__(self) -> None:
        self._rest = b""
        self._kind = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that these bytes complete.

        Raises:
            BrokenReply: an event is larger than `MAX_EVENT_BYTES`.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        events: list[ServerEvent] = []
        for line in lines:
            event = self._line(line.removesuffix(b"\r").decode("utf-8", "replace"))
            if event is not None:
                events.append(event)
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise BrokenReply(f"one event of the stream has more than {MAX_EVENT_BYTES} bytes")
        return events

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._kind, "\n".join(self._data)) if self._data else None
            self._kind, self._data, self._size = "", [], 0
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
            self._size += len(value)
        return None
