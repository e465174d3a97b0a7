"""The limits of a pod that need a timer or a count: its age, idleness, memory and processes.

Owns the deadlines, and the look at `/proc` from time to time while a turn runs and a limit on
memory or processes is set; an idle pod looks at nothing. Where this process does not act, stopped
by a program of its own, say, its keeper does (`pods.keeper.limit_watch`). What the kernel refuses
by itself (open files, the memory of one process) is set up by the keeper's room; what a turn writes
and how many there are is counted by `server` and `turns`. Made only in pods with such a limit.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import attrs
import trio

from pods.pod.actor import RunningTurn
from pods.pod.cgroup import Group
from pods.pod.limit_rules import over_limit, too_many_for
from pods.pod.stimuli import Finished, LimitReached
from pods.pod.tally import anonymous_bytes, children_of, tree_below
from pods_protocol.bounds import MAX_COUNTED_PROCESSES
from pods_protocol.values import LimitName, Limits

COUNT_SECONDS: Final = 0.1
"""Between two looks: a process that fills memory as fast as it can takes some hundred MiB in this
time, and a look at a dozen processes costs a tenth of a millisecond."""

SURE_SECONDS: Final = 0.02
"""What is over a limit is looked at again after this. Between fork and exec a program is seen with
the memory of the process that starts it."""

GOING_LOOKS: Final = 50
"""Looks, a second of them, until what was killed is gone: most go at once, one that holds much
memory gives it back first."""

KEEPER_NAME: Final = b"pods-keeper"
"""What the pod's parent is called. Beneath any other parent (a test's process, a debugger) the
brothers of this process are not the pod's."""

Over = tuple[LimitName, str]
"""A limit that is crossed, and that in words."""


