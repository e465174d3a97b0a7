"""Landlock, as the kernel offers it: three system calls, through ctypes.

Owns the kernel's constants, its structures and the errors of its calls. Knows nothing of scopes,
pods or baselines: a caller hands it open descriptors and rights. Used by `pods.scope.confine` and
by the keeper's signal domain. A restriction holds for the calling thread and what it forks, so it
belongs in a process that has one thread, right after the fork.

The kernel's interface only grows; what a version offers is asked of it and never inferred from the
kernel's number. Rights above that are masked, because one unknown bit refuses the whole call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from enum import IntFlag
from functools import cache
from typing import Final

CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
"""System call numbers; these three are the same on every architecture."""

_QUERY_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Access(IntFlag):
    """What may be done with files, and from which version on it can be refused."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15
    RESOLVE_UNIX = 1 << 16


class Scoped(IntFlag):
    """What is kept from reaching out of the domain."""

    ABSTRACT_SOCKETS = 1 << 0
    SIGNALS = 1 << 1


NO_ACCESS: Final = Access(0)
NOT_SCOPED: Final = Scoped(0)

_SINCE: Final = (
    (1, Access.REFER - 1),
    (2, Access.REFER),
    (3, Access.TRUNCATE),
    (5, Access.IOCTL_DEV),
    (9, Access.RESOLVE_UNIX),
)
_SCOPES_SINCE: Final = 6
_NET_SINCE: Final = 4
# All file rights and scopes of the kernel's documentation to version 11. 4 and 10 are about ports
# (TCP, UDP), 7 and 10 about what is logged, 8 about a process's other threads, 11 about leaving out
# PR_SET_NO_NEW_PRIVS; none of these is used here. A newer kernel takes the same bits.

FILE_ACCESS: Final = (
    Access.EXECUTE
    | Access.WRITE_FILE
    | Access.READ_FILE
    | Access.TRUNCATE
    | Access.IOCTL_DEV
    | Access.RESOLVE_UNIX
)
"""All that a rule on something other than a directory may name; more is refused as invalid."""

_FILE_BITS: Final = int(FILE_ACCESS)


class LandlockError(OSError):
    """A Landlock call failed: `errno`, what was tried, and `filename` where it was about a path."""


@cache
def abi_version() -> int:
    """The version that this kernel offers; 0 where it has none or has it turned off.

    Asked once, in the process that all pods fork from: it lasts as long as the machine is up.
    """
    version = int(
        _libc.syscall(
            ctypes.c_long(CREATE_RULESET),
            ctypes.c_void_p(None),
            ctypes.c_long(0),
            ctypes.c_long(_QUERY_VERSION),
        )
    )
    return max(version, 0)


def known_access(abi: int) -> Access:
    """The file rights that a version can refuse."""
    known = 0
    for since, access in _SINCE:
        if abi >= since:
            known |= access
    return Access(known)


def known_scopes(abi: int) -> Scoped:
    """The scopes that a version can keep."""
    if abi < _SCOPES_SINCE:
        return NOT_SCOPED
    return Scoped.ABSTRACT_SOCKETS | Scoped.SIGNALS


class Ruleset:
    """A set of rules in the making: everything it handles is refused but for what is allowed.

    A context manager; the descriptor is closed at its end, whatever happened.

    Args:
        access: the file rights to refuse; those that `abi` does not know are left out.
        scoped: what to keep inside; left out alike.
        abi: the version to speak.

    Raises:
        LandlockError: the kernel has no Landlock, or takes no such set.
    """

    def __init__(self, access: Access, scoped: Scoped, *, abi: int) -> None:
        self.access = access & known_access(abi)
        self.scoped = scoped & known_scopes(abi)
        # A pod makes some thirty rules, and the operators of a Flag are functions of Python.
        self._bits = int(self.access)
        fields = struct.pack("=QQQ", self.access, 0, self.scoped)
        # An older kernel takes a longer structure only if its tail is zero; this is never longer.
        size = 24 if abi >= _SCOPES_SINCE else 16 if abi >= _NET_SINCE else 8
        self._descriptor = _call(
            "landlock_create_ruleset",
            CREATE_RULESET,
            ctypes.c_char_p(fields),
            ctypes.c_long(size),
            ctypes.c_long(0),
        )

    @property
    def descriptor(self) -> int:
        """Of the set; -1 once it is closed."""
        return self._descriptor

    def __enter__(self) -> Ruleset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def allow(self, descriptor: int, path: str, access: Access) -> int:
        """Allow something on what a descriptor stands for, and on all below it if a directory.

        Args:
            descriptor: opened with O_PATH; the rule binds to what it is, not to its name.
            path: for the message.
            access: what to allow; what this set does not refuse, or what is meaningless for this
                type of file, is left out.

        Returns:
            What was allowed, bits of `Access`.

        Raises:
            LandlockError: refused.
        """
        granted = int(access) & self._bits
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            granted &= _FILE_BITS
        if not granted:
            return granted  # the kernel calls a rule that allows nothing an error (ENOMSG)
        fields = struct.pack("=Qi", granted, descriptor)
        _call(
            "landlock_add_rule",
            ADD_RULE,
            ctypes.c_long(self._descriptor),
            ctypes.c_long(_RULE_PATH_BENEATH),
            ctypes.c_char_p(fields),
            ctypes.c_long(0),
            path=path,
        )
        return granted

    def restrict_self(self) -> None:
        """Hold the calling thread and everything it forks to this set, for ever.

        Raises:
            LandlockError: refused; E2BIG where sixteen sets hold already.
        """
        set_no_new_privileges()
        _call(
            "landlock_restrict_self",
            RESTRICT_SELF,
            ctypes.c_long(self._descriptor),
            ctypes.c_long(0),
        )

    def close(self) -> None:
        """Close the descriptor; what is restricted stays so. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def set_no_new_privileges() -> None:
    """Let no program that this process starts gain rights by setuid; the kernel asks for it.

    Raises:
        LandlockError: refused.
    """
    zero = ctypes.c_ulong(0)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero):
        raise _error("prctl(PR_SET_NO_NEW_PRIVS)", ctypes.get_errno(), None)


def _call(what: str, number: int, *arguments: object, path: str | None = None) -> int:
    # Numbers go as c_long: ctypes would pass them as int and leave the upper half to chance.
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise _error(what, ctypes.get_errno(), path)
    return result


def _error(what: str, code: int, path: str | None) -> LandlockError:
    why = {
        errno.ENOSYS: "this kernel has no Landlock",
        errno.EOPNOTSUPP: "Landlock is built into this kernel and turned off at boot",
        errno.E2BIG: "sixteen layers of Landlock hold this process already",
    }.get(code, os.strerror(code))
    if path is None:
        return LandlockError(code, f"{what}: {why}")
    return LandlockError(code, f"{what}: {why}", path)
