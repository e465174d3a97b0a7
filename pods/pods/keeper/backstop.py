"""How much memory the kernel lets one process of a pod reserve, from the pod's limit on all.

Owns that number alone. Pure. Used by `pod_start`, which sets it, and by who explains it.
"""

from __future__ import annotations

from typing import Final

BACKSTOP_FACTOR: Final = 1.25
"""RLIMIT_DATA of one process over the pod's limit on the memory of all: the pod's own count is to
be first, since it has a name for what it found."""

BACKSTOP_BYTES: Final = 256 * 1024 * 1024
"""Beside that: what the pod's own interpreter and the stacks of its threads take of RLIMIT_DATA,
which counts what is reserved and not what is used."""


def data_ceiling(memory_bytes: int) -> int:
    """RLIMIT_DATA for each process of a pod with this limit on all of them, in bytes."""
    return int(memory_bytes * BACKSTOP_FACTOR) + BACKSTOP_BYTES
