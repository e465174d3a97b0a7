"""Hearing of it when files change, without looking again and again.

Owns the three system calls of inotify that the standard library does not have. Linux alone. Used by
`pods audit -f` and by the supervisor, which is told of it where a pod's log grows.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, Self

MODIFY: Final = 0x2
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DONT_FOLLOW: Final = 0x02000000
NONBLOCK: Final = os.O_NONBLOCK
_CLOEXEC: Final = os.O_CLOEXEC

READ_BYTES: Final = 64 * 1024
"""One read of what has happened: some thousand changes."""

_EVENT: Final = struct.Struct("iIII")
"""Which watch, what, and the length of the name that follows."""


class Inotify:
    """Some watches and what has happened to them; a context manager.

    Args:
        flags: `NONBLOCK`, or nothing.

    Attributes:
        descriptor: readable once something has happened.

    Raises:
        OSError: the user has too many of these.
    """

    def __init__(self, flags: int = 0) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = _checked(self._libc.inotify_init1(_CLOEXEC | flags))

    def watch(self, path: str, mask: int) -> int:
        """Watch a file or a directory; returns its number, the same again for the same file.

        Raises:
            OSError: it is not there, or the user has too many watches.
        """
        return _checked(self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask))

    def unwatch(self, number: int) -> None:
        """Watch it no longer; one that is gone by itself is fine."""
        self._libc.inotify_rm_watch(self.descriptor, number)

    def read(self) -> set[int]:
        """The numbers of the watches at which something has happened; -1 is any of them.

        Raises:
            OSError: nothing has happened, where it does not wait for that.
        """
        content = os.read(self.descriptor, READ_BYTES)
        at, found = 0, set[int]()
        while at < len(content):
            number, _, _, length = _EVENT.unpack_from(content, at)
            found.add(number)
            at += _EVENT.size + length
        return found

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
