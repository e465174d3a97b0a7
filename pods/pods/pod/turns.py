"""The rules of turns: what a pod does about everything that can happen to it.

Finds the rule of each move of the table in `moves`: those of a process that takes a journal over
are here, the others in `message_rules`, `turn_rules` and `end_rules`. Pure, and without a memory of
its own: the state is the fold over the journal, so that a decision whose events could not be
written never was, and a pod that died goes on where its journal ends. `server` calls `decide`,
writes the events, answers, and performs the commands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pods.journal.ending import Item
from pods.journal.fold import PodFold, restart_note
from pods.pod.end_rules import EndRules
from pods.pod.message_rules import MessageRules
from pods.pod.moves import MOVES, MachineState
from pods.pod.rule_parts import IllegalMove
from pods.pod.stimuli import (
    Decision,
    Finished,
    Opened,
    Stimulus,
)
from pods.pod.turn_rules import TurnRules
from pods_protocol.bounds import MAX_QUEUE_LENGTH


class TurnMachine(MessageRules, TurnRules, EndRules):
    """Decides what follows from each stimulus.

    Args:
        fold: the state; somebody else applies the events of each decision to it.
        new_id: makes the id of a message that came without one.
        max_queue_length: messages that may wait.
        can_hold: the agent holds its turn when it is told to.
        max_turns: of the pod's whole life; None is any number.
    """

    def __init__(
        self,
        fold: PodFold,
        *,
        new_id: Callable[[], str],
        max_queue_length: int = MAX_QUEUE_LENGTH,
        can_hold: bool = False,
        max_turns: int | None = None,
    ) -> None:
        super().__init__(
            fold,
            new_id=new_id,
            max_queue_length=max_queue_length,
            can_hold=can_hold,
            max_turns=max_turns,
        )
        self._rules: dict[MachineState, dict[type, Callable[[Any], Decision]]] = {
            state: {kind: getattr(self, f"_{move.rule}") for kind, move in moves.items()}
            for state, moves in MOVES.items()
        }

    def opened(self) -> None:
        """Note that the events of the decision about `Opened` are written."""
        self._opened = True

    def decide(self, stimulus: Stimulus) -> Decision:
        """What follows from the stimulus now. Changes nothing.

        Raises:
            IllegalMove: the state has no such move.
        """
        state = self.state
        rule = self._rules[state].get(type(stimulus))
        if rule is None:
            raise IllegalMove(f"{type(stimulus).__name__} while {state}")
        return rule(stimulus)

    def _take_over(self, opened: Opened) -> Decision:
        """End what an earlier process left, say who goes on, run what waits."""
        fold, revival = self._fold, opened.revival
        events: list[Item] = []
        if fold.turn is not None:
            why = "its process ended in the middle of this turn"
            if revival is not None:
                why = revival.reason
            events += self._end_of_turn(Finished(fold.turn, "lost", f"the pod ended: {why}"))
        note = ""
        if fold.last_seq:
            restarted: dict[str, Any] = {"reason": fold.ended or "lost"}
            if revival is not None:
                restarted["message"] = revival.reason
                if revival.attempt is not None:
                    restarted["attempt"] = revival.attempt
                note = restart_note(revival.reason, revival.attempt)
            events.append(("restarted", restarted, None))
        status = {"state": "idle", "agent": opened.agent, "name": opened.name, "pid": opened.pid}
        events.append(("status", status, None))
        commands = self._start_next(events, lost=fold.turn is not None, restarted=note)
        return Decision(tuple(events), durable=len(events) > 1, commands=commands)
