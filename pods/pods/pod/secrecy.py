"""Keeps a pod's memory from the programs that it runs: they are of the same user.

Owns one call. `/proc/PID/mem` and `/proc/PID/environ` of a process that is not dumpable belong to
root; a program that the pod starts is dumpable again, so debugging in there works as ever. Where
pods run as root, this changes nothing that root may do. Called by `main` where an agent has
secrets.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

PR_SET_DUMPABLE: Final = 4


def keep_memory_private() -> None:
    """Make this process one that others of its user cannot look into.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
