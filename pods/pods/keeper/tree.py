"""A tree of processes below this one: found, signalled, killed until none is left.

Owns every signal that pods sends to what it did not fork itself, but for those of a signal domain
(`domain`), which need no tree. Two ways in: a *sweep* kills and
reaps direct children, which cannot be anybody else's because an unreaped child keeps its pid; a
*walk* reaches further down and therefore proves each process before it is signalled, with a pidfd.
This process must be a subreaper: then what loses its parent becomes a direct child, and a sweep
that goes on until there is none has got everything. Used by keeper and launcher; knows nothing of
pods.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from pods.descriptors import is_out_of_descriptors
from pods.scope.identity import boot_id
from pods_protocol.values import ProcessIdentity

SWEEP_SECONDS: Final = 0.25
"""A sweep at one go; then the owner's loop gets its turn. Sixteen processes that fork as fast as
they can took 3 ms in the median and 19 ms at most (ISOLATION.md section 4)."""

SWEEP_PAUSE_SECONDS: Final = 0.0005
"""Between two rounds of a sweep in which nothing could be reaped: a killed process needs a moment
to end, and this is long enough not to take the processor from it."""

MAX_REAPED: Final = 256
"""Children reaped at one go, in about a millisecond. Programs that fork and end faster than that
would otherwise keep their keeper from hearing that they are to be killed."""

EMPTY_LISTS: Final = 2
"""Empty lists in a row that a sweep believes where it may not wait for `waitpid` to say so, because
spared children live: the kernel's list can miss one that another's end moves while it is read."""

MAX_WALKS: Final = 8
"""Walks in a row until one finds nobody new. What forks faster than eight walks is hostile, and
only a kill is meant to hold against that."""

WALK_SECONDS: Final = 1.0
"""For all walks of one act. Four thousand quiet processes take a third of that; what forks while it
is walked leaves ever more ended ones to look at, and nobody reaps them meanwhile."""

COUNT_SECONDS: Final = 0.5
"""For a number that people look at. A keeper that goes on counting does not hear what to kill."""

MAX_STAT_BYTES: Final = 4096
"""`/proc/PID/stat` is some 300 bytes; one read takes it whole."""

_PPID_FIELD: Final = 1
_STATE_FIELD: Final = 0
_THREADS_FIELD: Final = 17
_START_TICKS_FIELD: Final = 19
ENDED_STATES: Final = frozenset({b"Z", b"X"})


class Reaped(NamedTuple):
    """What came of a look for children that have ended.

    Attributes:
        progress: there was one.
        childless: none is left, living or not.
        more: `MAX_REAPED` were reaped, so there may be others: look again, nobody may tell of them.
    """

    progress: bool
    childless: bool
    more: bool = False


class Seen(NamedTuple):
    """A process that a walk found."""

    pid: int
    start_ticks: int
    ended: bool


class _Look(NamedTuple):
    """What /proc says of a process."""

    parent: int
    start_ticks: int
    ended: bool


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
        try:
            targets = [pid for pid in children_of(own) if pid not in spare]
        except OSError as error:
            if not is_out_of_descriptors(error):
                raise
            return False  # nobody can look: the owner tries again
        for pid in targets:
            struck.add(pid)
            # A child that ended is a zombie until it is reaped below: its pid cannot be another's.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        progress, childless, _ = reap(reaped)
        if childless:
            return True
        empty = empty + 1 if not targets and not progress else 0
        if spare and empty >= EMPTY_LISTS:
            return True
        if time.monotonic() >= deadline:
            return False
        if targets and not progress:
            time.sleep(SWEEP_PAUSE_SECONDS)


def reap_all(reaped: Callable[[int, int], None], *, seconds: float = SWEEP_SECONDS) -> bool:
    """Reap children that were killed until none is left or the time is over; whether none is."""
    deadline = time.monotonic() + seconds
    while True:
        progress, childless, _ = reap(reaped)
        if childless or time.monotonic() >= deadline:
            return childless
        if not progress:
            time.sleep(SWEEP_PAUSE_SECONDS)


def identify_child(pid: int) -> ProcessIdentity:
    """The identity of a child that is not reaped yet, or of this process itself.

    Unlike `pods.scope.identity.identify` it takes a child that has ended already: until it is
    reaped its pid is its own and its line in /proc stands.

    Raises:
        ProcessLookupError: there is no such process.
    """
    return identity_from(pid, read_stat(pid))


def read_stat(pid: int) -> bytes:
    """The line of a process in /proc, as it is; empty where there is no such process."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return b""
    try:
        return os.read(descriptor, MAX_STAT_BYTES)
    except ProcessLookupError:
        return b""
    finally:
        os.close(descriptor)


