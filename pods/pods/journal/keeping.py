"""Keeping a long journal short to open and bounded to store: snapshots, rotation, retention.

Owns when each is due and in which order they reach the disk. A crash or a refusal between any two
steps leaves a journal that opens: what comes later is derived from what came before, and nothing is
taken before what replaces it is synced. Called by `store` when an append finds the file long
enough; most pods never get there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple

from pods.folds import Fold
from pods.journal.files import FileOperations
from pods.journal.opening import WRITE_FLAGS
from pods.journal.retention import Extent, Retention, count_expired
from pods.journal.segments import Files, Segment, segment_path, sync_directory
from pods.journal.snapshots import write_snapshot

KEPT_BOUNDARIES: Final = 2
"""Snapshots that a segment begins with and that are kept: the newest, which is what is left of all
that retention took, and the one before it, in case that one is damaged."""


class NewSegment(NamedTuple):
    """The file that is written from here on; `synced` is whether its name is on the disk."""

    path: str
    descriptor: int
    synced: bool


class Keeper:
    """What a writer's journal consists of, and its upkeep.

    Args:
        directory: the journal's.
        fold: what snapshots are made of.
        files: what is there.
        operations: the system calls.
        clock: seconds since the epoch.
        retention: what is kept.
    """

    def __init__(
        self,
        directory: str,
        fold: Fold,
        files: Files,
        operations: FileOperations,
        clock: Callable[[], float],
        retention: Retention,
    ) -> None:
        self._directory = directory
        self._fold = fold
        self._segments = files.segments
        self._snapshots = files.snapshots
        self._operations = operations
        self._clock = clock
        self._retention = retention

    def take_snapshot(self, seq: int, time: float, *, durable: bool = False) -> int:
        """Write what follows from all events up to `seq`; the one in between before it goes.

        Returns:
            Its size in bytes.

        Raises:
            OSError: the disk refuses.
        """
        snapshot, size = write_snapshot(
            self._directory, self._fold, seq, time, self._operations, durable=durable
        )
        for stale in self._snapshots:
            if stale.seq > seq:  # of events that a power cut took
                self._remove(stale.path)
        self._snapshots = [one for one in self._snapshots if one.seq < seq] + [snapshot]
        self._drop_snapshots()
        return size

    def _drop_snapshots(self) -> None:
        """Keep the newest, and the newest of those that a segment begins with."""
        firsts = {segment.first for segment in self._segments}
        boundaries = [one for one in self._snapshots if one.seq + 1 in firsts]
        kept = {*boundaries[-KEPT_BOUNDARIES:], self._snapshots[-1]}
        for snapshot in self._snapshots:
            if snapshot not in kept:
                self._remove(snapshot.path)
        self._snapshots = [one for one in self._snapshots if one in kept]

    def rotate(self, descriptor: int, seq: int, time: float) -> tuple[NewSegment, int]:
        """Begin the next segment, and take away what retention does not keep.

        In this order: the old segment is synced, so that a new one never stands behind a hole; the
        snapshot is, which is all that will be left of what is taken; the new file is made, from
        when on it is the one that is written, whatever fails afterwards; their names are synced;
        then the oldest go.

        Args:
            descriptor: of the segment that is full.
            seq, time: of its last event.

        Returns:
            The new segment, and the size of the snapshot.

        Raises:
            OSError: the disk refuses; the old segment is the one that is written, as before.
        """
        operations = self._operations
        operations.sync(descriptor)
        size = self.take_snapshot(seq, time, durable=True)
        path = segment_path(self._directory, seq + 1)
        made = operations.open(path, WRITE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        self._segments.append(Segment(seq + 1, path))
        try:
            sync_directory(self._directory, operations)
        except OSError:
            return NewSegment(path, made, synced=False), size  # the next durable append tries again
        self._drop_snapshots()
        self._trim()
        return NewSegment(path, made, synced=True), size

    def _trim(self) -> None:
        retention = self._retention
        if retention.max_bytes is None and retention.max_age_seconds is None:
            return
        with contextlib.suppress(OSError):  # what stays now goes at the next rotation
            found = [os.stat(segment.path) for segment in self._segments]
            extents = [Extent(one.st_size, one.st_mtime) for one in found]
            for _ in range(count_expired(extents, retention, self._clock())):
                # The oldest first, so that a crash leaves no hole.
                self._operations.unlink(self._segments[0].path)
                del self._segments[0]

    def _remove(self, path: str) -> None:
        with contextlib.suppress(OSError):  # one too many harms nobody
            self._operations.unlink(path)
