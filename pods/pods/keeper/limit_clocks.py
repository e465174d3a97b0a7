"""When a keeper acts on a limit of its pod: the clocks, and what follows from a count.

Owns the rules of the second watch. The pod's own process acts first, with words in its journal;
the keeper acts where that did not: a program of the pod may have stopped or wedged it. So each
limit has two steps: at the limit the pod's process is let go on, should it be stopped, and then
acts by its own clock; a grace later the pod is ended. Pure: the time comes in as an argument, in
seconds of a clock that never jumps. Used by `limit_watch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pods_protocol.bounds import MAX_COUNTED_PROCESSES
from pods_protocol.values import LimitName, Limits

GRACE_SECONDS: Final[Mapping[LimitName, float]] = {
    "turn_seconds": 5.0,
    "idle_seconds": 10.0,
    "wall_seconds": 10.0,
}
"""From a limit to the end of a pod that did not act. A turn that is cut off takes 2 s where its
programs ignore SIGTERM; the end of a pod that, 2 s for its agent's `close`, and 1 s for its last
words. Each twice, for a busy machine."""

STRUCK_SECONDS: Final = 5.0
"""From what the kernel stopped at a limit to the end of a pod that did nothing about it: as long as
a turn that is cut off has."""

TURN_LOOK_SECONDS: Final = 0.5
"""Between two counts while a turn runs: the pod's own process counts five times as often."""

TURN_PATIENCE_SECONDS: Final = 2.0
"""What is over for so long while a turn runs is not seen to by the pod's own process: that kills at
once, and waits a second for what was killed to go."""

LEFT_LOOK_SECONDS: Final = 0.25
"""Between two counts while no turn runs and something of one is left: nobody else counts then. A
count of a few processes takes a fifth of a millisecond."""

LEFT_PATIENCE_SECONDS: Final = 1.0
"""What is over for so long between turns is no program that is just ending with its turn."""

EMPTY_LOOKS: Final = 4
"""Counts in a row that find nothing left, until no more is counted. The kernel's lists can miss a
process whose parent ends while they are read; what always does that again is heard of (`reaped`),
so this need only outlast a few that nobody hears of, below the pod's own process."""


class Step(NamedTuple):
    """What is to be done now.

    Attributes:
        limit: which limit is crossed.
        ends: the pod is to be ended; else its own process is let go on, if it is stopped.
    """

    limit: LimitName
    ends: bool


class _Clock:
    """One that runs: `at` is when its next step is due."""

    __slots__ = ("at", "grace", "limit", "woken")

    def __init__(self, limit: LimitName, at: float, grace: float | None = None) -> None:
        self.limit: LimitName = limit
        self.at = at
        self.grace = GRACE_SECONDS[limit] if grace is None else grace
        self.woken = False

    def take(self, now: float) -> Step | None:
        if now < self.at:
            return None
        if self.woken:
            return Step(self.limit, ends=True)
        self.woken = True
        self.at += self.grace
        return Step(self.limit, ends=False)


