"""What stands behind a pod's own watch over its limits: the kernel's bound on memory, its keeper.

Owns how much one process of a pod may reserve, from the pod's limit on all, and which limits a
keeper sees to. Pure. Used by `pod_start`, `main` and `spare`, and by who explains it.
"""

from __future__ import annotations

from typing import Final

from pods_protocol.values import Limits

BACKSTOP_FACTOR: Final = 1.25
"""RLIMIT_DATA of one process over the pod's limit on the memory of all: the pod's own count is to
be first, since it has a name for what it found."""

BACKSTOP_BYTES: Final = 256 * 1024 * 1024
"""Beside that: what the pod's own interpreter and the stacks of its threads take of RLIMIT_DATA,
which counts what is reserved and not what is used."""


def is_watched(limits: Limits) -> bool:
    """Whether one of these limits is the keeper's to see to where the pod does not."""
    return (
        limits.wall_seconds,
        limits.turn_seconds,
        limits.idle_seconds,
        limits.memory_bytes,
        limits.processes,
    ) != (None,) * 5


def data_ceiling(memory_bytes: int) -> int:
    """RLIMIT_DATA for each process of a pod with this limit on all of them, in bytes."""
    return int(memory_bytes * BACKSTOP_FACTOR) + BACKSTOP_BYTES
