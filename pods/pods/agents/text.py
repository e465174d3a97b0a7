"""Text as events can carry it: bounded pieces, whole characters, valid UTF-8.

Owns cutting, decoding and coalescing. Pure.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

from pods_protocol.bounds import MAX_TEXT_EVENT_BYTES

_CONTINUATION_MASK: Final = 0xC0
_CONTINUATION: Final = 0x80


def clean(text: str) -> str:
    """The text with halves of surrogate pairs, which UTF-8 cannot carry, replaced by `?`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def split_text(text: str, max_bytes: int = MAX_TEXT_EVENT_BYTES) -> list[str]:
    """The text in pieces of at most `max_bytes` of UTF-8, cut between characters.

    Joined they are the text (cleaned). An empty text has no pieces.
    """
    if not text:
        return []
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return [data.decode()]
    pieces: list[str] = []
    start = 0
    while start < len(data):
        end = _cut_point(data, start, max_bytes)
        pieces.append(data[start:end].decode())
        start = end
    return pieces


def _cut_point(data: bytes, start: int, max_bytes: int) -> int:
    """Where the piece that begins at `start` ends: never inside a character."""
    end = start + max_bytes
    if end >= len(data):
        return len(data)
    while data[end] & _CONTINUATION_MASK == _CONTINUATION:
        end -= 1
    return end


def shorten(text: str, max_bytes: int) -> str:
    """The beginning of the text, in at most about `max_bytes`, saying how much is missing."""
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return data.decode()
    end = _cut_point(data, 0, max_bytes)
    return f"{data[:end].decode()}\n[cut here: {len(data) - end} more bytes]"


class Decoder:
    """Bytes of a stream to text, whatever they are: what is no UTF-8 becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """The text so far complete; the first bytes of a character wait for the rest."""
        return self._decoder.decode(data)

    def end(self) -> str:
        """What is left at the end of the stream."""
        return self._decoder.decode(b"", final=True)


class Coalescer:
    """Joins pieces of output into events of up to `max_bytes`, in the order they came.

    Whoever feeds it flushes it in time; what comes from another stream flushes what waits, so that
    the order between streams is kept.

    Args:
        emit: takes a stream's name and a piece of text.
        max_bytes: UTF-8 bytes of one piece.
    """

    def __init__(
        self, emit: Callable[[str, str], None], max_bytes: int = MAX_TEXT_EVENT_BYTES
    ) -> None:
        self._emit = emit
        self._max_bytes = max_bytes
        self._stream = ""
        self._pieces: list[str] = []
        self._size = 0

    def __len__(self) -> int:
        """Bytes that wait."""
        return self._size

    def feed(self, stream: str, text: str) -> None:
        """Take a piece of output."""
        if not text:
            return
        if stream != self._stream:
            self.flush()
            self._stream = stream
        self._pieces.append(text)
        self._size += len(text.encode())
        if self._size >= self._max_bytes:
            *full, rest = split_text("".join(self._pieces), self._max_bytes)
            self._pieces, self._size = [rest], len(rest.encode())
            for piece in full:
                self._emit(stream, piece)

    def flush(self) -> None:
        """Give everything that waits."""
        if not self._pieces:
            return
        text = "".join(self._pieces)
        self._pieces, self._size = [], 0
        self._emit(self._stream, text)
