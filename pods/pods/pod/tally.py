"""Counting processes and their memory, as `/proc` tells.

Owns what is read there to hold a pod to its limits: by the pod's own process, and by its keeper.
Knows neither pods nor limits, and imports next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Collection, Iterator
from typing import Final

PAGE_BYTES: Final = resource.getpagesize()


def tree_below(roots: Collection[int], *, apart: Collection[int] = ()) -> Iterator[int]:
    """The processes of some trees, their roots among them, ended ones that nobody reaped as well.

    Args:
        roots: where to begin.
        apart: processes that are passed over; what is below them is not.
    """
    waiting = list(roots)
    seen: set[int] = set()
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            if pid not in apart:
                yield pid
            waiting += children_of(pid)


def children_of(pid: int) -> list[int]:
    """The direct children of a process, as far as one look shows them."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb", buffering=0) as file:
                found += map(int, file.readall().split())
    return found


def anonymous_bytes(pid: int) -> int | None:
    """What a process has in memory that is of no file; None where it has ended."""
    found = _anonymous_bytes(f"/proc/{pid}/statm")
    if found is not None:
        return found
    # The first thread of a process may end before the others: then only those tell.
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found = _anonymous_bytes(f"/proc/{pid}/task/{task}/statm")
            if found is not None:
                return found
    return None


def _anonymous_bytes(path: str) -> int | None:
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        size, resident, shared = map(int, file.readall().split()[:3])
        return (resident - shared) * PAGE_BYTES if size else None
    return None
