"""The system calls of the writer, as one small object that a test or a fault campaign replaces.

Owns nothing but their names. Called by `store`, `opening`, `snapshots`.
"""

from __future__ import annotations

import os
from typing import Protocol


class FileOperations(Protocol):
    """What the writer asks of the system; each raises `OSError` like its namesake in `os`."""

    def open(self, path: str, flags: int, mode: int, /) -> int:
        """Open a segment or a snapshot (or the directory, to sync it)."""
        ...

    def write(self, descriptor: int, data: bytes, offset: int, /) -> int:
        """Write there; may take less than all."""
        ...

    def sync(self, descriptor: int, /) -> None:
        """Return once data and size are on the disk."""
        ...

    def truncate(self, descriptor: int, size: int, /) -> None:
        """Cut the file."""
        ...

    def close(self, descriptor: int, /) -> None:
        """Close it."""
        ...

    def rename(self, path: str, new: str, /) -> None:
        """Give a file its name, in place of what had it."""
        ...

    def unlink(self, path: str, /) -> None:
        """Remove a file."""
        ...


class SystemFiles:
    """The system itself."""

    open = staticmethod(os.open)
    write = staticmethod(os.pwrite)
    sync = staticmethod(getattr(os, "fdatasync", os.fsync))
    truncate = staticmethod(os.ftruncate)
    close = staticmethod(os.close)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
