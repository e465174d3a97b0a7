"""The rules of turns: what a pod does about everything that can happen to it.

Owns the rule behind each move of the table in `moves`. Pure, and without a memory
of its own: the state is the fold over the journal, so that a decision whose events could not be
written never was, and a pod that died goes on where its journal ends. `server` calls `decide`,
writes the events, answers, and performs the commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from attrs import evolve

from pods.agents.text import shorten
from pods.journal.children import describe
from pods.journal.ending import Item, undelivered, withdrawn
from pods.journal.fold import PodFold, restart_note
from pods.pod.limit_rules import STOPPED, ended_by, last_event, no_turn_left, stopping_by
from pods.pod.moves import MOVES, MachineState
from pods.pod.stimuli import (
    Answered,
    Asked,
    Cancel,
    CancelTurn,
    ChildTold,
    Command,
    Decision,
    EndPod,
    Finished,
    GiveAnswer,
    Hold,
    HoldTurn,
    LimitReached,
    Notify,
    Opened,
    QuestionClosed,
    Run,
    Shutdown,
    StartTurn,
    Stimulus,
    Withdraw,
)
from pods_protocol.bounds import MAX_MESSAGE_ID_LENGTH, MAX_QUEUE_LENGTH
from pods_protocol.errors import (
    AlreadyRunning,
    Busy,
    InvalidParams,
    NotSupported,
    PodEnded,
    PodPaused,
    PodsError,
    QueueFull,
    UnknownMessage,
    UnknownQuestion,
)
from pods_protocol.pod_messages import RunResult
from pods_protocol.values import OpenQuestion

MAX_NOTES: Final = 128
"""Notes that wait for the next turn. One more is refused, so that its sender knows: dropping the
oldest in silence loses what somebody was told is on its way."""

MAX_OPEN_QUESTIONS: Final = 8
"""Questions of one turn that are open at once; they travel in every `status`."""

MAX_SENDER_LENGTH: Final = 100
"""Of what a sender calls itself; it stands beside each message that waits."""

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


class TurnMachine:
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
        self._fold = fold
        self._new_id = new_id
        self._max_queue_length = max_queue_length
        self._can_hold = can_hold
        self._max_turns = max_turns
        self._opened = False
        self._rules: dict[MachineState, dict[type, Callable[[Any], Decision]]] = {
            state: {kind: getattr(self, f"_{move.rule}") for kind, move in moves.items()}
            for state, moves in MOVES.items()
        }

    @property
    def state(self) -> MachineState:
        """Where the machine stands."""
        if not self._opened:
            return "closed"
        return _OF_FOLD[self._fold.state]

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

    # A process takes the journal over ----------------------------------------------------------

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

    # Messages ----------------------------------------------------------------------------------

    def _begin(self, run: Run) -> Decision:
        """Start a turn with this message. Replies a `RunResult`."""
        return self._known(run.message_id) or self._start(
            run.message_id or self._new_id(), run.input, {"if_busy": run.if_busy, **_from(run)}
        )

    def _start(self, message_id: str, text: str, extra: dict[str, Any]) -> Decision:
        refusal = no_turn_left(self._fold, self._max_turns)
        if refusal is not None:
            return Decision(reply=refusal)
        turn = self._fold.turns + 1
        accepted = {
            "message_id": message_id, "input": text, "state": "started", "turn": turn, **extra
        }  # fmt: skip
        return Decision(
            (
                ("message_accepted", accepted, turn),
                ("turn_started", {"message_id": message_id}, turn),
            ),
            durable=True,
            reply=RunResult(message_id=message_id, state="started", turn=turn),
            commands=(self._start_command(turn, message_id, text, self._fold.inbox.pending()),),
        )

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

    def _busy(self, run: Run) -> Decision:
        """Refuse, queue or interrupt. Replies a `RunResult`."""
        known = self._known(run.message_id)
        if known is not None:
            return known
        if run.if_busy == "fail":
            return Decision(reply=self._already_running())
        return self._enqueue(run, run.input, interrupts=run.if_busy == "interrupt")

    def _held(self, run: Run) -> Decision:
        """Queue it or refuse; an interrupt too, for nothing runs before the pod is resumed."""
        known = self._known(run.message_id)
        if known is not None:
            return known
        if run.if_busy == "queue":
            return self._enqueue(run, run.input, interrupts=False)
        return Decision(
            reply=PodPaused(
                "cannot run the message: the pod is paused; resume it (`pods resume`), or send the "
                "message with if_busy `queue`, and it runs once somebody does"
            )
        )

    def _enqueue(self, given: Run | Notify, text: str, *, interrupts: bool) -> Decision:
        waiting = self._fold.queue_length
        if waiting >= self._max_queue_length:
            return Decision(reply=_queue_full(waiting, self._max_queue_length))
        refusal = no_turn_left(self._fold, self._max_turns)
        if refusal is not None:
            return Decision(reply=refusal)
        message_id = given.message_id or self._new_id()
        position = 1 if interrupts else waiting + 1
        accepted = {
            "message_id": message_id, "input": text, "state": "queued", "position": position,
            "if_busy": "interrupt" if interrupts else "queue", **_from(given),
        }  # fmt: skip
        return Decision(
            (("message_accepted", accepted, None),),
            durable=True,
            reply=RunResult(message_id=message_id, state="queued", position=position),
            commands=self._cancel_running("interrupt") if interrupts else (),
        )

    def _note(self, notify: Notify) -> Decision:
        """Keep it for the next turn, or wake an idle agent. Replies a `RunResult`.

        One that is to wake a busy agent is queued as a message of its own: it must not wait for a
        next message that may never come.
        """
        known = self._known(notify.message_id)
        if known is not None:
            return known
        fold = self._fold
        if notify.wake:
            if fold.turn is not None or self.state == "paused":
                return self._enqueue(notify, notify.message, interrupts=False)
            return self._start(
                notify.message_id or self._new_id(),
                notify.message,
                {"if_busy": "queue", "notify": True, **_from(notify)},
            )
        if len(fold.notes) >= MAX_NOTES:
            return Decision(
                reply=QueueFull(
                    f"cannot note the message: {MAX_NOTES} notes wait for the pod's next turn; "
                    "send it as a message, or notify with `wake`",
                    queue_length=len(fold.notes),
                    limit=MAX_NOTES,
                )
            )
        message_id = notify.message_id or self._new_id()
        accepted = {
            "message_id": message_id, "input": notify.message, "if_busy": "queue",
            "state": "queued", "notify": True, **_from(notify),
        }  # fmt: skip
        return Decision(
            (("message_accepted", accepted, None),),
            durable=True,
            reply=RunResult(message_id=message_id, state="queued"),
        )

    def _too_late(self, message: Run | Notify) -> Decision:
        """The pod takes no more messages; what it took before keeps its answer."""
        state = self._fold.state
        return self._known(message.message_id) or Decision(
            reply=PodEnded(
                f"cannot take the message: the pod is {state}; what it left can be read, restore "
                "it or spawn another one",
                state=state,
            )
        )

    def _withdraw(self, withdraw: Withdraw) -> Decision:
        """Take a message back that waits."""
        message_id = withdraw.message_id
        if any(one.message_id == message_id for one in self._fold.queue) or any(
            one.message_id == message_id for one in self._fold.notes
        ):
            return Decision((withdrawn(message_id, "withdrawn"),), durable=True)
        known = self._fold.message(message_id)
        if known is None:
            why, state = "the pod was never given it", "unknown"
        else:
            why, state = "its turn has begun, or it was withdrawn", "taken"
        return Decision(
            reply=UnknownMessage(
                f"cannot withdraw message {message_id!r}: {why}; `status` lists what waits, "
                "`cancel` ends the running turn",
                message_id=message_id,
                state=state,
            )
        )

    # The running turn --------------------------------------------------------------------------

    def _nothing_runs(self, _: Cancel | Shutdown) -> Decision:
        """There is no turn to cancel. Replies None."""
        return Decision()

    def _cancel(self, _: Cancel) -> Decision:
        """Cancel the running turn. Replies its number."""
        return Decision(reply=self._fold.turn, commands=self._cancel_running("cancel"))

    def _cancel_held(self, cancel: Cancel) -> Decision:
        """Cancel the turn that is held, if there is one; the pod stays paused."""
        return self._nothing_runs(cancel) if self._fold.turn is None else self._cancel(cancel)

    def _cancel_running(
        self, reason: Literal["cancel", "interrupt", "shutdown"]
    ) -> tuple[Command, ...]:
        return (CancelTurn(self._running(), reason),)

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

    def _end_of_turn(self, finished: Finished) -> list[Item]:
        turn = finished.turn
        events = [_answer(one.question_id, None, "cancelled", turn) for one in self._fold.questions]
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
            (_answer(question.question_id, answer, by, self._running()),),
            durable=True,
            commands=(GiveAnswer(question.question_id, answer),),
        )

    # The end -----------------------------------------------------------------------------------

    def _end(self, _: Shutdown) -> Decision:
        """End an idle pod."""
        return Decision(
            (_STOPPING, *undelivered(self._fold), STOPPED), durable=True, commands=(EndPod(),)
        )

    def _wind_down(self, shutdown: Shutdown) -> Decision:
        """Take no more messages, tell whose will not run, end with the turn."""
        return Decision(
            (_STOPPING, *undelivered(self._fold)),
            durable=True,
            commands=self._cancel_running("shutdown") if shutdown.mode == "now" else (),
        )

    def _end_held(self, shutdown: Shutdown) -> Decision:
        """End a paused pod; a turn that it holds must go on to get there."""
        if self._fold.turn is None:
            return self._end(shutdown)
        decision = self._wind_down(shutdown)
        return evolve(decision, commands=(HoldTurn(False), *decision.commands))

    def _hurry(self, shutdown: Shutdown) -> Decision:
        """The pod is on its way; `now` no longer waits for the turn."""
        hurried = shutdown.mode == "now"
        return Decision(commands=self._cancel_running("shutdown") if hurried else ())

    def _end_by_limit(self, reached: LimitReached) -> Decision:
        """End an idle pod that has crossed a limit."""
        events = (stopping_by(reached), *undelivered(self._fold), ended_by(reached))
        return Decision(events, durable=True, commands=(EndPod(),))

    def _wind_down_by_limit(self, reached: LimitReached) -> Decision:
        """Take no more messages and end the turn, then the pod."""
        return Decision(
            (stopping_by(reached), *undelivered(self._fold)),
            durable=True,
            commands=self._cut_off(reached),
        )

    def _end_held_by_limit(self, reached: LimitReached) -> Decision:
        """End a paused pod that has crossed a limit; a turn that it holds must go on to get there.

        Its time goes on while it is paused.
        """
        if self._fold.turn is None:
            return self._end_by_limit(reached)
        decision = self._wind_down_by_limit(reached)
        return evolve(decision, commands=(HoldTurn(False), *decision.commands))

    def _hurry_by_limit(self, reached: LimitReached) -> Decision:
        """The pod is on its way, and that may not take longer."""
        return Decision(commands=self._cut_off(reached))

    def _cut_off(self, reached: LimitReached) -> tuple[Command, ...]:
        return (CancelTurn(self._running(), "limit", reached.limit, reached.message),)

    # Helpers -----------------------------------------------------------------------------------

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

    def _already_running(self) -> AlreadyRunning:
        fold = self._fold
        waiting = fold.queue_length
        return AlreadyRunning(
            f"cannot run the message: already running turn {fold.turn}, {waiting} more queued; "
            "wait until the pod is idle, or send it with if_busy `queue` (it runs after those) or "
            "`interrupt` (it ends the running turn and comes next)",
            turn=fold.turn,
            since=fold.turn_started,
            queue_length=waiting,
        )

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


def _cannot_pause() -> PodsError:
    return NotSupported(
        "cannot pause the turn: this pod's agent cannot hold it; ask the supervisor, which stops "
        "the pod's whole process tree (`pods pause`)",
        feature="pause",
    )


_PAUSED: Final[Item] = ("status", {"state": "paused"}, None)
_STOPPING: Final[Item] = ("status", {"state": "stopping"}, None)


def _from(message: Run | Notify) -> dict[str, str]:
    return {"sender": message.sender[:MAX_SENDER_LENGTH]} if message.sender else {}


def _answer(question_id: str, answer: str | None, by: str, turn: int) -> Item:
    return ("answer", {"question_id": question_id, "answer": answer, "by": by}, turn)


def _queue_full(waiting: int, limit: int) -> PodsError:
    return QueueFull(
        f"cannot queue the message: {waiting} wait, and {limit} is the most a pod keeps; wait for "
        "its turns to end, or withdraw some",
        queue_length=waiting,
        limit=limit,
    )
