"""The rules of the end: a pod that is told to stop, or crosses a limit.

Pure. `moves` says which rule decides in which state, `turns` looks it up; `limit_rules` has the
words of limits.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from pods.journal.ending import Item, stopped, undelivered
from pods.pod.limit_rules import ended_by, stopping_by
from pods.pod.rule_parts import RuleParts
from pods.pod.stimuli import (
    CancelTurn,
    Command,
    Decision,
    EndPod,
    HoldTurn,
    LimitReached,
    Shutdown,
)


class EndRules(RuleParts):
    """What follows from `Shutdown` and `LimitReached`."""

    def _end(self, _: Shutdown) -> Decision:
        """End an idle pod."""
        last = stopped(self._fold, {"reason": "stopped"})
        events = (_STOPPING, *undelivered(self._fold), last)
        return Decision(events, durable=True, commands=(EndPod(),))

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
        events = (stopping_by(reached), *undelivered(self._fold), ended_by(self._fold, reached))
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


_STOPPING: Final[Item] = ("status", {"state": "stopping"}, None)
