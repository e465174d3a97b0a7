"""What a pod and its agent said to each other, and what that cost: a part of what its events say.

Owns the running turn's text, the history and the usage, each within its bound. Pure. Must not know
the kinds of events, the queue or states: `PodFold`, of which it is a part, says what happens, and
its snapshots write these fields as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from io import StringIO
from typing import Any, Final, Literal

from attrs import define, field

from pods_protocol.pod_messages import HistoryEntry

MAX_HISTORY_ENTRIES: Final = 1000
MAX_HISTORY_CHARACTERS: Final = 1024 * 1024
"""The conversation that is kept in memory; the reader has the rest."""

MAX_TURN_TEXT_CHARACTERS: Final = 128 * 1024
"""Assistant text that is kept of one turn; the reader has the rest. A command that prints gigabytes
must not fill the pod's memory."""

USAGE_FIELDS: Final = ("input_tokens", "output_tokens", "cost_usd")


@define
class Conversation:
    """The turns so far, in words and in figures.

    Attributes:
        text: what the agent said in the running turn, up to the bound.
        text_length: characters that it said, also beyond.
        entries: what was said, the oldest first.
        entries_length: characters in `entries`.
        usage_before: of the turns that have ended, by field.
        usage_of_turn: of the running one, as told last.
    """

    text: StringIO = field(factory=StringIO)
    text_length: int = 0
    entries: deque[HistoryEntry] = field(factory=deque[HistoryEntry])
    entries_length: int = 0
    usage_before: dict[str, float] = field(factory=dict[str, float])
    usage_of_turn: dict[str, float] = field(factory=dict[str, float])

    def turn_started(self, asked: str | None, turn: int, seq: int) -> None:
        """A turn begins.

        Args:
            asked: what the agent is asked; None where that is not known.
            turn, seq: the turn's number, and the event's.
        """
        self._clear_text()
        if asked is not None:
            self._say("user", asked, turn, seq)

    def said(self, text: str) -> None:
        """The agent goes on."""
        room = MAX_TURN_TEXT_CHARACTERS - self.text_length
        if room > 0:
            self.text.write(text[:room])
        self.text_length += len(text)

    def cost(self, figures: Mapping[str, Any]) -> None:
        """What the running turn has cost so far; a field that is not told stays as it was."""
        for name in USAGE_FIELDS:
            value = figures.get(name)
            if isinstance(value, int | float):
                self.usage_of_turn[name] = value

    def turn_ended(self, turn: int, seq: int) -> None:
        """The running turn is over: what was said in it is an entry, what it cost in the totals.

        Args:
            turn, seq: the turn's number, and the event's.
        """
        if self.text_length:
            self._say("assistant", self.running_text, turn, seq)
        self._clear_text()
        self.usage_before = self.usage
        self.usage_of_turn = {}

    @property
    def running_text(self) -> str:
        """What the agent said in the running turn, cut at `MAX_TURN_TEXT_CHARACTERS`."""
        missing = self.text_length - MAX_TURN_TEXT_CHARACTERS
        text = self.text.getvalue()
        if missing > 0:
            return f"{text}\n[cut here: {missing} more characters are in the journal]"
        return text

    @property
    def usage(self) -> dict[str, float]:
        """Totals over all turns, of the fields of `Usage` that were ever told."""
        names = self.usage_before.keys() | self.usage_of_turn.keys()
        return {
            name: self.usage_before.get(name, 0) + self.usage_of_turn.get(name, 0)
            for name in USAGE_FIELDS
            if name in names
        }

    def history(self, since: int, limit: int) -> list[HistoryEntry]:
        """The first `limit` entries after `since`, as far as they are kept."""
        found: list[HistoryEntry] = []
        for entry in self.entries:
            if entry.seq > since:
                if len(found) >= limit:
                    break
                found.append(entry)
        return found

    def _clear_text(self) -> None:
        if self.text_length:
            self.text = StringIO()
            self.text_length = 0

    def _say(self, role: Literal["user", "assistant"], text: str, turn: int, seq: int) -> None:
        self.entries.append(HistoryEntry(role=role, text=text, turn=turn, seq=seq))
        self.entries_length += len(text)
        while len(self.entries) > MAX_HISTORY_ENTRIES or (
            self.entries_length > MAX_HISTORY_CHARACTERS and len(self.entries) > 1
        ):
            self.entries_length -= len(self.entries.popleft().text)
