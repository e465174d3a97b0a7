"""The rules of messages: which one starts a turn, waits, is noted, is taken back or is refused.

Pure. `moves` says which rule decides in which state, `turns` looks it up.
"""

from __future__ import annotations

from typing import Any, Final

from pods.journal.ending import withdrawn
from pods.pod.limit_rules import no_turn_left
from pods.pod.rule_parts import RuleParts
from pods.pod.stimuli import (
    Decision,
    Notify,
    Run,
    Withdraw,
)
from pods_protocol.errors import (
    AlreadyRunning,
    PodEnded,
    PodPaused,
    PodsError,
    QueueFull,
    UnknownMessage,
)
from pods_protocol.pod_messages import RunResult

MAX_NOTES: Final = 128
"""Notes that wait for the next turn. One more is refused, so that its sender knows: dropping the
oldest in silence loses what somebody was told is on its way."""

MAX_SENDER_LENGTH: Final = 100
"""Of what a sender calls itself; it stands beside each message that waits."""


class MessageRules(RuleParts):
    """What follows from `Run`, `Notify` and `Withdraw`."""

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
                "message with if_busy `queue` (`--if-busy queue`), and it runs once somebody does"
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
                f"cannot withdraw message {message_id!r}: {why}; `status` (`pods "
                "inspect`) lists what waits, `cancel` (`pods send --if-busy interrupt`, with what "
                "comes instead) ends the running turn",
                message_id=message_id,
                state=state,
            )
        )

    def _already_running(self) -> AlreadyRunning:
        fold = self._fold
        waiting = fold.queue_length
        return AlreadyRunning(
            f"cannot run the message: already running turn {fold.turn}, {waiting} more queued; "
            "wait until the pod is idle, or send it with if_busy (`--if-busy`) `queue` (it runs "
            "after those) or `interrupt` (it ends the running turn and comes next)",
            turn=fold.turn,
            since=fold.turn_started,
            queue_length=waiting,
        )


def _from(message: Run | Notify) -> dict[str, str]:
    return {"sender": message.sender[:MAX_SENDER_LENGTH]} if message.sender else {}


def _queue_full(waiting: int, limit: int) -> PodsError:
    return QueueFull(
        f"cannot queue the message: {waiting} wait, and {limit} is the most a pod keeps; wait for "
        "its turns to end, or withdraw some",
        queue_length=waiting,
        limit=limit,
    )
