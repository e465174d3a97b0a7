"""The keeper's watch over its pod's limits, beside the pod's own: nothing of the pod reaches it.

Owns what is read and signalled for it: the pod's marks of its turns, the counts from `/proc`, the
SIGCONT to a pod's process that was stopped. `limit_clocks` has the rules. Made in keepers of pods
with such a limit alone: every object that a keeper makes is memory in each of hundreds. Imported by
the launcher, for them all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Collection
from typing import Final

from attrs import evolve

from pods.keeper.limit_clocks import LimitClocks, Looks, Step
from pods.pod.cgroup import Group, clear_group
from pods.pod.tally import anonymous_bytes, children_of, tree_below
from pods.pod.turn_marks import BEGINS, GOES_ON, HELD, NONE, OVER
from pods_protocol.bounds import MAX_COUNTED_PROCESSES
from pods_protocol.values import LimitName, Limits

READ_BYTES: Final = 4096
"""Marks taken at once; a turn has two."""

MAX_CLEARS: Final = 30
"""Attempts to remove the group of a pod of which nothing is left, a quarter of a minute and more.
What lives in there then was moved there by somebody. It is killed with the group, but not before
Linux 5.14, which has no `cgroup.kill`."""


class LimitWatch:
    """The watch over one pod.

    Args:
        limits: of the pod.
        wall_until: when its time is over, in seconds since the epoch; None is never.
        told: where the pod's process tells of its turns.
        pod: the pid of that process, a child that nobody has reaped yet.
        say: takes what goes wrong.
        cgroup: the directory of the pod's group; empty where it has none.

    Attributes:
        told: as given.
        group: tells when the kernel has stopped the pod at a limit: then `struck` is to be called.
            None where it has none, or it cannot be listened to: then all is counted here.
        crossed: the limit for which the pod is to be ended; None as long as it is not.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        wall_until: float | None,
        told: socket.socket,
        pod: int,
        say: Callable[[str], None],
        cgroup: str = "",
    ) -> None:
        left = None if wall_until is None else max(0.0, wall_until - time.time())
        self.told = told
        self.crossed: LimitName | None = None
        self.group: Group | None = None
        if cgroup:
            try:
                self.group = Group(cgroup, limits.memory_bytes)
            except OSError as error:
                say(f"the cgroup {cgroup} cannot be read: {error}; its limits are polled")
        self._say = say
        self._directory = cgroup
        self._clears = 0
        self._limits = limits
        self._pod = pod
        self._counts = limits.memory_bytes is not None or limits.processes is not None
        self._clocks = LimitClocks(limits, None if left is None else time.monotonic() + left)
        # The kernel's own count of a group's memory is never late, and it acts on it.
        self._looks = Looks(limits if self.group is None else evolve(limits, memory_bytes=None))
        self._turn = False
        self._held: set[str] = set()
        self._own_memory: int | None = None

    def hear(self) -> bool:
        """Take what the pod tells; False where it will tell nothing more."""
        marks = b""
        with contextlib.suppress(ConnectionResetError):  # it ended just now
            marks = self.told.recv(READ_BYTES)
        now = time.monotonic()
        if self._own_memory is None and self._counts:
            self._own_memory = anonymous_bytes(self._pod)
            if self.group is not None:
                self.group.begin()
        if self.group is not None:
            self.struck()  # what happened before a turn was over is of that turn
        for mark in marks:
            if mark in BEGINS + NONE + OVER:
                self._clocks.seen_to()
            if mark in BEGINS + NONE:
                self._turn = mark in BEGINS
                (self._clocks.turn_begins if self._turn else self._clocks.no_turn)(now)
                self._looks.look_on(now, turn=self._turn)
            elif mark in OVER:
                self._turn = False
                self._clocks.time_neither()
                self._looks.look_on(now, turn=False)
            elif mark in HELD + GOES_ON:
                self._hold("pod", held=mark in HELD)
        if not marks:
            self._clocks.time_neither()
            self._looks.look_on(now, turn=True)
        return bool(marks)

    def struck(self) -> None:
        """Take what has happened in the pod's group."""
        assert self.group is not None, "only then anybody calls"
        now = time.monotonic()
        for limit in self.group.take():
            self._clocks.strike(limit, now)

    def verdict(self, wait_status: int) -> LimitName | None:
        """The limit that has ended the pod, if one has.

        Args:
            wait_status: of its own process, which the kernel may have taken for the largest.
        """
        by_kernel = os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) == signal.SIGKILL
        return self._clocks.struck if self.crossed is None and by_kernel else self.crossed

    def clear(self, forget: Callable[[Group], None]) -> bool:
        """Remove the pod's group, if it has one, with whatever is in it; whether to wait no longer.

        Args:
            forget: is told to wait for it no longer, before its descriptor is another's.
        """
        if not self._directory:
            return True
        if self.group is not None:
            self.struck()  # nobody can ask later
        if not clear_group(self._directory):
            self._clears += 1
            if self._clears < MAX_CLEARS:
                return False
            self._say(
                f"the cgroup {self._directory} is left: what is in there is none of the pod's"
            )
        self._directory = ""
        if self.group is not None:
            forget(self.group)
            self.group.close()
            self.group = None
        return True

    def hold_tree(self, *, held: bool) -> None:
        """All processes of the pod are stopped by its supervisor, or go on."""
        self._hold("tree", held=held)
        if held:
            self._looks.look_away()
        else:
            self._looks.look_on(time.monotonic(), turn=self._turn)

    def reaped(self) -> None:
        """A child of this process has ended that was neither the pod's own nor set apart."""
        self._looks.reaped(time.monotonic())

    def attend(self, apart: Collection[int]) -> float | None:
        """Do what is due; returns when something is next, None where nothing is.

        Args:
            apart: children of this process that are not the pod's.
        """
        now = time.monotonic()
        while (step := self._clocks.take(now)) is not None:
            self._take(step)
            if step.ends:
                return None
        look = self._looks.due()
        if look is not None and look <= now:
            taken, processes, alone = self._look(apart)
            step = self._looks.counted(time.monotonic(), taken, processes, alone=alone)
            if step is not None:
                self._take(step)
        dues = [at for at in (self._clocks.due(), self._looks.due()) if at is not None]
        return min(dues, default=None)

    def memory(self, apart: Collection[int]) -> int | None:
        """What the pod's memory is counted as now, in bytes; None where no limit asks for that."""
        return self._count(apart)[0] if self._counts else None

    def _look(self, apart: Collection[int]) -> tuple[int, int, bool]:
        """As `_count`, of what is to be counted here."""
        most = self._limits.processes
        if self.group is None or most is None:
            return self._count(apart)
        alone = [pid for pid in children_of(os.getpid()) if pid not in apart] == [self._pod]
        return 0, max(0, self.group.processes(most)), alone

    def _count(self, apart: Collection[int]) -> tuple[int, int, bool]:
        """Bytes beside what the pod's own process took at first, and processes beside that.

        The third is whether that is the only child of this process, ended ones among them.
        """
        own = anonymous_bytes(self._pod) or 0
        taken = max(0, own - (own if self._own_memory is None else self._own_memory))
        processes = 0
        roots = [pid for pid in children_of(os.getpid()) if pid not in apart]
        for pid in tree_below(roots, apart=(self._pod,)):
            there = anonymous_bytes(pid)
            if there is None:
                continue
            taken += there
            processes += 1
            if processes >= MAX_COUNTED_PROCESSES:
                break
        return taken, processes, roots == [self._pod]

    def _hold(self, who: str, *, held: bool) -> None:
        (self._held.add if held else self._held.discard)(who)
        self._clocks.hold(time.monotonic(), held=bool(self._held))

    def _take(self, step: Step) -> None:
        if step.ends:
            self.crossed = step.limit
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._pod, signal.SIGCONT)
