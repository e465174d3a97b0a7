"""Opening a journal for writing: the newest snapshot, then every event after it.

Owns the replay and what it refuses: a hole, a damaged line, a torn one that is not the last. What
lies before the snapshot is not looked at; readers check what they read. Changes no file but to
make the first one. Called by `store`, which holds the lock.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Final, NamedTuple

from pods.folds import Fold
from pods.journal.events import decode_event
from pods.journal.files import FileOperations
from pods.journal.filling import cut_short
from pods.journal.lines import iterate_lines
from pods.journal.segments import (
    READ_FLAGS,
    Files,
    Segment,
    damaged,
    failed,
    list_files,
    segment_path,
)

WRITE_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
"""A supervisor writes the end of a dead pod's journal, in a directory that the pod could write in:
a link that the pod left there must not lead it elsewhere."""


class Opened(NamedTuple):
    """Where the writer stands.

    Attributes:
        files: segments and snapshots; the last segment is the one to write.
        descriptor: of that, open for writing.
        created: it was made here, and its name is not synced.
        last_seq, last_time: of the newest event.
        size: where the next line belongs.
        filled: where the file ends: after that there are spaces at most.
        torn: bytes after `size` of a line that a crash cut short.
        replayed: bytes of this segment that came after the snapshot.
        complaints: what is to be told of the snapshots.
    """

    files: Files
    descriptor: int
    created: bool
    last_seq: int
    last_time: float
    size: int
    filled: int
    torn: int
    replayed: int
    complaints: tuple[str, ...]


def open_segments(directory: str, fold: Fold, operations: FileOperations) -> Opened:
    """Replay what is there into a new fold, and open the last segment.

    Raises:
        StorageFailed: the disk refuses, or what is to be replayed is damaged before its last line.
    """
    files = list_files(directory)
    seq, time, number, offset = 0, 0.0, 0, 0
    complaints: tuple[str, ...] = ()
    if not files.segments:
        after = files.snapshots[-1].seq if files.snapshots else 0
        files.segments.append(Segment(after + 1, segment_path(directory, after + 1)))
    if files.snapshots or files.segments[0].first > 1:
        # Imported by those who need it: most pods open an empty journal.
        from pods.journal.snapshots import restore_newest

        seq, time, number, offset, complaints = restore_newest(files, fold)
    replay = _Replay(fold, seq, time)
    segments = files.segments
    descriptor, created, torn = -1, False, 0
    begin = number
    for number in range(begin, len(segments)):
        segment = segments[number]
        is_last = number == len(segments) - 1
        if segment.first != replay.seq + 1 and number > begin:
            raise damaged(
                segments[number - 1].path,
                replay.size,
                f"event {replay.seq + 1} should follow, and the next file begins with "
                f"{segment.first}",
            )
        descriptor, created = _open(segment.path, operations, to_write=is_last)
        try:
            torn = replay.run(descriptor, segment, offset if number == begin else 0, is_last)
        except BaseException:
            operations.close(descriptor)
            raise
        if not is_last:
            operations.close(descriptor)
    start = offset if begin == len(segments) - 1 else 0
    return Opened(
        files=files,
        descriptor=descriptor,
        created=created,
        last_seq=replay.seq,
        last_time=replay.time,
        size=replay.size,
        filled=replay.filled,
        torn=torn,
        replayed=replay.size - start,
        complaints=complaints,
    )


def _open(path: str, operations: FileOperations, *, to_write: bool) -> tuple[int, bool]:
    """The descriptor, and whether the file was made."""
    try:
        if not to_write:
            return operations.open(path, READ_FLAGS, 0o600), False
        with contextlib.suppress(FileNotFoundError):
            return operations.open(path, WRITE_FLAGS, 0o600), False
        return operations.open(path, WRITE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600), True
    except OSError as error:
        raise failed("open", path, error) from error


class _Replay:
    """A fold on its way through the segments; `size` is of the lines that count in the newest."""

    def __init__(self, fold: Fold, seq: int, time: float) -> None:
        self.fold = fold
        self.seq = seq
        self.time = time
        self.size = 0
        self.filled = 0

    def run(self, descriptor: int, segment: Segment, start: int, is_last: bool) -> int:
        """Take in what one segment has from `start` on.

        Returns:
            How many bytes after the last whole event are of one that was cut short.
        """
        self.size = start
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise damaged(segment.path, 0, "this is no file")
        self.filled = size = about.st_size
        fault: str | None = None
        apply = self.fold.apply
        for offset, line in iterate_lines(descriptor, segment.path, start, size):
            if fault is not None:
                raise damaged(segment.path, self.size, fault)
            try:
                event = decode_event(line)
            except ValueError as error:
                fault = f"this is no event ({error})"
                continue
            if event.seq != self.seq + 1:
                raise damaged(
                    segment.path,
                    offset,
                    f"event {self.seq + 1} should stand here, and it is {event.seq}",
                )
            apply(event)
            self.seq = event.seq
            self.time = event.time
            self.size = offset + len(line) + 1
        if self.size == size:
            return 0
        if not is_last:
            raise damaged(segment.path, self.size, fault or "its last line is cut short")
        return cut_short(descriptor, segment.path, self.size, size)
