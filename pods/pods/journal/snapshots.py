"""Snapshots: what follows from a journal up to some event, so that opening need not replay it all.

Owns the file, `<seq>.snapshot`: a line that says what it is, then the memory of the fold as one
JSON object. It is derived, and never believed without a check: it counts if it is whole, if the
fold means the same by it, and if the event it ends with stands in the journal. Written by `store`,
read by whoever opens a journal and by a supervisor that only wants a pod's state.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import orjson

from pods.folds import Fold, meaning, memory, restore
from pods.journal.events import decode_event, peek
from pods.journal.files import FileOperations
from pods.journal.lines import find_line, iterate_lines
from pods.journal.segments import (
    READ_FLAGS,
    TEMPORARY_SNAPSHOT_NAME,
    Files,
    Segment,
    Snapshot,
    list_files,
    snapshot_path,
)
from pods_protocol.errors import StorageFailed

SNAPSHOT_FORMAT: Final = 1

MAX_SNAPSHOT_BYTES: Final = 256 * 1024 * 1024
"""More is never read: a full queue of the largest messages and notes is 180 MiB, a supervisor's
table of 100,000 pods about 100."""


class Unusable(Exception):
    """A snapshot that does not count; its words say why."""


class Stored(NamedTuple):
    """What a snapshot holds: the time is that of its last event."""

    seq: int
    time: float
    meaning: str
    memory: dict[str, Any]


class Start(NamedTuple):
    """Where a replay begins.

    Attributes:
        seq: the last event that the fold has taken account of.
        time: when that was written; 0.0 where none was.
        number: of the segment that the next event is in, from 0.
        offset: where that event's line begins in it.
        complaints: what is to be told: why a snapshot did not count, what is not known any more.
    """

    seq: int
    time: float
    number: int
    offset: int
    complaints: tuple[str, ...]


def write_snapshot(
    directory: str, fold: Fold, seq: int, time: float, files: FileOperations, *, durable: bool
) -> tuple[Snapshot, int]:
    """Write what the fold remembers after the event `seq`; whole, or not at all.

    Args:
        directory: the journal's.
        fold: what to write.
        seq: the last event it has taken account of.
        time: when that was written.
        files: the system calls.
        durable: wait until the disk has its content; its name is the directory's to sync.

    Returns:
        The file, and its size in bytes.

    Raises:
        OSError: the disk refuses.
        TypeError: the fold has something that is not declared, or cannot be JSON: a bug of ours.
    """
    body = orjson.dumps(memory(fold), option=orjson.OPT_NON_STR_KEYS)
    head = {
        "format": SNAPSHOT_FORMAT,
        "meaning": meaning(fold),
        "seq": seq,
        "time": time,
        "size": len(body),
        "digest": _digest(body),
    }
    data = b"%b\n%b\n" % (orjson.dumps(head), body)
    temporary = f"{directory}/{TEMPORARY_SNAPSHOT_NAME}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = files.open(temporary, flags, 0o600)
    try:
        try:
            written = 0
            while written < len(data):
                written += files.write(descriptor, data[written:] if written else data, written)
            if durable:
                files.sync(descriptor)
        finally:
            files.close(descriptor)
        snapshot = Snapshot(seq, snapshot_path(directory, seq))
        files.rename(temporary, snapshot.path)
    except OSError:
        with contextlib.suppress(OSError):  # the next one overwrites it
            files.unlink(temporary)
        raise
    return snapshot, len(data)


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def read_snapshot(snapshot: Snapshot) -> Stored:
    """What is in the file.

    Raises:
        Unusable: it is not whole, or of another format.
    """
    try:
        with open(os.open(snapshot.path, READ_FLAGS), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_SNAPSHOT_BYTES:
                raise Unusable("it is no file that pods would write")
            head_line, _, body = file.read().partition(b"\n")
    except OSError as error:
        raise Unusable(f"it cannot be read ({error.strerror})") from None
    try:
        head = cast("dict[str, Any]", orjson.loads(head_line))
        body = body[: head["size"]]
        if head["format"] != SNAPSHOT_FORMAT:
            raise Unusable("another version of pods wrote it")
        if head["digest"] != _digest(body) or head["seq"] != snapshot.seq:
            raise Unusable("it is damaged")
        return Stored(snapshot.seq, head["time"], head["meaning"], orjson.loads(body))
    except (ValueError, TypeError, KeyError):
        raise Unusable("it is damaged") from None


def restore_newest(files: Files, fold: Fold) -> Start:
    """Give a new fold what the newest usable snapshot holds, and say where to go on from there.

    Args:
        files: what the journal consists of; one segment at least.
        fold: new; as it was where no snapshot is usable.
    """
    segments = files.segments
    complaints: list[str] = []
    for snapshot in reversed(files.snapshots):
        try:
            stored = read_snapshot(snapshot)
            index, offset = _place(segments, stored)
            lost = _take(fold, stored, trimmed=segments[0].first > 1)
        except Unusable as unusable:
            complaints.append(f"the snapshot at event {snapshot.seq} does not count: {unusable}")
            continue
        if lost:
            complaints.append(lost)
        return Start(stored.seq, stored.time, index, offset, tuple(complaints))
    first = segments[0].first
    if first > 1:
        complaints.append(
            f"there is no snapshot of the events before {first}, and they are gone: what followed "
            "from them alone is not known any more"
        )
    return Start(first - 1, 0.0, 0, 0, tuple(complaints))


def _take(fold: Fold, stored: Stored, *, trimmed: bool) -> str:
    """Restore; words where not all of it could be."""
    if stored.meaning == meaning(fold) and not restore(fold, stored.memory):
        return ""
    if not trimmed:
        raise Unusable("another version of pods made it, and all events are there to replay")
    # The events are gone, so that what still reads is better than nothing.
    lost = restore(fold, stored.memory, partly=True)
    return (
        f"the snapshot at event {stored.seq} is of another version of pods, and the events before "
        f"it are gone; not known any more: {', '.join(lost) or 'nothing'}"
    )


def _place(segments: Sequence[Segment], stored: Stored) -> tuple[int, int]:
    """Index of the segment that goes on after the snapshot, and the offset in it.

    Raises:
        Unusable: it does not fit this journal.
    """
    index = len(segments) - 1
    while index >= 0 and segments[index].first > stored.seq + 1:
        index -= 1
    if index < 0:
        raise Unusable("the events that follow it are gone")
    segment = segments[index]
    if segment.first == stored.seq + 1:
        return index, 0
    try:
        descriptor = os.open(segment.path, READ_FLAGS)
    except OSError as error:
        raise Unusable(f"{segment.path} cannot be read ({error.strerror})") from None
    try:
        end = os.fstat(descriptor).st_size
        start = find_line(descriptor, segment.path, end, stored.seq - 1)
        for offset, line in iterate_lines(descriptor, segment.path, start, end):
            if peek(line)[0] >= stored.seq:
                event = decode_event(line)
                if (event.seq, event.time) != (stored.seq, stored.time):
                    break
                return index, offset + len(line) + 1
    except (ValueError, StorageFailed):
        raise Unusable("the journal is damaged where it ends") from None
    finally:
        os.close(descriptor)
    # A power cut may take events that were never synced, and leave what was made of them.
    raise Unusable("the event it ends with is not in the journal")


def restore_state(directory: str, fold: Fold, beyond: int = 0) -> int:
    """For who only reads: give a fold the newest snapshot of a journal, living or not.

    Args:
        directory: the journal's.
        fold: changed here where there is a usable snapshot.
        beyond: one that is not newer than this is of no use.

    Returns:
        The seq from which to go on reading; 0 where there is no such snapshot.

    Raises:
        StorageFailed: the directory cannot be read.
    """
    files = list_files(directory)
    newer = [snapshot for snapshot in files.snapshots if snapshot.seq > beyond]
    if not newer or not files.segments:
        return 0
    start = restore_newest(Files(files.segments, newer), fold)
    return start.seq if start.time else 0
