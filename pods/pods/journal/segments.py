"""The files of one journal: their names, their order, and what is said when they are damaged.

Owns the directory's layout: `<first seq, 20 digits>.jsonl`, one after the other without a hole;
`<last seq taken in, 20 digits>.snapshot`, which are derived; `journal.lock`. What else lies in the
directory is somebody else's. Called by the rest of the journal.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from pods.journal.files import FileOperations, SystemFiles
from pods_protocol.errors import StorageFailed

LOCK_NAME: Final = "journal.lock"
TEMPORARY_SNAPSHOT_NAME: Final = "snapshot.new"
"""What a snapshot is called until it is whole; one that a crash left is overwritten by the next."""

READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
"""How a reader opens them. A pod may write in its journal's directory: a pipe of that name must not
make its supervisor wait for a writer, nor a link show it what is not the pod's."""

DIGITS: Final = 20
"""Of the seq in a name: so that names sort like numbers."""


class Segment(NamedTuple):
    """One file: its first event has (or will have) the seq `first`."""

    first: int
    path: str


class Snapshot(NamedTuple):
    """One file: what follows from all events up to `seq`, that one included."""

    seq: int
    path: str


class Files(NamedTuple):
    """What a journal consists of, each in order."""

    segments: list[Segment]
    snapshots: list[Snapshot]


def segment_path(directory: str, first: int) -> str:
    """Where the segment that begins with the event `first` lies."""
    return f"{directory}/{first:020d}.jsonl"


def snapshot_path(directory: str, seq: int) -> str:
    """Where the snapshot of all events up to `seq` lies."""
    return f"{directory}/{seq:020d}.snapshot"


def list_segments(directory: str) -> list[Segment]:
    """The segments in order; none where there is no such directory.

    Raises:
        StorageFailed: the directory cannot be read, or holds a format this version does not know.
    """
    return list_files(directory).segments


def list_files(directory: str) -> Files:
    """Segments and snapshots, in order; none where there is no such directory.

    Raises:
        StorageFailed: as `list_segments`.
    """
    found = Files([], [])
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return found
    except OSError as error:
        raise failed("read", directory, error) from error
    for name in names:
        # No regular expression for the usual names: every read of a long journal comes by here.
        digits, _, ending = name.partition(".")
        if len(digits) != DIGITS or not (digits.isascii() and digits.isdecimal()):
            continue
        if ending == "jsonl":
            found.segments.append(Segment(int(digits), f"{directory}/{name}"))
        elif ending == "snapshot":
            found.snapshots.append(Snapshot(int(digits), f"{directory}/{name}"))
        elif ending.endswith(".jsonl"):
            raise StorageFailed(
                f"cannot read {directory}/{name}: a newer version of pods wrote it; use that "
                "version, or upgrade this one",
                path=f"{directory}/{name}",
                errno=None,
            )
    found.segments.sort()
    found.snapshots.sort()
    return found


def sync_directory(directory: str, operations: FileOperations) -> None:
    """Wait until the disk has the names of the files: they are the directory's content.

    Raises:
        OSError: it refuses.
    """
    descriptor = operations.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0)
    try:
        operations.sync(descriptor)
    finally:
        operations.close(descriptor)


def sync_newest(directory: str) -> None:
    """Wait until the disk has all that a writer left which is dead.

    Raises:
        StorageFailed: it refuses.
    """
    files = SystemFiles()
    segments = list_segments(directory)
    if not segments:
        return
    try:
        descriptor = files.open(segments[-1].path, READ_FLAGS, 0)
        try:
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        sync_directory(directory, files)
    except OSError as error:
        raise failed("sync", segments[-1].path, error) from error


def failed(verb: str, path: str, error: OSError) -> StorageFailed:
    """The error for what the system refused."""
    return StorageFailed(
        f"cannot {verb} {path}: {os.strerror(error.errno or 0)}; free some space or check the "
        "permissions of its directory, then try again",
        path=path,
        errno=error.errno,
    )


def damaged(path: str, offset: int, why: str) -> StorageFailed:
    """The error for a line that is not what was written: nothing is ever skipped silently."""
    return StorageFailed(
        f"cannot read {path} at byte {offset}: {why}; the events before it can be read. Copy the "
        "directory away, then restore the file from a backup or cut it at that byte (everything "
        "after it is lost)",
        path=path,
        errno=None,
        offset=offset,
    )
