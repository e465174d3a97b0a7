"""A tree of processes below this one: found, signalled, killed until none is left.

Owns every signal that pods sends to what it did not fork itself. Two ways in: a *sweep* kills and
reaps direct children, which cannot be anybody else's because an unreaped child keeps its pid; a
*walk* reaches further down and therefore proves each process twice, with a pidfd in hand. This
process must be a subreaper: then what loses its parent becomes a direct child, and a sweep that
goes on until there is none has got everything. Used by keeper and launcher; knows nothing of pods.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from pods.scope.identity import boot_id
from pods_protocol.values import ProcessIdentity

SWEEP_SECONDS: Final = 0.25
"""A sweep at one go; then the owner's loop gets its turn. Sixteen processes that fork as fast as
they can took 3 ms in the median and 19 ms at most (ISOLATION.md section 4)."""

SWEEP_PAUSE_SECONDS: Final = 0.0005
"""Between two rounds of a sweep in which nothing could be reaped: a killed process needs a moment
to end, and this is long enough not to take the processor from it."""

EMPTY_LISTS: Final = 2
"""Empty lists in a row that a sweep believes where it may not wait for `waitpid` to say so, because
spared children live: the kernel's list can miss one that another's end moves while it is read."""

MAX_WALKS: Final = 8
"""Walks in a row until one finds nobody new. What forks faster than eight walks is hostile, and
only a kill is meant to hold against that."""

_PPID_FIELD: Final = 1
_STATE_FIELD: Final = 0
_START_TICKS_FIELD: Final = 19
ENDED_STATES: Final = frozenset({"Z", "X"})


class Seen(NamedTuple):
    """A process during a walk; `descriptor` is a pidfd that the walk closes."""

    pid: int
    state: str
    descriptor: int


def children_of(pid: int) -> list[int]:
    """The direct children of a process, ended ones that nobody reaped included.

    The kernel's list can miss some while the process forks and reaps: ask until it is empty, and
    believe `waitpid` alone that there is none.
    """
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb", buffering=0) as file:
                found += map(int, file.readall().split())
    return found


def sweep(
    spare: Collection[int],
    reaped: Callable[[int, int], None],
    struck: set[int],
    *,
    seconds: float = SWEEP_SECONDS,
) -> bool:
    """Kill and reap direct children of this process until none is left or the time is over.

    Args:
        spare: pids of children that are left alone.
        reaped: is told each child that ended, pid and wait status, spared ones included.
        struck: takes the pids that were killed; who was reaped is taken out by the caller.
        seconds: how long to go on at most.

    Returns:
        Whether nothing is left but what was spared.
    """
    deadline = time.monotonic() + seconds
    own = os.getpid()
    empty = 0
    while True:
        targets = [pid for pid in children_of(own) if pid not in spare]
        for pid in targets:
            struck.add(pid)
            # A child that ended is a zombie until it is reaped below: its pid cannot be another's.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        progress, childless = reap(reaped)
        if childless:
            return True
        empty = empty + 1 if not targets and not progress else 0
        if spare and empty >= EMPTY_LISTS:
            return True
        if time.monotonic() >= deadline:
            return False
        if targets and not progress:
            time.sleep(SWEEP_PAUSE_SECONDS)


def identify_child(pid: int) -> ProcessIdentity:
    """The identity of a child that is not reaped yet, or of this process itself.

    Unlike `pods.scope.identity.identify` it takes a child that has ended already: until it is
    reaped its pid is its own and its line in /proc stands.
    """
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        fields = file.readall().rpartition(b")")[2].split()
    return ProcessIdentity(pid=pid, start_ticks=int(fields[_START_TICKS_FIELD]), boot_id=boot_id())


def reap(reaped: Callable[[int, int], None]) -> tuple[bool, bool]:
    """Reap every child that has ended; returns whether there was one, and whether none is left."""
    progress = False
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return progress, True
        if pid == 0:
            return progress, False
        progress = True
        reaped(pid, status)


def signal_tree(*numbers: int, again: bool = False) -> int:
    """Send signals to every living process below this one; returns how many were reached.

    Args:
        numbers: the signals, in order.
        again: walk until a walk finds nobody new, for signals after which nobody forks.
    """
    reached: set[int] = set()
    living: set[int] = set()

    def send(seen: Seen) -> None:
        if seen.pid in reached:
            return
        with contextlib.suppress(ProcessLookupError):
            for number in numbers:
                signal.pidfd_send_signal(seen.descriptor, number)
            reached.add(seen.pid)
            living.update((seen.pid,) if seen.state not in ENDED_STATES else ())

    for _ in range(MAX_WALKS if again else 1):
        before = len(reached)
        walk(send)
        if len(reached) == before:
            break
    return len(living)


def count_tree() -> int:
    """How many processes live below this one."""
    count = 0

    def add(seen: Seen) -> None:
        nonlocal count
        count += seen.state not in ENDED_STATES

    walk(add)
    return count


def walk(visit: Callable[[Seen], None]) -> None:
    """Visit every descendant of this process, parents before their children.

    Ended ones too: one whose first thread ended looks like a zombie while its others run.

    A pid read from a list may be another's by the time it is used. So: take its pidfd, read its
    parent, and see that the parent's pidfd still holds. Only then was it a child of one of ours.
    """
    own = os.getpid()
    pending: list[Seen] = []
    _visit_children(own, None, visit, pending)
    try:
        while pending:
            parent = pending.pop()
            try:
                _visit_children(parent.pid, parent.descriptor, visit, pending)
            finally:
                os.close(parent.descriptor)
    finally:
        for seen in pending:
            os.close(seen.descriptor)


def _visit_children(
    parent: int, parent_descriptor: int | None, visit: Callable[[Seen], None], pending: list[Seen]
) -> None:
    for pid in children_of(parent):
        seen = _look(pid, parent)
        if seen is None:
            continue
        if parent_descriptor is not None and not _holds(parent_descriptor):
            os.close(seen.descriptor)
            return
        pending.append(seen)
        visit(seen)


def _look(pid: int, parent: int) -> Seen | None:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # gone, or no descriptor left: a sweep finds it later
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.readall().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        os.close(descriptor)
        return None
    state = fields[_STATE_FIELD].decode()
    if int(fields[_PPID_FIELD]) != parent:
        os.close(descriptor)
        return None
    return Seen(pid, state, descriptor)


def _holds(descriptor: int) -> bool:
    """Whether the process of a pidfd is not reaped yet, so that its pid was its own until now."""
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return False
    return True
