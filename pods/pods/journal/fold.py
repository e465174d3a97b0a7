"""What a pod is, as it follows from its events alone.

Owns the meaning of the kinds: state, questions, queue, history and all the rest are a fold over the
journal, so that they survive whatever dies. Three parts of it are their own: the messages
(`Mailbox`), what was said and what it cost (`Conversation`), what is known of children (`Inbox`).
Pure: no files, no clock, no loop. The pod keeps one full fold (`Journal.fold`); a supervisor keeps
one per pod, fed with `STATE_KINDS` only. Data that is missing a field never breaks it: a newer
version wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, cast

from pods.journal.children import TOLD_KINDS, Inbox
from pods.journal.conversation import MAX_HISTORY_ENTRIES, Conversation
from pods.journal.events import word_of
from pods.journal.mailbox import MAX_UNDELIVERED, Mailbox, Note
from pods_protocol.events import ASSISTANT_TEXT_KINDS, Event
from pods_protocol.pod_messages import HistoryEntry, RunResult
from pods_protocol.values import (
    ENDED_STATES,
    LimitName,
    OpenQuestion,
    PodState,
    PodStatus,
    QueuedMessage,
    StopReason,
    TurnSummary,
    UndeliveredMessage,
)

STATE_KINDS: Final = frozenset(
    {
        "answer",
        "child_event",
        "message_accepted",
        "message_withdrawn",
        "question",
        "restarted",
        "status",
        "stopped",
        "turn_ended",
        "turn_started",
    }
)
"""The kinds that `status()` depends on, all but `last_seq`, which the feeder then sets itself."""

_STOP_REASONS: Final = frozenset(StopReason.__args__)  # type: ignore[attr-defined]  # typing has no public form for it
_LIMIT_NAMES: Final = frozenset(LimitName.__args__)  # type: ignore[attr-defined]  # as above


class PodFold:
    """The state after the events applied so far.

    Attributes:
        last_seq: seq of the newest event applied (or as the feeder set it).
        last_time: when that was written; 0.0 before the first.
        turn: the running turn, or None.
        turn_started: when it began.
        turns: the highest turn number so far; the next turn is one more.
        last_turn: the newest turn that ended.
        ended: `stopped`, `failed` or `lost` once the pod has ended, else None.
        limit: which of its limits ends the pod, or has; None for none.
        end_message: why it ended, where its journal says so.
        inbox: what it has been told of its children.
        last_told: seq of the newest event that its own parent is to be told of; 0 for none.
        restart_note: what the agent is told of a restart with its next turn; empty for nothing.
    """

    MEANING: ClassVar[int] = 2
    DERIVED: ClassVar[frozenset[str]] = frozenset({"_appliers"})
    FORMERLY: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "_mailbox": {
            "queue": "_queue",
            "notes": "_notes",
            "undelivered": "_undelivered",
            "remembered": "_remembered",
        },
        "_conversation": {
            "text": "_text",
            "text_length": "_text_length",
            "entries": "_history",
            "entries_length": "_history_characters",
            "usage_before": "_usage_before",
            "usage_of_turn": "_usage_of_turn",
        },
    }

    # All that is remembered, with its type: snapshots are made and read by these lines.
    last_seq: int
    last_time: float
    turn: int | None
    turn_started: float | None
    turns: int
    last_turn: TurnSummary | None
    ended: PodState | None
    limit: LimitName | None
    end_message: str
    inbox: Inbox
    last_told: int
    restart_note: str
    _phase: str
    _paused: bool
    _mailbox: Mailbox
    _given_up: list[str]
    _questions: dict[str, OpenQuestion]
    _conversation: Conversation

    def __init__(self) -> None:
        self.last_seq = 0
        self.last_time = 0.0
        self.turn = None
        self.turn_started = None
        self.turns = 0
        self.last_turn = None
        self.ended = None
        self.limit = None
        self.end_message = ""
        self.inbox = Inbox()
        self.last_told = 0
        self.restart_note = ""
        self._phase = "starting"
        self._paused = False
        self._mailbox = Mailbox()
        self._given_up = []
        self._questions = {}
        self._conversation = Conversation()
        # Never bound to a part of this fold: a snapshot puts another in its place.
        self._appliers: dict[str, Callable[[Event], None]] = {
            "message_accepted": self._message_accepted,
            "message_withdrawn": self._message_withdrawn,
            "turn_started": self._turn_started,
            "turn_ended": self._turn_ended,
            "question": self._question,
            "answer": self._answer,
            "usage": self._usage,
            "status": self._status,
            "restarted": self._restarted,
            "stopped": self._stopped,
            "child_event": self._child_event,
            **dict.fromkeys(ASSISTANT_TEXT_KINDS, self._assistant_text),
        }

    # Applying ------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take one event into account; an unknown kind only moves `last_seq`."""
        self.last_seq = event.seq
        self.last_time = event.time
        applier = self._appliers.get(event.type)
        if applier is not None:
            applier(event)
            if event.type in TOLD_KINDS:
                self.last_told = event.seq

    def apply_many(self, events: Iterable[Event]) -> None:
        """Take events into account, in order."""
        for event in events:
            self.apply(event)

    def _message_accepted(self, event: Event) -> None:
        self._mailbox.accepted(event)

    def _message_withdrawn(self, event: Event) -> None:
        self._mailbox.withdrawn(event)
        if event.data.get("reason") == "undelivered":
            self._given_up = [*self._given_up, word_of(event.data, "message_id")][-MAX_UNDELIVERED:]

    def _turn_started(self, event: Event) -> None:
        asked = self._mailbox.turn_started(word_of(event.data, "message_id"))
        self.turn = self.turns + 1 if event.turn is None else event.turn
        self.turns = max(self.turns, self.turn)
        self.turn_started = event.time
        self._paused = False
        self.inbox.turn_started()
        self.restart_note = ""
        self._conversation.turn_started(asked, self.turn, event.seq)

    def _turn_ended(self, event: Event) -> None:
        data = event.data
        reason, status = data.get("stop_reason"), data.get("exit_status")
        number = self.turn if self.turn is not None else event.turn
        self.last_turn = TurnSummary(
            turn=self.turns if number is None else number,
            # A reason that a newer version invented is not known to be a success.
            stop_reason=cast("StopReason", reason) if reason in _STOP_REASONS else "error",
            message=word_of(data, "message"),
            exit_status=status if isinstance(status, int) else None,
            limit=_limit(data),
        )
        self._conversation.turn_ended(self.turn or 0, event.seq)
        self.inbox.turn_ended(lost=reason == "lost")
        self.turn = self.turn_started = None
        self._questions.clear()

    def _assistant_text(self, event: Event) -> None:
        self._conversation.said(word_of(event.data, "text"))

    def _question(self, event: Event) -> None:
        data = event.data
        options, default = data.get("options"), data.get("default")
        deadline = data.get("deadline")
        question_id = word_of(data, "question_id")
        self._questions[question_id] = OpenQuestion(
            question_id=question_id,
            prompt=word_of(data, "prompt"),
            options=tuple(cast("Iterable[str]", options))
            if isinstance(options, list | tuple)
            else (),
            default=default if isinstance(default, str) else None,
            deadline=float(deadline) if isinstance(deadline, int | float) else None,
        )

    def _answer(self, event: Event) -> None:
        self._questions.pop(word_of(event.data, "question_id"), None)

    def _usage(self, event: Event) -> None:
        self._conversation.cost(event.data)

    def _status(self, event: Event) -> None:
        state = event.data.get("state")
        if state == "starting":
            self._begin_again()
        elif state == "paused":
            self._paused = True
        elif state in ("idle", "stopping"):
            self._phase = state
            self._paused = False
            if state == "stopping":
                self._note_end(event)
        elif state in ("working", "waiting"):
            self._paused = False

    def _restarted(self, event: Event) -> None:
        self._begin_again()
        message, attempt = word_of(event.data, "message"), event.data.get("attempt")
        if message:
            self.restart_note = restart_note(message, attempt if isinstance(attempt, int) else None)

    def _begin_again(self) -> None:
        """A new process: what the old one asked, and that it ended, is over.

        Its turn is not: whoever opens the journal must end it.
        """
        self._phase = "starting"
        self.ended = None
        self.limit = None
        self.end_message = ""
        self._paused = False
        self._questions.clear()
        self._given_up.clear()

    def _stopped(self, event: Event) -> None:
        reason = event.data.get("reason")
        self.ended = cast("PodState", reason) if reason in ENDED_STATES else "failed"
        self._note_end(event)
        self._questions.clear()

    def _note_end(self, event: Event) -> None:
        self.limit = _limit(event.data)
        self.end_message = word_of(event.data, "message")

    def _child_event(self, event: Event) -> None:
        self.inbox.child_event(event)

    # What follows --------------------------------------------------------------------------------

    @property
    def state(self) -> PodState:
        """The pod's state; one that has not said `status: idle` yet is `starting`."""
        if self.ended is not None:
            return self.ended
        if self._phase == "stopping":
            return "stopping"
        if self.turn is None:
            return "paused" if self._paused else "idle" if self._phase == "idle" else "starting"
        if self._paused:
            return "paused"
        return "waiting" if self._questions else "working"

    @property
    def queue(self) -> tuple[QueuedMessage, ...]:
        """The messages that wait, the next to run first."""
        return self._mailbox.queued()

    @property
    def queue_length(self) -> int:
        """How many wait, without making `queue`."""
        return len(self._mailbox.queue)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the agent is to be told with its next turn; `turn_started` takes them all."""
        return tuple(self._mailbox.notes)

    @property
    def undelivered(self) -> tuple[UndeliveredMessage, ...]:
        """What the agent never got because the pod ended first; the newest of them."""
        return tuple(self._mailbox.undelivered)

    @property
    def given_up(self) -> tuple[str, ...]:
        """Message ids of what this life of the pod has not delivered and will not."""
        return tuple(self._given_up)

    @property
    def questions(self) -> tuple[OpenQuestion, ...]:
        """The open questions, the oldest first."""
        return tuple(self._questions.values())

    @property
    def unfinished_turn(self) -> int | None:
        """The turn without an end.

        At opening a journal, it is one that its process did not survive: the opener owes it a
        `turn_ended{lost}`.
        """
        return self.turn

    @property
    def running_text(self) -> str:
        """What the agent said in the running turn, cut at `MAX_TURN_TEXT_CHARACTERS`."""
        return self._conversation.running_text

    @property
    def usage(self) -> dict[str, float]:
        """Totals over all turns, of the fields of `Usage` that were ever told."""
        return self._conversation.usage

    def status(self) -> PodStatus:
        """What the pod says of itself."""
        return PodStatus(
            state=self.state,
            turn=self.turn,
            turn_started=self.turn_started,
            queue=self.queue,
            questions=self.questions,
            last_seq=self.last_seq,
            last_turn=self.last_turn,
        )

    def message(self, message_id: str) -> RunResult | None:
        """The answer that was given when this message was accepted; None where it is not known.

        For a note it is `queued` without a position.
        """
        return self._mailbox.remembered.get(message_id)

    def history(self, since: int = 0, limit: int = MAX_HISTORY_ENTRIES) -> list[HistoryEntry]:
        """The conversation after `since`, as far as it is kept in memory.

        A message has the seq of its `turn_started`, an answer that of its `turn_ended`: an answer
        is listed once it is whole, so a cursor never skips the rest of it.
        """
        return self._conversation.history(since, limit)


def restart_note(reason: str, attempt: int | None) -> str:
    """What an agent is told with the first turn after its pod was started again."""
    again = "restored" if attempt is None else f"restarted (attempt {attempt})"
    return f"this pod was {again}: {reason}; what ran then is gone, the journal is there"


def _limit(data: Mapping[str, Any]) -> LimitName | None:
    name = data.get("limit")
    return cast("LimitName", name) if name in _LIMIT_NAMES else None
