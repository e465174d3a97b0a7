"""Whole lines of one segment: in a row, from its end, and by seq without reading all of it.

Owns reading by byte offset. Knows the start of a line (`peek`), not its data. Works on a file that
is being appended to: what has no newline yet is not there. Called by `store` and `reader`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from pods.journal.events import MAX_EVENT_BYTES, peek
from pods.journal.segments import damaged, failed
from pods_protocol.errors import StorageFailed

FIRST_READ_BYTES: Final = 4 * 1024
"""The first read of a row of lines: whoever wants one line should not pay for hundreds."""

READ_BYTES: Final = 64 * 1024
"""Reads grow to this: hundreds of usual events, a small part of a millisecond."""

SHORT_LINE_BYTES: Final = 512
"""Below it one line more costs more than its bytes."""

LONG_READ_BYTES: Final = 256 * 1024
"""In the middle of a line that is longer than such a read: four calls for the longest event."""


def iterate_lines(descriptor: int, path: str, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The whole lines between two offsets, each with the offset it begins at, without newlines.

    Args:
        descriptor: of the open segment.
        path: its path, for errors.
        offset: where a line begins.
        end: bytes from here on are not read.

    Raises:
        StorageFailed: a line is longer than an event can be.
    """
    held: list[bytes] = []  # pieces of a line whose end has not come yet, joined once it has
    held_bytes = 0
    start = offset
    want = FIRST_READ_BYTES
    while offset < end:
        piece = _read(descriptor, path, min(want, end - offset), offset)
        want = min(want * 4, READ_BYTES if held_bytes < READ_BYTES else LONG_READ_BYTES)
        if not piece:
            return
        offset += len(piece)
        lines = split_lines(piece)
        rest = lines.pop()
        if lines and held:
            if held_bytes + len(lines[0]) > MAX_EVENT_BYTES:
                raise _endless(path, start)
            held.append(lines[0])
            lines[0] = b"".join(held)
            held.clear()
            held_bytes = 0
        for line in lines:
            yield start, line
            start += len(line) + 1
        if rest:
            held.append(rest)
            held_bytes += len(rest)
        if held_bytes > MAX_EVENT_BYTES:
            raise _endless(path, start)


def split_lines(piece: bytes) -> list[bytes]:
    """As splitting at each newline, at a memory's speed where lines are long.

    `split` looks at every byte; `find` does not, and costs more a line.
    """
    lines: list[bytes] = []
    start = 0
    while (end := piece.find(b"\n", start)) >= 0:
        if end - start < SHORT_LINE_BYTES:
            return lines + piece[start:].split(b"\n")
        lines.append(piece[start:end])
        start = end + 1
    lines.append(piece[start:])
    return lines


def _endless(path: str, start: int) -> StorageFailed:
    return damaged(path, start, "this line is longer than any event")


def find_line(descriptor: int, path: str, end: int, since: int) -> int:
    """An offset at which a line begins, a little before the first line whose seq is above `since`.

    A binary search over bytes: 18 small reads for a gigabyte.
    """
    low, high = 0, end
    while high - low > FIRST_READ_BYTES:
        middle = (low + high) // 2
        found = _line_after(descriptor, path, middle, high)
        if found is None:
            high = middle
            continue
        start, seq = found
        if seq is None:
            break  # damaged here: reading from `low` says so, if it matters to this reader
        if seq <= since:
            low = start
        else:
            high = middle
    return low


def _line_after(descriptor: int, path: str, offset: int, end: int) -> tuple[int, int | None] | None:
    """Start and seq of the first whole line that begins after `offset`; None if there is none."""
    lines = iterate_lines(descriptor, path, offset, end)
    if next(lines, None) is None:
        return None
    found = next(lines, None)
    if found is None:
        return None
    start, line = found
    try:
        return start, peek(line)[0]
    except ValueError:
        return start, None


def last_lines(descriptor: int, path: str, end: int) -> tuple[int, list[bytes]]:
    """The last two whole lines before `end` (or what there is), from the tail alone.

    Returns:
        The offset after the last newline, and the lines, the last one last.
    """
    want = FIRST_READ_BYTES
    while True:
        start = max(0, end - want)
        tail = _read(descriptor, path, end - start, start)
        whole, newline, _ = tail.rpartition(b"\n")
        lines = split_lines(whole) if newline else []
        if start == 0 or len(lines) > 2:
            # Unless the tail is the whole file, its first line may have begun before it.
            return start + len(whole) + len(newline), lines[-2:]
        want *= 4


def _read(descriptor: int, path: str, size: int, offset: int) -> bytes:
    try:
        return os.pread(descriptor, size, offset)
    except OSError as error:
        raise failed("read", path, error) from error
