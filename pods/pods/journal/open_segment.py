"""The one file of a journal that is being written.

Owns where its next line belongs, its room (`filling`), what becomes of a write that failed, and
whether the disk has its name. Knows no events. Called by `store`, which holds the lock.
"""

from __future__ import annotations

import contextlib
import errno
import os

from pods.journal.files import FileOperations
from pods.journal.filling import BLOCK_BYTES, MAX_FILLED_BYTES, SPACES
from pods.journal.segments import failed, sync_directory
from pods_protocol.errors import StorageFailed


class OpenSegment:
    """A segment, open for writing.

    Args:
        path: where it lies.
        descriptor: of it; closed by `close`.
        operations: the system calls.
        size: where the next line belongs.
        filled: where the file ends: from `size` on there are spaces at most.
        named: whether its name is on the disk.

    Attributes:
        descriptor: as given; -1 once it is closed.
        size: as given, and on.
        dirty: after `size` there may be other things: a write failed and so did undoing it.
    """

    def __init__(
        self,
        path: str,
        descriptor: int,
        operations: FileOperations,
        *,
        size: int = 0,
        filled: int = 0,
        named: bool,
    ) -> None:
        self.descriptor = descriptor
        self.size = size
        self.dirty = False
        self._path = path
        self._files = operations
        self._write = operations.write
        self._filled = filled
        self._named = named
        self._writer = os.getpid()

    def append(self, data: bytes, durable: bool) -> None:
        """Write whole lines, and wait until the disk has them where they are `durable`.

        Raises:
            StorageFailed: the system refuses, it is closed, or this is a fork of its writer, which
                would write over what that has written since; nothing was written.
        """
        if os.getpid() != self._writer:
            raise StorageFailed(
                f"cannot write {self._path}: this process is a fork of the one that writes it; "
                "leave a fork by `os._exit`, or start a program instead",
                path=self._path,
                errno=None,
            )
        if self.dirty or self.descriptor < 0:
            self.cut()
        start = self.size
        end = filled = start + len(data)
        if end <= self._filled:
            filled = self._filled
        elif len(data) <= MAX_FILLED_BYTES:
            room = -end % BLOCK_BYTES
            data += SPACES[:room]
            filled += room
        try:
            written = self._write(self.descriptor, data, start)
            while written < len(data):
                # The system took a part: the rest fits, or says why not.
                written += self._write(self.descriptor, data[written:], start + written)
            if durable:
                self._sync()
        except OSError as error:
            self.dirty = True
            with contextlib.suppress(StorageFailed):  # the next append tries again
                self.cut()
            raise failed("write", self._path, error) from error
        self.size = end
        self._filled = filled

    def cut(self) -> None:
        """Have the file end with its last line, so that the next one begins where one may.

        Raises:
            StorageFailed: the system refuses, or it is closed.
        """
        if self.descriptor < 0:
            directory = os.path.dirname(self._path)
            raise StorageFailed(
                f"cannot write the journal in {directory}: it is closed; open it again",
                path=directory,
                errno=errno.EBADF,
            )
        try:
            self._files.truncate(self.descriptor, self.size)
        except OSError as error:
            raise failed("repair", self._path, error) from error
        self._filled = self.size
        self.dirty = False

    def sync(self) -> None:
        """Wait until the disk has everything that was appended.

        Raises:
            StorageFailed: it refuses.
        """
        if self.descriptor < 0:
            return
        try:
            self._sync()
        except OSError as error:
            raise failed("sync", self._path, error) from error

    def _sync(self) -> None:
        self._files.sync(self.descriptor)
        if not self._named:
            # Once: the name of a new file is the directory's content, not its own.
            sync_directory(os.path.dirname(self._path), self._files)
            self._named = True

    def close(self) -> None:
        """Close the file, which then ends with its last line; idempotent. Nothing is synced.

        A fork of the writer (an agent's, that ends by an exception, say) leaves the file as it is:
        what the writer has appended since is none of its own.
        """
        if self.descriptor < 0:
            return
        if (self._filled > self.size or self.dirty) and os.getpid() == self._writer:
            with contextlib.suppress(StorageFailed):  # whoever opens it next knows what is no line
                self.cut()
        self._files.close(self.descriptor)
        self.descriptor = -1
