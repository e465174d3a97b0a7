"""What a process of root gives up before it is held: the capabilities that reach past the holding.

Owns their list and the giving up. Landlock does not ask capabilities, but parts of the kernel ask
them before it: `CAP_PERFMON` or `CAP_SYS_ADMIN` alone show every process's environment in /proc. A
user who is not root has none of them, and nothing happens. Used by `confine`, before the rest.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Collection, Iterable, Mapping
from typing import Final

_VERSION: Final = 0x20080522
_HEADER: Final = "=Ii"
_SETS: Final = "=6I"

_PR_CAPBSET_DROP: Final = 24

GIVEN_UP: Final = {
    "DAC_READ_SEARCH": 2,
    "SYS_MODULE": 16,
    "SYS_RAWIO": 17,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "SYS_BOOT": 22,
    "SYS_TIME": 25,
    "MAC_OVERRIDE": 32,
    "MAC_ADMIN": 33,
    "SYSLOG": 34,
    "PERFMON": 38,
    "BPF": 39,
}
"""Over the kernel, over other processes and past file systems. What package managers and compilers
need of root (owners, modes, ids, low ports) stays."""

NETWORKS: Final = {"NET_ADMIN": 12}
"""Over every network of the machine, also from within another one: who may put an interface into
the machine's own network from there has a way out to it. What a pod has no use for in its own."""

CAPABILITIES: Final = 64
"""Numbers that the kernel's sets have room for; it knows forty of them today."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def give_up(given_up: Mapping[str, int] = GIVEN_UP) -> None:
    """Take the list out of this process's sets and out of what a program may get by exec.

    Args:
        given_up: name -> number.

    Raises:
        OSError: the kernel refused.
    """
    header = _header()
    sets = ctypes.create_string_buffer(struct.calcsize(_SETS))
    if _libc.capget(header, sets):
        raise _error("capget")
    low, high = _masks(given_up.values())
    words = struct.unpack(_SETS, sets.raw)
    # Effective, permitted and inheritable of the lower 32, then of the upper.
    kept = [word & ~(low if at < 3 else high) for at, word in enumerate(words)]
    if kept == list(words):
        return
    _shrink_bound(given_up.values())
    wanted = ctypes.create_string_buffer(struct.pack(_SETS, *kept))
    if _libc.capset(header, wanted):
        raise _error("capset")


def give_up_all() -> None:
    """Keep none, in this process and in what it starts: what a user namespace gives is all of them.

    Raises:
        OSError: the kernel refused.
    """
    _shrink_bound(range(CAPABILITIES))
    nothing = ctypes.create_string_buffer(struct.calcsize(_SETS))
    if _libc.capset(_header(), nothing):
        raise _error("capset")


def _header() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack(_HEADER, _VERSION, 0))


def _shrink_bound(numbers: Iterable[int]) -> None:
    zero = ctypes.c_ulong(0)
    for number in numbers:
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), zero, zero, zero):
            code = ctypes.get_errno()
            # EINVAL: an older kernel has no such capability. EPERM: we may not shrink the bound,
            # but gain nothing by exec either, once no new privileges are to be had.
            if code not in (errno.EINVAL, errno.EPERM):
                raise _error("prctl(PR_CAPBSET_DROP)")


def _masks(numbers: Collection[int]) -> tuple[int, int]:
    low = sum(1 << number for number in numbers if number < 32)
    high = sum(1 << (number - 32) for number in numbers if number >= 32)
    return low, high


def _error(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")
