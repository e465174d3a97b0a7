"""The files of one journal: their names, their order, and what is said when they are damaged.

Owns the directory's layout: `<first seq, 20 digits>.jsonl`, one after the other without a hole,
and `journal.lock`. What else lies in the directory is somebody else's. Called by `store`, `reader`.
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple

from pods_protocol.errors import StorageFailed

LOCK_NAME: Final = "journal.lock"
_SEGMENT: Final = re.compile(r"(\d{20})(\..+)?\.jsonl\Z")


class Segment(NamedTuple):
    """One file: its first event has (or will have) the seq `first`."""

    first: int
    path: str


def segment_path(directory: str, first: int) -> str:
    """Where the segment that begins with the event `first` lies."""
    return f"{directory}/{first:020d}.jsonl"


def list_segments(directory: str) -> list[Segment]:
    """The segments in order; none where there is no such directory.

    Raises:
        StorageFailed: the directory cannot be read, or holds a format this version does not know.
    """
    found: list[Segment] = []
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return found
    except OSError as error:
        raise failed("read", directory, error) from error
    for name in names:
        match = _SEGMENT.match(name)
        if match is None:
            continue
        if match[2] is not None:
            raise StorageFailed(
                f"cannot read {directory}/{name}: a newer version of pods wrote it; use that "
                "version, or upgrade this one",
                path=f"{directory}/{name}",
                errno=None,
            )
        found.append(Segment(int(match[1]), f"{directory}/{name}"))
    found.sort()
    return found


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
