"""The one running turn: the agent's task, its cancellation, its questions, its end.

Owns what of a turn is not in the journal: the task's cancel scope and the waiters of its questions.
Called by `server`, which owns the machine and the journal.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import orjson
import trio

from pods.agents.base import Agent, TurnEnd
from pods.agents.host import Host
from pods.agents.jsonl import STOP_REASONS
from pods.agents.loading import describe_error
from pods.agents.text import shorten
from pods.agents.turn import Turn
from pods.pod.limit_rules import over_limit
from pods.pod.stimuli import Finished, StartTurn
from pods_protocol.errors import PodsError, StorageFailed
from pods_protocol.values import LimitName, StopReason

MAX_END_MESSAGE_BYTES: Final = 2000
"""Why a turn ended; it travels in every `status` and every `read`."""


class Waiter:
    """Somebody in the agent who waits for an answer."""

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.answer: str | None = None

    def settle(self, answer: str | None) -> None:
        """Let it go on; None is no answer."""
        self.answer = answer
        self.settled.set()


class RunningTurn:
    """A turn from its start to the moment its agent is out.

    Args:
        start: what runs.
        turn_seconds: how long it may take; None is as long as it likes.
        log: takes the traceback of what the agent raised.

    Attributes:
        number: the turn's.
        output_bytes: what its events took so far, where that is counted.
        waiters: of its open questions, by their ids.
        held: while the turn is held, what its agent waits for.
    """

    def __init__(
        self, start: StartTurn, *, turn_seconds: float | None, log: Callable[[str], None]
    ) -> None:
        self.number = start.turn
        self.output_bytes = 0
        self.waiters: dict[str, Waiter] = {}
        self._start = start
        self._turn_seconds = turn_seconds
        self._log = log
        self._scope = trio.CancelScope()
        self._cancelled = ""
        self._limit: LimitName | None = None
        self._limit_message = ""
        self._storage_fault: StorageFailed | None = None
        self._late = False
        self.held: trio.Event | None = None
        # The clocks of this turn, and while it is held the seconds that each has left.
        self._clocks: dict[trio.CancelScope, float] = {}

    def hold(self, *, held: bool) -> None:
        """Hold the turn, or let it go on; its clocks stand still meanwhile. Again is nothing."""
        now = trio.current_time()
        if held and self.held is None:
            self.held = trio.Event()
            for clock in self._clocks:
                self._clocks[clock] = clock.deadline - now
                clock.deadline = math.inf
        elif not held and self.held is not None:
            self.held.set()
            self.held = None
            for clock, left in self._clocks.items():
                clock.deadline = now + left

    def start_clock(self, clock: trio.CancelScope, seconds: float | None) -> None:
        """Cancel this scope in so many seconds in which the turn is not held; None is never."""
        if seconds is None:
            return
        self._clocks[clock] = seconds
        if self.held is None:
            clock.deadline = trio.current_time() + seconds

    def forget_clock(self, clock: trio.CancelScope) -> None:
        """That scope has ended."""
        self._clocks.pop(clock, None)

    def cancel(self, reason: str) -> None:
        """Cancel the agent's task; the first reason counts."""
        self._cancelled = self._cancelled or reason
        self._scope.cancel()

    def cross(self, limit: LimitName, message: str) -> None:
        """Cancel the agent's task because of a limit; the first one counts."""
        if self._limit is None:
            self._limit, self._limit_message = limit, message
        self._scope.cancel()

    @property
    def crossed(self) -> LimitName | None:
        """The limit that ends the turn, if one does."""
        return self._limit

    def storage_failed(self, error: StorageFailed) -> None:
        """What the agent said could not be kept: the turn must not end as a success."""
        self._storage_fault = self._storage_fault or error
        self._scope.cancel()

    async def run(self, agent: Agent, host: Host) -> Finished:
        """Let the agent run to its end, whatever that is. Raises only the outer cancellation."""
        start = self._start
        turn = Turn(
            host,
            number=start.turn,
            message_id=start.message_id,
            input=start.input,
            notes=start.notes,
            child_events=start.child_events,
        )
        began = trio.current_time()
        self.start_clock(self._scope, self._turn_seconds)
        end = TurnEnd()
        failure: BaseException | None = None
        with self._scope:
            try:
                end = _checked(await agent.run_turn(turn))
            except trio.Cancelled:
                raise
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                failure = error
            except BaseExceptionGroup as error:
                # Tasks of the agent: some were cancelled with it, others failed.
                cancelled, failure = error.split(trio.Cancelled)  # pyright: ignore[reportUnknownMemberType]  # of a bare group
                if failure is None:
                    assert cancelled is not None, "a group is one or the other"
                    raise
        end = self._judge(end, failure)
        return Finished(
            start.turn,
            end.stop_reason,
            shorten(end.message, MAX_END_MESSAGE_BYTES),
            end.exit_status,
            seconds=round(trio.current_time() - began, 4),
            limit="turn_seconds" if end.stop_reason == "timeout" and self._late else self._limit,
        )

    def _judge(self, end: TurnEnd, failure: BaseException | None) -> TurnEnd:
        """Nothing but an explicit success is success."""
        if self._storage_fault is not None:
            return TurnEnd("error", self._storage_fault.message)
        if self._limit is not None:
            # Whatever the agent made of it: what crossed a limit is no success.
            return TurnEnd("limit", self._limit_message, end.exit_status)
        if failure is not None:
            words = failure.message if isinstance(failure, PodsError) else describe_error(failure)
            if self._cancelled:
                return TurnEnd("cancelled", f"while it was cancelled, the agent raised {words}")
            self._log(
                f"turn {self.number}: the agent raised\n"
                + "".join(traceback.format_exception(failure))
            )
            return TurnEnd("error", words)
        if not self._scope.cancelled_caught:
            return end
        if self._cancelled:
            return TurnEnd("cancelled", _CANCELLED[self._cancelled])
        self._late = True
        return TurnEnd("timeout", over_limit("turn_seconds", self._turn_seconds))


_CANCELLED: Final = {
    "cancel": "",
    "interrupt": "another message interrupted it",
    "shutdown": "the pod was told to stop",
}


def _checked(returned: object) -> TurnEnd:
    """What the agent returned, if it is something an agent may return."""
    if returned is None:
        return TurnEnd()
    end = returned if isinstance(returned, TurnEnd) else None
    if isinstance(returned, str):
        end = TurnEnd(cast("StopReason", returned))
    if end is None or end.stop_reason not in STOP_REASONS:
        return TurnEnd(
            "error",
            f"the agent returned {shorten(repr(returned), 200)}; it may return None, a TurnEnd, or "
            f"one of {', '.join(STOP_REASONS)}",
        )
    return end


def may_write(running: RunningTurn, data: Mapping[str, Any], limit: int) -> bool:
    """Count an event of the turn; False where it is over the limit, which then ends the turn."""
    if running.crossed == "output_bytes":
        return False
    running.output_bytes += len(orjson.dumps(data))
    if running.output_bytes <= limit:
        return True
    running.cross("output_bytes", over_limit("output_bytes", limit))
    return False