def identity_from(pid: int, line: bytes) -> ProcessIdentity:
    """The identity of the process whose line this is.

    Raises:
        ProcessLookupError: the line is empty.
    """
    look = _understand(line)
    if look is None:
        raise ProcessLookupError(pid, f"cannot identify {pid}: it is no child of this process")
    return ProcessIdentity(pid=pid, start_ticks=look.start_ticks, boot_id=boot_id())


def reap(reaped: Callable[[int, int], None]) -> Reaped:
    """Reap children that have ended, `MAX_REAPED` at most."""
    for number in range(MAX_REAPED):
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return Reaped(progress=number > 0, childless=True)
        if pid == 0:
            return Reaped(progress=number > 0, childless=False)
        reaped(pid, status)
    return Reaped(progress=True, childless=False, more=True)


def signal_tree(*numbers: int, until_still: bool = False) -> int:
    """Send signals to every living process below this one; returns how many were reached.

    All are found before the first is signalled: the children of one that ends move elsewhere.

    Args:
        numbers: the signals, in order.
        until_still: look again until nobody new is found, for a signal after which nobody forks.
    """
    deadline = time.monotonic() + WALK_SECONDS
    reached: set[Seen] = set()
    for _ in range(MAX_WALKS if until_still else 1):
        left = max(0.0, deadline - time.monotonic())
        found = {seen for seen in find_tree(seconds=left) if seen not in reached}
        for seen in found:
            _send(seen, numbers)
        reached |= found
        if not found:
            break
    return len(reached)


def count_tree() -> int:
    """How many processes live below this one; at least so many where they are too many to count."""
    return len(find_tree(seconds=COUNT_SECONDS))


def find_tree(*, seconds: float = WALK_SECONDS) -> set[Seen]:
    """Every living descendant of this process.

    Walks until one finds nobody new: a process that ends meanwhile hands its children to this one,
    behind the walk's back.

    Args:
        seconds: after which what was found must do.
    """
    own = os.getpid()
    deadline = time.monotonic() + seconds
    found: set[Seen] = set()
    for _ in range(MAX_WALKS):
        before = len(found)
        _walk(own, found, deadline)
        if len(found) == before or time.monotonic() >= deadline:
            break
    return {seen for seen in found if not seen.ended}


def _walk(own: int, found: set[Seen], deadline: float) -> None:
    """Add the descendants of `own`; those that are looked at before the deadline.

    A pid read from a list may be another's by the time it is looked at. So the child must name the
    parent as its own, and the parent must be the same process afterwards still; ended ones count
    as parents too, for as long as they still have children.
    """
    pending: list[tuple[int, int | None]] = [(own, None)]
    while pending and time.monotonic() < deadline:
        parent, parent_start = pending.pop()
        children: list[Seen] = []
        for pid in children_of(parent):
            look = _look(pid)
            if look is not None and look.parent == parent:
                children.append(Seen(pid, look.start_ticks, look.ended))
            if time.monotonic() >= deadline:
                break
        if parent_start is not None:
            again = _look(parent)
            if again is None or again.start_ticks != parent_start:
                continue
        found.update(children)
        pending += [(child.pid, child.start_ticks) for child in children]


def _send(seen: Seen, numbers: tuple[int, ...]) -> None:
    try:
        descriptor = os.pidfd_open(seen.pid)
    except OSError:  # it ended, or no descriptor is left: then a sweep must do
        return
    try:
        look = _look(seen.pid)
        # From `pidfd_open` on the descriptor means one process; here it proves to be the right one.
        if look is not None and look.start_ticks == seen.start_ticks:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                for number in numbers:
                    signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def has_ended(pid: int) -> bool:
    """Whether nothing of a process runs any more, reaped or not."""
    look = _look(pid)
    return look is None or look.ended


def _look(pid: int) -> _Look | None:
    return _understand(read_stat(pid))


def _understand(line: bytes) -> _Look | None:
    if not line:
        return None
    fields = line.rpartition(b")")[2].split()
    return _Look(
        parent=int(fields[_PPID_FIELD]),
        start_ticks=int(fields[_START_TICKS_FIELD]),
        # The state is the first thread's, which may end before the others.
        ended=fields[_STATE_FIELD] in ENDED_STATES and int(fields[_THREADS_FIELD]) <= 1,
    )
