"""What a pod is told of its children, from the child's journal to the parent's.

Owns which events of a child concern its parent (`TOLD_KINDS`), what of them is carried
(`Teller`), which of them wake (`wakes`), and what a parent has been told so far (`Inbox`, a part
of its fold). Pure. The child's journal is the outbox and the parent's holds the cursor, so there is
nothing else to keep, to lose or to repeat. Used by the pod's fold and by the supervisor's `relay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import orjson
from attrs import define, field, frozen

from pods_protocol.events import ASSISTANT_TEXT_KINDS, Event
from pods_protocol.values import WakeOn

TOLD_KINDS: Final = frozenset({"turn_ended", "question", "restarted", "stopped"})
"""The kinds of a child's events that its parent is told of. `gap` comes too, where one is due."""

READ_KINDS: Final = TOLD_KINDS | ASSISTANT_TEXT_KINDS
"""What has to be read of a child's journal to tell of it."""

MAX_TEXT_CHARACTERS: Final = 4096
"""Of what a child said, its end: a result and not a transcript. The rest is one read away."""

MAX_DATA_BYTES: Final = 32 * 1024
"""Of a child's own event, as JSON: above any question with all its options. What is larger was
written by somebody else than `pods`, and is shown by its beginning."""

MAX_WAITING_CHILD_EVENTS: Final = 32
"""Told to the agent with its next turn; of more, the oldest are counted and left to the journal. A
parent that has no turn for long, or never, must not fill its memory."""

MAX_CHILD_CURSORS: Final = 10_000
"""Children that a parent knows its place in: more than anybody spawns, and about a megabyte."""


@frozen(kw_only=True)
class Told:
    """One event of a child, as its parent gets it.

    Attributes:
        seq, type, turn, data: as in the child's journal, `data` within `MAX_DATA_BYTES`.
        since: the cursor before it: `read` the child from here for all that this stands for.
        text: the end of what the child said since then.
        omitted: characters that it said before that.
    """

    seq: int
    type: str
    turn: int | None
    data: dict[str, Any]
    since: int
    text: str
    omitted: int


class Teller:
    """Turns a child's events after a cursor into what its parent is told.

    Deterministic in the cursor: told again from the same place, the same comes out.

    Args:
        since: the seq of the last event that the parent has been told of; 0 for none.
    """

    def __init__(self, since: int) -> None:
        self._since = since
        self._text = ""
        self._said = 0

    def take(self, event: Event) -> Told | None:
        """What this event gives to tell, if anything; events come in order."""
        if event.type in ASSISTANT_TEXT_KINDS:
            text = event.data.get("text")
            if isinstance(text, str):
                self._said += len(text)
                self._text = (self._text + text)[-MAX_TEXT_CHARACTERS:]
            return None
        if event.type not in TOLD_KINDS and event.type != "gap":
            return None
        told = Told(
            seq=event.seq,
            type=event.type,
            turn=event.turn,
            data=_bounded(event.data),
            since=self._since,
            text=self._text,
            omitted=self._said - len(self._text),
        )
        self._since, self._text, self._said = event.seq, "", 0
        return told


def _bounded(data: dict[str, Any]) -> dict[str, Any]:
    encoded = orjson.dumps(data)
    if len(encoded) <= MAX_DATA_BYTES:
        return data
    beginning = encoded[: MAX_DATA_BYTES // 8].decode("utf-8", "ignore")
    return {"cut": beginning, "size_bytes": len(encoded)}


def wakes(wake_on: WakeOn, told: Told) -> bool:
    """Whether an idle parent is to get a turn for this.

    A `lost` turn alone does not wake: `stopped` or `restarted` follows it and does.
    """
    if wake_on == "none":
        return False
    if told.type == "question":
        return wake_on == "question"
    if told.type == "turn_ended":
        return told.data.get("stop_reason") != "lost"
    return told.type in ("stopped", "restarted")


@define
class Inbox:
    """What a pod has been told of its children: a fold over its own `child_event`s and turns.

    A part of `PodFold`, whose snapshots write these fields as they are.

    Attributes:
        cursors: child's id -> seq of the newest of its events that was told.
        waiting: the data of the events for the next turn, the oldest first.
        in_turn: of those that the running turn was told.
    """

    cursors: dict[str, int] = field(factory=dict[str, int])
    waiting: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    in_turn: list[dict[str, Any]] = field(factory=list[dict[str, Any]])

    def child_event(self, event: Event) -> None:
        """Take a `child_event`: it waits for the next turn."""
        data = event.data
        child, seq = data.get("id"), data.get("seq")
        if not isinstance(child, str) or not isinstance(seq, int):
            return
        # At the end again, so that the one that is forgotten is the one not heard of for longest.
        self.cursors[child] = max(seq, self.cursors.pop(child, 0))
        if len(self.cursors) > MAX_CHILD_CURSORS:
            del self.cursors[next(iter(self.cursors))]
        self.waiting = [*self.waiting, data][-MAX_WAITING_CHILD_EVENTS:]

    def turn_started(self) -> None:
        """The agent is told all that waits."""
        self.in_turn, self.waiting = self.waiting, []

    def turn_ended(self, *, lost: bool) -> None:
        """What a lost turn was told waits again: its process took the knowledge with it."""
        self.waiting = list(self.pending(lost=lost))
        self.in_turn = []

    def pending(self, *, lost: bool = False) -> tuple[dict[str, Any], ...]:
        """What the next turn is told, the oldest first.

        Args:
            lost: as if the running turn were lost. What that one was told does not wake again: it
                may be what the process died of.
        """
        if not lost:
            return tuple(self.waiting)
        again = ({**one, "wake": False} for one in self.in_turn)
        return (*again, *self.waiting)[-MAX_WAITING_CHILD_EVENTS:]


def describe(told: Mapping[str, Any]) -> str:
    """A `child_event`'s data in words, for an agent that reads; several lines where it spoke."""
    child = told.get("pod", "?")
    lines = [f"child pod {child}: {_what_happened(told)}"]
    omitted, text = told.get("omitted"), told.get("text")
    if omitted:
        lines.append(
            f"[{omitted} characters before this; read pod {child} since {told.get('since', 0)}]"
        )
    if isinstance(text, str) and text:
        lines.append(text.rstrip("\n"))
    return "\n".join(lines)


def _undelivered(data: Mapping[str, Any]) -> str:
    given, omitted = data.get("undelivered"), data.get("undelivered_omitted")
    if not isinstance(given, list) or not given:
        return ""
    ids = [str(one) for one in cast("list[object]", given)]
    more = f" and {omitted} more" if omitted else ""
    return f"; messages that it never took up: {', '.join(ids)}{more}"


def _what_happened(told: Mapping[str, Any]) -> str:
    given = told.get("data")
    data: Mapping[str, Any] = cast("Mapping[str, Any]", given) if isinstance(given, dict) else {}
    message = data.get("message")
    why = f": {message}" if message else ""
    match told.get("type"):
        case "turn_ended":
            return f"turn {told.get('turn')} ended ({data.get('stop_reason')}{why})"
        case "question":
            offered = data.get("options")
            options = cast("list[object]", offered) if isinstance(offered, list) else []
            among = f" [{' / '.join(map(str, options))}]" if options else ""
            return f"asks {data.get('question_id')}: {data.get('prompt')}{among}"
        case "stopped":
            return f"has ended ({data.get('reason')}{why}){_undelivered(data)}"
        case "restarted":
            return f"runs again, after it was {data.get('reason')}"
        case "gap":
            return f"events {data.get('first')} to {data.get('last')} are no longer kept"
        case kind:
            return str(kind)