class LimitKeeper:
    """Sees to the limits of one pod.

    Args:
        limits: of the pod.
        wall_until: when its time is over, seconds since the epoch.
        cross: ends the pod.
        is_idle: whether it waits for a message; a paused pod does not.
        cgroup: the directory of the group that the pod is in; empty where it has none of its own.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        wall_until: float | None,
        cross: Callable[[LimitReached], None],
        is_idle: Callable[[], bool],
        cgroup: str = "",
    ) -> None:
        self._limits = limits
        self._wall_until = wall_until
        self._cross = cross
        self._is_idle = is_idle
        self._group = _open(cgroup, limits.memory_bytes)
        self._memory = limits.memory_bytes if self._group is None else None
        """The limit on it, where that is to be counted here."""
        self._counts = self._memory is not None or limits.processes is not None
        self._running: RunningTurn | None = None
        self._own_memory = anonymous_bytes(os.getpid()) or 0
        self._counted: Over | None = None
        """What the count has found in the running turn."""
        self._survived: Over | None = None
        """What it had found in a turn whose processes outlived it."""
        self._busy = False
        self._idle = trio.CancelScope()

    # Time ----------------------------------------------------------------------------------------

    async def keep_time(self) -> None:
        """End the pod when its time is over, or when it has been idle for too long."""
        wall, idle = self._limits.wall_seconds, self._limits.idle_seconds
        left = math.inf if self._wall_until is None else max(0.0, self._wall_until - time.time())
        with trio.move_on_after(left):
            while idle is not None:
                self._idle = trio.CancelScope()
                self._set_idle_deadline(idle)
                with self._idle:
                    await trio.sleep_forever()
                if self._is_idle():
                    over = over_limit("idle_seconds", idle)
                    return self._cross(LimitReached("idle_seconds", over))
            await trio.sleep_forever()
        over = over_limit("wall_seconds", wall) if wall else "its time is over"
        return self._cross(LimitReached("wall_seconds", over))

    def _set_idle_deadline(self, seconds: float) -> None:
        self._idle.deadline = math.inf if self._busy else trio.current_time() + seconds

    # A turn --------------------------------------------------------------------------------------

    async def attend(
        self, running: RunningTurn, run: Callable[[], Awaitable[Finished]]
    ) -> Finished:
        """Run the turn, counting beside it where there is something to count."""
        self._busy = True
        self._idle.deadline = math.inf
        if not self._counts and self._group is None:
            return await run()
        self._running = running
        largest, before = _largest_program(), set(_tree())
        async with trio.open_nursery() as nursery:
            if self._counts:
                nursery.start_soon(self._count, running)
            finished = await run()
            nursery.cancel_scope.cancel()
        self._running = None
        finished = self._told_late(finished)
        if self._counted is not None and await _stay(before):
            self._survived = self._counted
        self._counted = None
        return self._look_back(finished, largest)

    def after_turn(self, *, idle: bool) -> None:
        """The turn's end is written.

        Args:
            idle: no other turn has begun.
        """
        self._busy = not idle
        if self._limits.idle_seconds is not None:
            self._set_idle_deadline(self._limits.idle_seconds)
        over = self._survived or (self._over() if self._counts else None)
        if over is not None:
            # What the turn left running goes on with it: only the end of the pod ends that.
            self._cross(LimitReached(*over))

    async def heed_group(self) -> None:
        """Act on what the kernel stops at a limit of the pod's cgroup; returns where it has none.

        It is said before the process that it kills can be seen to have ended.
        """
        while self._group is not None:
            await trio.lowlevel.wait_readable(self._group)
            for name in self._group.take():
                over = over_limit(name, getattr(self._limits, name))
                if self._running is None and self._counted is not None:
                    continue  # of the turn that was just ended for it, while its processes go
                if self._running is None:
                    self._cross(LimitReached(name, over))
                    return
                self._running.cross(name, over)
                self._counted = (name, over)
                _kill_programs()

    def _told_late(self, finished: Finished) -> Finished:
        """What happened in the group up to the turn's end is the turn's, heard or not."""
        for name in () if self._group is None else self._group.take():
            over = over_limit(name, getattr(self._limits, name))
            self._counted = self._counted or (name, over)
            if finished.limit is None:
                finished = attrs.evolve(finished, stop_reason="limit", limit=name, message=over)
        return finished

    async def _count(self, running: RunningTurn) -> None:
        while True:
            await trio.sleep(COUNT_SECONDS)
            if self._over() is None:
                continue
            await trio.sleep(SURE_SECONDS)
            over = self._over()
            if over is not None:
                running.cross(*over)
                self._counted = over
                # No grace: what forks or fills memory uses it.
                _kill_programs()
                return

    def _look_back(self, finished: Finished, largest: int) -> Finished:
        """A program that was too large and gone between two looks is found by what it left."""
        limit, now = self._memory, _largest_program()
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if limit is None or finished.limit is not None or not max(largest, limit, own) < now:
            return finished
        return attrs.evolve(
            finished,
            stop_reason="limit",
            limit="memory_bytes",
            message=f"a program of the turn took {now} bytes of memory, over the limit of {limit}",
        )

    # Counting ------------------------------------------------------------------------------------

    def _over(self) -> Over | None:
        memory, most = self._memory, self._limits.processes
        if self._group is not None:
            if most is None or self._group.processes(most) <= most:
                return None
            return "processes", over_limit("processes", most)
        taken = living = 0
        if memory is not None:
            taken = max(0, (anonymous_bytes(os.getpid()) or 0) - self._own_memory)
        for count, pid in enumerate(_tree(), 1):
            if most is not None and count > most:
                return "processes", over_limit("processes", most)
            if memory is not None:
                there = anonymous_bytes(pid)
                taken += there or 0
                living += there is not None
                if living >= MAX_COUNTED_PROCESSES:
                    return "memory_bytes", too_many_for(memory)
        if memory is not None and taken > memory:
            return "memory_bytes", over_limit("memory_bytes", memory)
        return None


def _open(cgroup: str, memory_bytes: int | None) -> Group | None:
    """The pod's group; None where it has none, or may not read it: then all is counted."""
    if cgroup:
        with contextlib.suppress(OSError):
            return Group(cgroup, memory_bytes)
    return None


def _tree() -> Iterator[int]:
    """Every process of the pod but its own: below this one, and what lost its parent."""
    own, parent = os.getpid(), os.getppid()
    roots = children_of(own)
    if _name(parent) == KEEPER_NAME:
        roots += [pid for pid in children_of(parent) if pid != own]
    return tree_below(roots)


async def _stay(before: set[int]) -> bool:
    """Whether a turn that was cut off leaves processes that were not there before it.

    The killed ones are given a moment to go. Who detached itself stays, and may fork on.
    """
    for _ in range(GOING_LOOKS):
        if not any(_lives(pid) for pid in _tree() if pid not in before):
            return False
        await trio.sleep(SURE_SECONDS)
    return True


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        return file.readall().rpartition(b") ")[2][:1] not in b"ZX"
    return False


def _name(pid: int) -> bytes:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
        return file.readall().rstrip(b"\n")
    return b""


def _largest_program() -> int:
    """The most memory that a program of this pod, waited for by now, ever had; bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _kill_programs() -> None:
    """Kill what this process started, each with its group; its children are its own to signal.

    None of them has been waited for, so that each number is still theirs.
    """
    if _name(os.getppid()) != KEEPER_NAME:
        return
    for pid in children_of(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
