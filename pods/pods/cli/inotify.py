"""Waiting until something in a directory changes, without looking again and again.

Owns the three system calls of inotify that the standard library does not have. Linux alone.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final, Self

_MODIFY: Final = 0x2
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_CLOEXEC: Final = 0o2000000

READ_BYTES: Final = 64 * 1024
"""One read of what has happened: a thousand changes; what they were is not looked at."""


class Watch:
    """A watch on the entries of one directory; a context manager.

    Args:
        directory: it exists.

    Raises:
        OSError: it cannot be watched.
    """

    def __init__(self, directory: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _checked(libc.inotify_init1(_CLOEXEC))
        try:
            mask = _MODIFY | _MOVED_TO | _CREATE
            _checked(libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask))
        except OSError:
            os.close(self._descriptor)
            raise

    def wait(self) -> None:
        """Return once something has changed since the watch began or since the last wait."""
        os.read(self._descriptor, READ_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
