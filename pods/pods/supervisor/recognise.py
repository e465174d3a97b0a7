"""Which pod a process belongs to, by the kernel's word and nobody else's.

Owns that question for a process that is held by a pidfd. Whatever a pod's programs do, they stay
below their keeper: it is their subreaper. So the way up from parent to parent ends at the keeper of
one pod, or of none. A number on that way may become another process's at any moment; hence every
step is proven before the next: the parent is held by a pidfd, and then the child, not reaped yet,
must still name it as its parent. Two processes never have one number at a time, and a child's
parent changes only to a subreaper above it. Changes nothing; used by `authority`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from pods.scope.identity import identify, parent_of
from pods_protocol.values import ProcessIdentity

MAX_STEPS: Final = 256
"""Processes on the way up, and those that had to be asked again because a parent had just ended.
A pod may nest as deep as that; a program below it has to bring its token."""

MAX_INFO_BYTES: Final = 4096


def pod_above(descriptor: int, keepers: Mapping[int, tuple[ProcessIdentity, str]]) -> str | None:
    """The pod that a process belongs to.

    Args:
        descriptor: a pidfd of it; stays open.
        keepers: pid of each living keeper -> its identity and its pod's id.

    Returns:
        The pod's id; None where the process is below no keeper, or was reaped meanwhile.

    Raises:
        CapacityReached, OSError: no descriptor is left to look with.
    """
    held = os.dup(descriptor)
    try:
        for _ in range(MAX_STEPS):
            child = pid_of(held)
            above = None if child is None else parent_of(child)
            if child is None or above is None or above <= 1:
                return None
            try:
                higher = os.pidfd_open(above)
            except ProcessLookupError:
                continue  # it ended since it was named: its child has another parent by now
            if parent_of(child) != above or pid_of(held) is None:
                os.close(higher)
                continue
            os.close(held)
            held = higher
            known = keepers.get(above)
            if known is not None and _is(above, known[0]) and pid_of(held) is not None:
                return known[1]
        return None
    finally:
        os.close(held)


def pid_of(descriptor: int) -> int | None:
    """The number of the process that a pidfd holds; None once it was reaped."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb", buffering=0) as file:
            lines = file.read(MAX_INFO_BYTES).splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"Pid":
            pid = int(value)
            return pid if pid > 0 else None
    return None


def _is(pid: int, identity: ProcessIdentity) -> bool:
    try:
        return identify(pid) == identity
    except ProcessLookupError:
        return False