class LimitClocks:
    """The clocks of one pod.

    Args:
        limits: of the pod.
        wall_at: when its time is over; None is never. That clock never stands still.
    """

    def __init__(self, limits: Limits, wall_at: float | None) -> None:
        self._limits = limits
        self._wall = None if wall_at is None else _Clock("wall_seconds", wall_at)
        self._running: _Clock | None = None
        self._struck: _Clock | None = None
        self._held_since: float | None = None

    def turn_begins(self, now: float) -> None:
        """A turn begins; the one before it is over."""
        self._start("turn_seconds", self._limits.turn_seconds, now)

    def no_turn(self, now: float) -> None:
        """No turn runs."""
        self._start("idle_seconds", self._limits.idle_seconds, now)

    def time_neither(self) -> None:
        """Neither is a turn on its way nor is the pod idle, as far as anybody tells."""
        self._running = None

    @property
    def struck(self) -> LimitName | None:
        """The limit at which the kernel has stopped the pod, as long as nobody has seen to it."""
        return None if self._struck is None else self._struck.limit

    def strike(self, limit: LimitName, now: float) -> None:
        """The kernel has stopped the pod at a limit; again is nothing."""
        if self._struck is None:
            self._struck = _Clock(limit, now, STRUCK_SECONDS)

    def seen_to(self) -> None:
        """A turn begins, is over, or none runs: so its own process has seen to what was struck."""
        self._struck = None

    def hold(self, now: float, *, held: bool) -> None:
        """Let the clocks of turn and idleness stand still, or go on. Again is nothing.

        A pod that was idle before has its whole idle time anew: so its own clock is never later.
        """
        if held == (self._held_since is not None):
            return
        running = self._running
        if self._held_since is not None and running is not None:
            running.at += now - self._held_since
            if running.limit == "idle_seconds" and not running.woken:
                self.no_turn(now)
        if self._held_since is not None and self._struck is not None:
            self._struck.at += now - self._held_since
        self._held_since = now if held else None

    def due(self) -> float | None:
        """When something is next to be done; None: nothing is, for ever."""
        return min((clock.at for clock in self._counting()), default=None)

    def take(self, now: float) -> Step | None:
        """What is to be done now; again until there is nothing."""
        for clock in self._counting():
            step = clock.take(now)
            if step is not None:
                return step
        return None

    def _start(self, limit: LimitName, seconds: float | None, now: float) -> None:
        self._running = None if seconds is None else _Clock(limit, now + seconds)
        if self._held_since is not None:
            self._held_since = now

    def _counting(self) -> tuple[_Clock, ...]:
        held = self._held_since is not None
        clocks = (self._wall, None if held else self._running, None if held else self._struck)
        return tuple(clock for clock in clocks if clock is not None)


class Looks:
    """When the processes of one pod are to be counted, and what follows.

    Args:
        limits: of the pod.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counts = limits.memory_bytes is not None or limits.processes is not None
        self._turn = False
        self._still = False
        self._at: float | None = None
        self._empty = 0
        self._over_since: float | None = None
        self._patience = 0.0

    def look_on(self, now: float, *, turn: bool) -> None:
        """A turn begins, or none runs, or what was stopped goes on.

        Who traces the pod's process can say so at any time: so it never makes a count later, and
        what is over its limit has been so for as long as before.
        """
        self._turn, self._still, self._empty = turn, False, 0
        if self._counts:
            at = now + TURN_LOOK_SECONDS * turn
            self._at = at if self._at is None else min(at, self._at)

    def look_away(self) -> None:
        """All is stopped: nothing grows, and nothing can go."""
        self._still = True
        self._at = self._over_since = None

    def reaped(self, now: float) -> None:
        """A process has ended that lost its parent: what it started may not have been seen."""
        self._empty = 0
        if self._counts and self._at is None and not self._still:
            self._at = now + LEFT_LOOK_SECONDS

    def due(self) -> float | None:
        """When to count next; None: not before a turn begins or ends, or something is reaped."""
        return self._at

    def counted(self, now: float, memory_bytes: int, processes: int, *, alone: bool) -> Step | None:
        """What follows from a count.

        Args:
            now: when it was made.
            memory_bytes: of all processes, beside what the pod's own took at its start.
            processes: beside the pod's own; at `MAX_COUNTED_PROCESSES` nobody has looked further.
            alone: nothing of the pod is the keeper's child but its own process, ended or not.
        """
        self._empty = self._empty + 1 if alone and not processes and not self._turn else 0
        if self._empty >= EMPTY_LOOKS:
            self._at = self._over_since = None
            return None
        self._at = now + (TURN_LOOK_SECONDS if self._turn else LEFT_LOOK_SECONDS)
        over = self._over(memory_bytes, processes)
        if over is None:
            self._over_since = None
            return None
        patience = TURN_PATIENCE_SECONDS if self._turn else LEFT_PATIENCE_SECONDS
        if self._over_since is None:
            self._over_since, self._patience = now, patience
            return Step(over, ends=False)
        # What was over in a turn has its whole time to go when that ends.
        self._patience = max(patience, self._patience)
        return Step(over, ends=True) if now - self._over_since >= self._patience else None

    def _over(self, memory_bytes: int, processes: int) -> LimitName | None:
        if self._limits.processes is not None and processes > self._limits.processes:
            return "processes"
        most = self._limits.memory_bytes
        # What was not looked at takes memory as well: else who has enough processes could hide any.
        uncounted = processes >= MAX_COUNTED_PROCESSES
        if most is not None and (memory_bytes > most or uncounted):
            return "memory_bytes"
        return None
