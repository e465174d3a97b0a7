"""One message and the turn that answers it, as one call.

Owns the order: look where the journal is, subscribe, send, gather up to the turn's end. Used by pod
handles and sessions.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from pods.client.arguments import check_seconds
from pods.client.results import TurnResult
from pods_protocol.errors import PodEnded, PodsError, TimedOut, Undelivered
from pods_protocol.events import Event
from pods_protocol.pod_messages import Cancel, GetStatus, Run, Withdraw
from pods_protocol.values import IfBusy

if TYPE_CHECKING:
    from pods.client.aio import PodsClient

MAX_TURN_EVENTS: Final = 100_000
"""Events of one `TurnResult`: some hundred megabytes at most. A turn that says more is followed
with `events`, not gathered."""

CANCEL_SECONDS: Final = 10.0
"""For telling the pod that nobody waits for its turn any more."""


async def take_turn(
    client: PodsClient,
    pod: str,
    message: str,
    *,
    if_busy: IfBusy = "fail",
    timeout_seconds: float | None = None,
) -> TurnResult:
    """Send a message and gather its turn.

    Args:
        client: the way to the pod.
        pod: its name or id.
        message: what to say.
        if_busy: what to do while another turn runs.
        timeout_seconds: then the turn is cancelled; None waits for ever.

    Raises:
        AlreadyRunning: busy, and `if_busy` is `fail`.
        TimedOut: with `turn` and `message_id`; the turn was cancelled, or its message withdrawn.
        Undelivered: accepted, and the pod ended before it had its turn, or it was withdrawn.
        PodEnded: the pod ended before it accepted the message.
        InvalidParams: `timeout_seconds` is negative, infinite or no number; nothing was sent.
    """
    if timeout_seconds is not None:
        check_seconds(timeout_seconds, "timeout_seconds")
    status = await client.ask(pod, GetStatus())
    # Chosen here, so that a message whose answer was lost can still be taken back.
    run = Run(input=message, if_busy=if_busy, message_id=secrets.token_hex(8))
    gatherer = _Gatherer(str(run.message_id))
    with trio.move_on_after(float("inf") if timeout_seconds is None else timeout_seconds):
        async with client.events(pod, since=status.last_seq) as stream:
            await client.send(pod, run)
            async for event in stream:
                if gatherer.take(event):
                    return gatherer.result()
            raise PodEnded(
                f"cannot take a turn in {pod}: it ended before the message had its turn; "
                f"`pods logs {pod}` tells why",
                pod=pod,
            )
    with trio.move_on_after(CANCEL_SECONDS), contextlib.suppress(PodsError):
        if gatherer.turn is None:
            await client.ask(pod, Withdraw(message_id=gatherer.message_id))
        else:
            await client.ask(pod, Cancel())
    raise TimedOut(
        f"cannot finish the turn in {pod}: it took more than {timeout_seconds:g} s and was "
        "cancelled; give it more time or less to do",
        timeout_seconds=timeout_seconds,
        turn=gatherer.turn,
        message_id=gatherer.message_id,
    )


class _Gatherer:
    """Picks the events of one message's turn out of all."""

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.turn: int | None = None
        self._events: deque[Event] = deque(maxlen=MAX_TURN_EVENTS)
        self._seen = 0
        self._started = 0.0

    def take(self, event: Event) -> bool:
        """Take one event; True when the turn is over."""
        if self.turn is None:
            mine = event.data.get("message_id") == self.message_id
            if event.type == "turn_started" and mine:
                self.turn = event.turn
                self._started = event.time
            elif event.type == "message_withdrawn" and mine:
                reason = event.data["reason"]
                why = (
                    "was withdrawn" if reason == "withdrawn" else "was not delivered: its pod ended"
                )
                raise Undelivered(
                    f"cannot take the turn: the message {why}; send it again if it is still wanted",
                    message_id=self.message_id,
                    reason=reason,
                )
            return False
        if event.turn != self.turn:
            return False
        self._events.append(event)
        self._seen += 1
        return event.type == "turn_ended"

    def result(self) -> TurnResult:
        """What was gathered, once `take` has said that it is over."""
        ended = self._events[-1]
        return TurnResult(
            turn=ended.turn or 0,
            stop_reason=ended.data["stop_reason"],
            events=tuple(self._events),
            message=ended.data.get("message", ""),
            exit_status=ended.data.get("exit_status"),
            duration_seconds=max(0.0, ended.time - self._started),
            truncated=self._seen > len(self._events),
        )
