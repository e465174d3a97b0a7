"""The messages of a pod and the fate of each: a part of what its events say.

Owns what waits for a turn, what the agent is told with its next one, what it never got, and the
memory of message ids, each within its bound. Pure. Must not know turns, states or what is said:
`PodFold`, of which it is a part, says which events are its own, and its snapshots write these
fields as they are.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from attrs import define, field

from pods.journal.events import word_of
from pods_protocol.events import Event
from pods_protocol.pod_messages import RunResult
from pods_protocol.values import QueuedMessage, UndeliveredMessage

MAX_REMEMBERED_MESSAGES: Final = 10_000
"""Message ids that are known to have been accepted: far more than a client can have in doubt after
a broken connection, and about two megabytes at the worst."""

MAX_UNDELIVERED: Final = 200
"""Messages that are remembered as never delivered: a full queue and all notes, with some room."""

MAX_UNDELIVERED_CHARACTERS: Final = 200
"""Of each of them: enough to know it again. The journal has the whole."""


class Note(NamedTuple):
    """Something the agent is told with its next turn."""

    message_id: str
    message: str
    sender: str = ""
    accepted: float = 0.0


class Waiting(NamedTuple):
    """A message that waits for a turn of its own."""

    message_id: str
    input: str
    sender: str
    accepted: float


@define
class Mailbox:
    """What was accepted and what became of it.

    Attributes:
        queue: what waits, the next to run first.
        notes: what the agent is told with its next turn.
        undelivered: what it never got because the pod ended first; the newest of them.
        remembered: message id -> the answer that was given.
    """

    queue: list[Waiting] = field(factory=list[Waiting])
    notes: list[Note] = field(factory=list[Note])
    undelivered: list[UndeliveredMessage] = field(factory=list[UndeliveredMessage])
    remembered: dict[str, RunResult] = field(factory=dict[str, RunResult])

    def accepted(self, event: Event) -> None:
        """Take a `message_accepted`."""
        data = event.data
        message_id, text = word_of(data, "message_id"), word_of(data, "input")
        started = data.get("state") == "started"
        turn, position = data.get("turn"), data.get("position")
        if data.get("notify") and not started:
            self.notes.append(Note(message_id, text, word_of(data, "sender"), event.time))
        else:
            # Also what is started at once: its turn comes next, in the same write. Where a crash
            # tore that between the two, it waits, first of all, for who goes on.
            waiting = Waiting(message_id, text, word_of(data, "sender"), event.time)
            first = started or data.get("if_busy") == "interrupt"
            self.queue.insert(0 if first else len(self.queue), waiting)
        self._remember(
            RunResult(
                message_id=message_id,
                state="started" if started else "queued",
                turn=(turn if isinstance(turn, int) else event.turn) if started else None,
                position=position if isinstance(position, int) and not started else None,
            )
        )

    def withdrawn(self, event: Event) -> None:
        """Take a `message_withdrawn`."""
        message_id = word_of(event.data, "message_id")
        if event.data.get("reason") == "undelivered":
            waiting: list[Waiting | Note] = [*self.queue, *self.notes]
            given_up = (
                UndeliveredMessage(
                    message_id=message_id,
                    input=_beginning(one.input if isinstance(one, Waiting) else one.message),
                    sender=one.sender,
                    accepted=one.accepted,
                    given_up=event.time,
                )
                for one in waiting
                if one.message_id == message_id
            )
            self.undelivered = [*self.undelivered, *given_up][-MAX_UNDELIVERED:]
        self.queue = [one for one in self.queue if one.message_id != message_id]
        self.notes = [one for one in self.notes if one.message_id != message_id]

    def turn_started(self, message_id: str) -> str | None:
        """A turn takes its message and every note; returns the message, where it is known."""
        text = next((one.input for one in self.queue if one.message_id == message_id), None)
        self.queue = [one for one in self.queue if one.message_id != message_id]
        self.notes.clear()
        return text

    def queued(self) -> tuple[QueuedMessage, ...]:
        """The queue as it is shown, with positions."""
        return tuple(
            QueuedMessage(
                message_id=one.message_id,
                input=one.input,
                position=position,
                sender=one.sender,
                accepted=one.accepted,
            )
            for position, one in enumerate(self.queue, 1)
        )

    def _remember(self, result: RunResult) -> None:
        self.remembered[result.message_id] = result
        while len(self.remembered) > MAX_REMEMBERED_MESSAGES:
            oldest = next(iter(self.remembered))
            forgotten = self.remembered.pop(oldest)
            if any(waiting.message_id == oldest for waiting in self.queue):
                # Its fate is open: a repeat of it must still be known. The queue is bounded.
                self.remembered[oldest] = forgotten


def _beginning(text: str) -> str:
    return (
        text
        if len(text) <= MAX_UNDELIVERED_CHARACTERS
        else text[:MAX_UNDELIVERED_CHARACTERS] + "..."
    )
