"""Bytes into lines: the framing of every socket of pods.

Owns the bytes of the line that is not finished yet, and the cap on it. Knows nothing of JSON.
`Connection` feeds it; nobody else needs to.
"""

from __future__ import annotations

from pods_protocol.bounds import MAX_LINE_BYTES
from pods_protocol.errors import TooLarge


class LineBuffer:
    """Takes bytes in pieces of any size and gives whole lines.

    The work is linear in the bytes fed, also when they come one by one: the search for the end of
    a line goes on where it stopped. What arrives while nothing is held is not copied until a piece
    of a line is left over, because a small message mostly comes whole.

    Args:
        max_line_bytes: the longest line, newline excluded.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._data: bytes | bytearray = b""
        self._start = 0  # where the unread part of _data begins
        self._searched = 0  # no newline between _start and here
        self._too_large_bytes = 0  # of the line that broke the cap; nothing is read after it

    def feed(self, data: bytes) -> None:
        """Store bytes; `next_line` looks at them."""
        if self._too_large_bytes:
            return
        if self._start == len(self._data):
            self._data = data
            self._start = self._searched = 0
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(memoryview(self._data)[self._start :])
        else:
            del self._data[: self._start]
        self._searched -= self._start
        self._start = 0
        self._data += data

    def next_line(self) -> bytes | None:
        """The next whole line without its newline, or None where more bytes are needed.

        Blank lines are passed over.

        Raises:
            TooLarge: a line is over the cap, whether it is finished or not. It is raised again at
                every later call: what follows such a line is not looked at.
        """
        if self._too_large_bytes:
            raise self._too_large()
        data = self._data
        while self._start < len(data):
            end = data.find(b"\n", self._searched)
            stop = len(data) if end < 0 else end
            if stop - self._start > self._max_line_bytes:
                self._too_large_bytes = stop - self._start
                self._data = b""
                self._start = self._searched = 0
                raise self._too_large()
            if end < 0:
                self._searched = stop
                return None
            if type(data) is bytes:
                line = data[self._start : end]
            else:
                line = bytes(memoryview(data)[self._start : end])
            self._start = self._searched = end + 1
            if line and not line.isspace():
                return line
        return None

    def __len__(self) -> int:
        """The bytes held: of lines not asked for yet, and of the one not finished."""
        return len(self._data) - self._start

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"cannot read a line of {self._too_large_bytes} bytes or more: the cap is "
            f"{self._max_line_bytes}; put large content into a file and send its path",
            limit_bytes=self._max_line_bytes,
            size_bytes=self._too_large_bytes,
        )
