"""The one writer of a journal.

Owns the lock that makes a second writer impossible, the numbering, the clock of events, the flush
of each append and what happens when the disk refuses. Knows nothing of subscribers: whoever wants
to hear of new events adds a callback to `on_append`. Not for several threads. Used by the pod while
it lives, and by the keeper or the supervisor to write the end of one that no longer does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pods.journal.events import decode_event, encode_parts
from pods.journal.files import FileOperations, SystemFiles
from pods.journal.fold import PodFold
from pods.journal.lines import iterate_lines
from pods.journal.segments import (
    LOCK_NAME,
    Segment,
    damaged,
    failed,
    list_segments,
    segment_path,
)
from pods_protocol.errors import PodRunning, StorageFailed
from pods_protocol.events import Event

Item: TypeAlias = tuple[str, Mapping[str, Any], int | None]
"""Kind, data and turn of an event to be."""

OnAppend: TypeAlias = Callable[[Sequence[Event], Sequence[bytes]], None]
"""Told of each append, after it is in the file and in the fold: the events and their lines (without
newlines). It must not raise."""

_SYSTEM_FILES: Final = SystemFiles()


class Journal:
    """A journal opened for writing; make one with `open`.

    Attributes:
        directory: where it lies.
        fold: the state that follows from all of it.
        last_seq: the newest event; 0 in an empty journal.
        on_append: what is called after each append.
    """

    def __init__(
        self, directory: str, clock: Callable[[], float], files: FileOperations, lock: int
    ) -> None:
        self.directory = directory
        self.fold = PodFold()
        self.last_seq = 0
        self.on_append: list[OnAppend] = []
        self._clock = clock
        self._files = files
        self._write = files.write
        self._lock = lock
        self._descriptor = -1
        self._path = ""
        self._size = 0
        self._dirty = False
        """The file may be longer than `_size`: a write failed and so did undoing it."""
        self._unsynced_directory = False
        self._notes_to_self: list[Item] = []

    @classmethod
    def open(
        cls,
        directory: str,
        *,
        clock: Callable[[], float] = time.time,
        file_operations: FileOperations = _SYSTEM_FILES,
    ) -> Journal:
        """Open the journal in `directory` for writing; both are made if they are not there.

        A last line that a crash tore is cut off, and a `warning` event says so.

        Args:
            directory: made 0700; the files in it are 0600.
            clock: seconds since the epoch.
            file_operations: the system calls, for tests of failing disks.

        Raises:
            PodRunning: another writer has it.
            StorageFailed: the disk refuses, or the journal is damaged before its last line.
        """
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            lock = os.open(f"{directory}/{LOCK_NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise failed("open", directory, error) from error
        journal = cls(directory, clock, file_operations, lock)
        try:
            journal._take_lock()
            journal._load()
        except BaseException:
            journal.close()
            raise
        return journal

    def _take_lock(self) -> None:
        # flock and not filelock: every pod carries this import, and the lock must last as long as
        # the process, whatever becomes of the Python object. The file is never unlinked, because
        # that would let two writers each lock a file of that name.
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise failed("lock", self.directory, error) from error
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise PodRunning(
                f"cannot write the journal in {self.directory}: the process {holder} is its "
                "writer; stop that pod first",
                path=self.directory,
                holder=holder,
            ) from None
        with contextlib.suppress(OSError):  # it is for that message alone; the disk may be full
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def _load(self) -> None:
        """Replay every segment, then stand at the end of the last one."""
        segments = list_segments(self.directory) or [Segment(1, segment_path(self.directory, 1))]
        self.last_seq = segments[0].first - 1
        for segment in segments:
            if segment.first != self.last_seq + 1:
                raise damaged(
                    self._path,
                    self._size,
                    f"event {self.last_seq + 1} should follow, and the next file begins with "
                    f"{segment.first}",
                )
            self._open_segment(segment.path)
            self._replay(segment, is_last=segment is segments[-1])
        self.fold.last_seq = self.last_seq

    def _open_segment(self, path: str) -> None:
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            try:
                self._descriptor = self._files.open(path, flags, 0o600)
            except FileNotFoundError:
                self._descriptor = self._files.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
                self._unsynced_directory = True
        except OSError as error:
            raise failed("open", path, error) from error
        self._path = path
        self._size = 0

    def _replay(self, segment: Segment, *, is_last: bool) -> None:
        size = os.fstat(self._descriptor).st_size
        fault: str | None = None
        for offset, line in iterate_lines(self._descriptor, segment.path, 0, size):
            if fault is not None:
                raise damaged(segment.path, self._size, fault)
            try:
                event = decode_event(line)
            except ValueError as error:
                fault = f"this is no event ({error})"
                continue
            if event.seq != self.last_seq + 1:
                raise damaged(
                    segment.path,
                    offset,
                    f"event {self.last_seq + 1} should stand here, and it is {event.seq}",
                )
            self.fold.apply(event)
            self.last_seq = event.seq
            self._size = offset + len(line) + 1
        if self._size == size:
            return
        if not is_last:
            raise damaged(segment.path, self._size, fault or "its last line is cut short")
        self._cut_torn_tail(size)

    def _cut_torn_tail(self, size: int) -> None:
        try:
            self._files.truncate(self._descriptor, self._size)
        except OSError as error:
            raise failed("repair", self._path, error) from error
        self._notes_to_self.append(
            (
                "warning",
                {
                    "code": "torn_tail",
                    "message": "the journal's last line was cut short by a crash: "
                    f"{size - self._size} bytes after event {self.last_seq} were dropped",
                },
                None,
            )
        )
        with contextlib.suppress(StorageFailed):  # a full disk: it goes before the next append
            self.append_many(())

    def append(
        self,
        type: str,  # noqa: A002 - the field's name in the event, and nothing here needs the builtin
        data: Mapping[str, Any],
        *,
        turn: int | None = None,
        durable: bool = False,
    ) -> Event:
        """Write one event and flush it to the system.

        Args:
            type: its kind.
            data: what the kind carries; not to be changed afterwards.
            turn: the turn it belongs to.
            durable: wait until the disk has it, and everything before it.

        Raises:
            StorageFailed: the disk refuses; nothing was written, and a later append may succeed.
            InvalidParams: `data` cannot be JSON.
            TooLarge: over `MAX_EVENT_BYTES`.
        """
        return self.append_many(((type, data, turn),), durable=durable)[0]

    def append_many(self, items: Sequence[Item], *, durable: bool = False) -> list[Event]:
        """Write events with one write (and one sync): all of them, or none.

        Raises:
            StorageFailed: as `append`.
            InvalidParams: as `append`.
            TooLarge: as `append`.
        """
        noted = len(self._notes_to_self)
        if noted:
            items = [*self._notes_to_self, *items]
        events: list[Event] = []
        lines: list[bytes] = []
        seq = self.last_seq
        now = max(self._clock(), self.fold.last_time)  # a clock set back must not reorder events
        for kind, given, turn in items:
            seq += 1
            data = dict(given)
            lines.append(encode_parts(seq, now, turn, kind, data))
            events.append(Event(seq=seq, time=now, turn=turn, type=kind, data=data))
        if events:
            self._append_bytes(
                lines[0] + b"\n" if len(lines) == 1 else b"\n".join((*lines, b"")), durable
            )
            self.last_seq = seq
            apply = self.fold.apply
            for event in events:
                apply(event)
            if noted:
                self._notes_to_self.clear()
            for callback in self.on_append:
                callback(events, lines)
        elif durable:
            self.sync()
        return events[noted:] if noted else events

    def _append_bytes(self, data: bytes, durable: bool) -> None:
        if self._dirty or self._descriptor < 0:
            self._mend()
        try:
            written = self._write(self._descriptor, data)
            while written < len(data):
                # The system took a part: the rest fits, or says why not.
                written += self._write(self._descriptor, data[written:])
            if durable:
                self._sync()
        except OSError as error:
            self._dirty = True
            with contextlib.suppress(StorageFailed):  # the next append tries again
                self._mend()
            raise failed("write", self._path, error) from error
        self._size += len(data)

    def _mend(self) -> None:
        """Cut what a failed write left, so that the next line begins where one may."""
        if self._descriptor < 0:
            raise StorageFailed(
                f"cannot write the journal in {self.directory}: it is closed; open it again",
                path=self.directory,
                errno=errno.EBADF,
            )
        try:
            self._files.truncate(self._descriptor, self._size)
        except OSError as error:
            raise failed("repair", self._path, error) from error
        self._dirty = False

    def sync(self) -> None:
        """Wait until the disk has everything that was appended.

        Raises:
            StorageFailed: it refuses.
        """
        if self._descriptor < 0:
            return
        try:
            self._sync()
        except OSError as error:
            raise failed("sync", self._path, error) from error

    def _sync(self) -> None:
        self._files.sync(self._descriptor)
        if self._unsynced_directory:
            # Once: the name of a new file is the directory's content, not its own.
            directory = self._files.open(
                self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0
            )
            try:
                self._files.sync(directory)
            finally:
                self._files.close(directory)
            self._unsynced_directory = False

    def close(self) -> None:
        """Close the file and let go of the lock; idempotent. Nothing is synced."""
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
