"""The rules of a turn that runs: cancel and hold, its end, what it asks, news of children.

Pure. `moves` says which rule decides in which state, `turns` looks it up.
"""

from __future__ import annotations

from typing import Final

from pods.journal.ending import Item
from pods.pod.limit_rules import last_event
from pods.pod.rule_parts import RuleParts, answer_event
from pods.pod.stimuli import (
    Answered,
    Asked,
    Cancel,
    ChildTold,
    Command,
    Decision,
    EndPod,
    Finished,
    GiveAnswer,
    Hold,
    HoldTurn,
    QuestionClosed,
    Shutdown,
)
from pods_protocol.errors import (
    Busy,
    InvalidParams,
    NotSupported,
    PodEnded,
    PodsError,
    UnknownQuestion,
)
from pods_protocol.values import OpenQuestion

MAX_OPEN_QUESTIONS: Final = 8
"""Questions of one turn that are open at once; they travel in every `status`."""


class TurnRules(RuleParts):
    """What follows from `Cancel`, `Hold`, `Finished`, `ChildTold` and the stimuli of questions."""

    def _nothing_runs(self, _: Cancel | Shutdown) -> Decision:
        """There is no turn to cancel. Replies None."""
        return Decision()

    def _cancel(self, _: Cancel) -> Decision:
        """Cancel the running turn. Replies its number."""
        return Decision(reply=self._fold.turn, commands=self._cancel_running("cancel"))

    def _cancel_held(self, cancel: Cancel) -> Decision:
        """Cancel the turn that is held, if there is one; the pod stays paused."""
        return self._nothing_runs(cancel) if self._fold.turn is None else self._cancel(cancel)

    def _hold(self, hold: Hold) -> Decision:
        """Hold the pod or let it go on; what is so already stays so."""
        paused = self.state == "paused"
        if hold.feature == "pause":
            if paused:
                return Decision()
            if not hold.whole and not self._can_hold:
                return Decision(reply=_cannot_pause())
            return Decision((_PAUSED,), durable=True, commands=(HoldTurn(True),))
        if not paused:
            return Decision()
        running = self._fold.turn is not None
        events: list[Item] = [("status", {"state": "working" if running else "idle"}, None)]
        commands: tuple[Command, ...] = (HoldTurn(False),)
        if not running:
            commands += self._start_next(events)
        return Decision(tuple(events), durable=True, commands=commands)

    def _cannot_hold(self, hold: Hold) -> Decision:
        state = self._fold.state
        return Decision(
            reply=PodEnded(f"cannot {hold.feature} the pod: it is {state}", state=state)
        )

    def _held_turn(self, finished: Finished) -> Decision:
        """Write the end of a turn that would not be held; the next one waits."""
        self._check_turn(finished.turn)
        return Decision(tuple(self._end_of_turn(finished)), durable=True)

    def _next_turn(self, finished: Finished) -> Decision:
        """Write the turn's one end and start what waits."""
        self._check_turn(finished.turn)
        events = self._end_of_turn(finished)
        commands = self._start_next(events)
        return Decision(tuple(events), durable=True, commands=commands)

    def _last_turn(self, finished: Finished) -> Decision:
        """Write the turn's one end and the pod's."""
        self._check_turn(finished.turn)
        events = [*self._end_of_turn(finished), last_event(self._fold)]
        return Decision(tuple(events), durable=True, commands=(EndPod(),))

    # Children ----------------------------------------------------------------------------------

    def _hear(self, told: ChildTold) -> Decision:
        """Keep an event of a child for the next turn, which it may start. Replies the cursor.

        One that wakes does so also after the turn that runs now: a completion that came in its
        last moment must not wait for a message that may never come.
        """
        fold = self._fold
        cursor = fold.inbox.cursors.get(told.child, 0)
        if told.seq <= cursor:
            return Decision(reply=cursor)
        events: list[Item] = [("child_event", told.data, fold.turn)]
        commands: tuple[Command, ...] = ()
        if told.wake and self.state == "idle":
            commands = self._wake(events, (*fold.inbox.pending(), told.data))
        return Decision(tuple(events), durable=True, reply=told.seq, commands=commands)

    def _not_heard(self, told: ChildTold) -> Decision:
        """The pod has said its last word: whoever is above it is told instead."""
        cursor = self._fold.inbox.cursors.get(told.child, 0)
        return Decision(
            reply=cursor
            if told.seq <= cursor
            else PodEnded(
                f"cannot tell the pod of its child: it is {self._fold.state}; tell its own parent",
                state=self._fold.state,
            )
        )

    # Questions ---------------------------------------------------------------------------------

    def _ask(self, asked: Asked) -> Decision:
        """Put a question. Replies its id, which is the seq of its event."""
        self._check_turn(asked.turn)
        open_now = len(self._fold.questions)
        if open_now >= MAX_OPEN_QUESTIONS:
            return Decision(
                reply=Busy(
                    f"cannot ask: {open_now} questions of this turn are open; wait for an answer",
                    limit_name="open_questions",
                    limit=MAX_OPEN_QUESTIONS,
                )
            )
        question_id = f"q{self._fold.last_seq + 1}"
        question = {
            "question_id": question_id, "prompt": asked.prompt, "options": list(asked.options),
            "default": asked.default, "deadline": asked.deadline,
        }  # fmt: skip
        return Decision((("question", question, asked.turn),), durable=True, reply=question_id)

    def _answer(self, answered: Answered) -> Decision:
        """Give the agent its answer."""
        question = self._open_question(answered.question_id)
        if question is None:
            return Decision(
                reply=UnknownQuestion(
                    f"cannot answer question {answered.question_id!r}: it is not open; `status` "
                    "lists those that are",
                    question_id=answered.question_id,
                    open=[one.question_id for one in self._fold.questions],
                )
            )
        if question.options and answered.answer not in question.options:
            return Decision(
                reply=InvalidParams(
                    f"cannot answer {answered.answer!r}: the question takes one of "
                    f"{', '.join(map(repr, question.options))}; answer with one of them",
                    path="answer",
                    options=list(question.options),
                )
            )
        return self._settle(question, answered.answer, "client")

    def _close_question(self, closed: QuestionClosed) -> Decision:
        """End a question that nobody answered; one that is closed already stays as it is."""
        question = self._open_question(closed.question_id)
        if question is None:
            return Decision()
        if closed.by == "default" and question.default is not None:
            return self._settle(question, question.default, "default")
        return self._settle(question, None, "cancelled")

    def _settle(self, question: OpenQuestion, answer: str | None, by: str) -> Decision:
        return Decision(
            (answer_event(question.question_id, answer, by, self._running()),),
            durable=True,
            commands=(GiveAnswer(question.question_id, answer),),
        )


def _cannot_pause() -> PodsError:
    return NotSupported(
        "cannot pause the turn: this pod's agent cannot hold it; ask the supervisor, which stops "
        "the pod's whole process tree (`pods pause`)",
        feature="pause",
    )


_PAUSED: Final[Item] = ("status", {"state": "paused"}, None)
