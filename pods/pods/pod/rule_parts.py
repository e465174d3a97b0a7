"""What the rules of turns share: the state they decide by, and the pieces of their decisions.

Owns no rule. Pure. The families of rules (`message_rules`, `turn_rules`, `end_rules`) build on it,
and `turns` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from pods.agents.text import shorten
from pods.journal.children import describe
from pods.journal.ending import Item
from pods.journal.fold import PodFold
from pods.pod.limit_rules import no_turn_left
from pods.pod.moves import MachineState
from pods.pod.stimuli import (
    CancelTurn,
    Command,
    Decision,
    Finished,
    StartTurn,
)
from pods_protocol.bounds import MAX_MESSAGE_ID_LENGTH, MAX_QUEUE_LENGTH
from pods_protocol.errors import (
    InvalidParams,
)
from pods_protocol.values import OpenQuestion

MAX_WAKING_WORDS_BYTES: Final = 64 * 1024
"""Of the message that tells a parent what became of its children; all of it is in the events."""

_OF_FOLD: Final[Mapping[str, MachineState]] = {
    "idle": "idle",
    "working": "working",
    "waiting": "waiting",
    "paused": "paused",
    "stopping": "stopping",
    "stopped": "ended",
    "failed": "ended",
    "lost": "ended",
}


class IllegalMove(RuntimeError):
    """A stimulus that the state does not allow: a bug of the caller."""


class RuleParts:
    """The state that all rules decide by; `TurnMachine` has the words for the arguments."""

    def __init__(
        self,
        fold: PodFold,
        *,
        new_id: Callable[[], str],
        max_queue_length: int = MAX_QUEUE_LENGTH,
        can_hold: bool = False,
        max_turns: int | None = None,
    ) -> None:
        self._fold = fold
        self._new_id = new_id
        self._max_queue_length = max_queue_length
        self._can_hold = can_hold
        self._max_turns = max_turns
        self._opened = False

    @property
    def state(self) -> MachineState:
        """Where the machine stands."""
        if not self._opened:
            return "closed"
        return _OF_FOLD[self._fold.state]

    def _end_of_turn(self, finished: Finished) -> list[Item]:
        turn = finished.turn
        events = [
            answer_event(one.question_id, None, "cancelled", turn) for one in self._fold.questions
        ]
        data: dict[str, Any] = {"stop_reason": finished.stop_reason}
        if finished.limit is not None:
            data["limit"] = finished.limit
        if finished.message:
            data["message"] = finished.message
        if finished.exit_status is not None:
            data["exit_status"] = finished.exit_status
        if finished.seconds is not None:
            data["seconds"] = finished.seconds
        return [*events, ("turn_ended", data, turn)]

    def _start_next(
        self, events: list[Item], *, lost: bool = False, restarted: str = ""
    ) -> tuple[Command, ...]:
        """Add the start of the next turn to the events, if a message or a child's event is due.

        Args:
            events: what is being decided; changed.
            lost: the events end a turn as lost: what it was told of its children waits again.
            restarted: what the events say of a restart, where they do.
        """
        queue, told = self._fold.queue, self._fold.inbox.pending(lost=lost)
        if not queue:
            wakes = any(one.get("wake") for one in told)
            return self._wake(events, told, restarted) if wakes else ()
        first, turn = queue[0], self._fold.turns + 1
        events.append(("turn_started", {"message_id": first.message_id}, turn))
        return (self._start_command(turn, first.message_id, first.input, told, restarted),)

    def _start_command(
        self,
        turn: int,
        message_id: str,
        text: str,
        told: tuple[Mapping[str, Any], ...],
        restarted: str = "",
    ) -> StartTurn:
        notes = (*self._waiting_notes(restarted), *map(describe, told))
        return StartTurn(turn, message_id, text, notes, told)

    def _wake(
        self, events: list[Item], told: tuple[Mapping[str, Any], ...], restarted: str = ""
    ) -> tuple[Command, ...]:
        """Add a turn to the events whose message is what became of the children.

        A pod without a turn left is not woken: its journal has them, for whoever reads it.
        """
        if no_turn_left(self._fold, self._max_turns) is not None:
            return ()
        turn, message_id = self._fold.turns + 1, self._new_id()
        text = shorten("\n".join(map(describe, told)), MAX_WAKING_WORDS_BYTES)
        accepted = {
            "message_id": message_id, "input": text, "state": "started", "turn": turn,
            "if_busy": "queue", "notify": True,
        }  # fmt: skip
        events.append(("message_accepted", accepted, turn))
        events.append(("turn_started", {"message_id": message_id}, turn))
        return (StartTurn(turn, message_id, text, self._waiting_notes(restarted), told),)

    def _cancel_running(
        self, reason: Literal["cancel", "interrupt", "shutdown"]
    ) -> tuple[Command, ...]:
        return (CancelTurn(self._running(), reason),)

    def _waiting_notes(self, restarted: str = "") -> tuple[str, ...]:
        """What the agent is told besides the message; first of all of a restart."""
        notes = tuple(note.message for note in self._fold.notes)
        again = restarted or self._fold.restart_note
        return (again, *notes) if again else notes

    def _open_question(self, question_id: str) -> OpenQuestion | None:
        return next((one for one in self._fold.questions if one.question_id == question_id), None)

    def _running(self) -> int:
        turn = self._fold.turn
        if turn is None:
            raise IllegalMove("no turn runs")
        return turn

    def _check_turn(self, turn: int) -> None:
        if turn != self._fold.turn:
            raise IllegalMove(f"turn {turn} is not the running one, {self._fold.turn}")

    def _known(self, message_id: str | None) -> Decision | None:
        """The same answer as before to a message that was accepted before."""
        if message_id is None:
            return None
        if not 0 < len(message_id) <= MAX_MESSAGE_ID_LENGTH:
            return Decision(
                reply=InvalidParams(
                    f"cannot use a message id of {len(message_id)} characters: it has 1 to "
                    f"{MAX_MESSAGE_ID_LENGTH}; choose another, or leave it out",
                    path="message_id",
                )
            )
        result = self._fold.message(message_id)
        return None if result is None else Decision(reply=result)


def answer_event(question_id: str, answer: str | None, by: str, turn: int) -> Item:
    """What is journaled when a question of the turn is closed; None is without an answer."""
    return ("answer", {"question_id": question_id, "answer": answer, "by": by}, turn)
