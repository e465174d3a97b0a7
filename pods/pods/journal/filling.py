"""The room that a journal's file has behind its last line.

A file that grows costs a durable append its size as well as its content: the file system commits a
transaction of its own for it. So whenever a line needs another block, the writer fills that up with
spaces, and what comes next is written over those: of ten usual appends nine leave the size as it
is, and their sync takes two thirds of the time. To a reader what has no newline yet is no line, and
`reader.LOOKS` is all that it has to know besides. The end of a file that its writer has closed is
the end of its last line.

Owns the size of that room and telling it from a torn line. Called by `open_segment` and `opening`.
"""

from __future__ import annotations

import os
from typing import Final

from pods.journal.segments import failed

BLOCK_BYTES: Final = 4096
"""In what pieces file systems give out room, and memory holds it: this much is taken with the first
byte in it, so filling it up takes no more of the disk."""

SPACES: Final = b" " * BLOCK_BYTES
"""White space in JSON, and none of an unfinished line's own: where no power was cut, what reads
over the last newline finds either nothing or the beginning of an event."""

MAX_FILLED_BYTES: Final = 64 * 1024
"""Of lines that are written together with room behind them. Longer ones would be copied for that,
which takes more time than their few successors would save."""


def cut_short(descriptor: int, path: str, start: int, end: int) -> int:
    """How many bytes between two offsets, the second of them the file's end, are not its room.

    Raises:
        StorageFailed: the system cannot read them.
    """
    offset = end
    while offset > start:
        offset = max(start, offset - BLOCK_BYTES)
        try:
            piece = os.pread(descriptor, min(BLOCK_BYTES, end - offset), offset)
        except OSError as error:
            raise failed("read", path, error) from error
        if rest := piece.rstrip(b" "):
            return offset + len(rest) - start
    return 0
