"""Bytes into lines: whole, in pieces, byte by byte, and the cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods_protocol.errors import TooLarge
from pods_protocol.framing import LineBuffer

CHUNKS = st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"x", b"\n")), max_size=30)


def take(buffer: LineBuffer) -> list[bytes]:
    lines: list[bytes] = []
    while (line := buffer.next_line()) is not None:
        lines.append(line)
    return lines


def test_a_line_comes_without_its_newline() -> None:
    buffer = LineBuffer()
    buffer.feed(b"one\ntwo\nthr")
    assert take(buffer) == [b"one", b"two"]
    assert len(buffer) == 3
    buffer.feed(b"ee\n")
    assert take(buffer) == [b"three"]
    assert len(buffer) == 0


def test_blank_lines_are_passed_over() -> None:
    buffer = LineBuffer()
    buffer.feed(b"\n\r\n  \t\na\r\n\n")
    assert take(buffer) == [b"a\r"]


@given(CHUNKS)
def test_any_chunking_gives_the_same_lines(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = [line for line in whole.split(b"\n")[:-1] if line.strip()]
    asked_at_once, asked_at_the_end = LineBuffer(), LineBuffer()
    seen: list[bytes] = []
    for chunk in chunks:
        asked_at_once.feed(chunk)
        seen += take(asked_at_once)
        asked_at_the_end.feed(chunk)
    assert seen == take(asked_at_the_end) == expected
    assert len(asked_at_once) == len(asked_at_the_end) == len(whole.split(b"\n")[-1])


def test_byte_by_byte_gives_the_same_lines() -> None:
    buffer = LineBuffer()
    seen: list[bytes] = []
    for byte in b"one\n\ntwo\nrest":
        buffer.feed(bytes([byte]))
        seen += take(buffer)
    assert seen == [b"one", b"two"]


def test_a_line_of_just_the_cap_is_taken() -> None:
    buffer = LineBuffer(4)
    buffer.feed(b"abcd")
    assert buffer.next_line() is None
    buffer.feed(b"\n1234\n")
    assert take(buffer) == [b"abcd", b"1234"]


@pytest.mark.parametrize("data", [b"abcde", b"abcde\n", b"ab\nabcde", b"ab\nabcde\nab\n"])
def test_a_line_over_the_cap_is_refused_finished_or_not(data: bytes) -> None:
    buffer = LineBuffer(4)
    buffer.feed(data)
    if data.startswith(b"ab\n"):
        assert buffer.next_line() == b"ab"
    with pytest.raises(TooLarge) as refused:
        buffer.next_line()
    assert refused.value.data == {"limit_bytes": 4, "size_bytes": 5}


def test_nothing_is_held_or_read_after_a_line_over_the_cap() -> None:
    buffer = LineBuffer(4)
    buffer.feed(b"abcde")
    with pytest.raises(TooLarge):
        buffer.next_line()
    buffer.feed(b"\nab\n")
    assert len(buffer) == 0
    with pytest.raises(TooLarge):
        buffer.next_line()


def test_the_cap_is_noticed_byte_by_byte_at_the_first_byte_over_it() -> None:
    buffer = LineBuffer(4)
    for _ in range(4):
        buffer.feed(b"a")
        assert buffer.next_line() is None
    buffer.feed(b"a")
    with pytest.raises(TooLarge):
        buffer.next_line()


class CountingBytes(bytearray):
    """Counts how many bytes are searched for a newline."""

    searched = 0

    def find(self, sub: object, start: object = 0, end: object = None) -> int:
        assert isinstance(start, int)
        assert end is None
        CountingBytes.searched += len(self) - start
        return super().find(b"\n", start)


def test_the_search_never_looks_at_a_byte_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # Counting instead of timing: a loaded machine must not decide whether the work is linear.
    monkeypatch.setattr("pods_protocol.framing.bytearray", CountingBytes, raising=False)
    CountingBytes.searched = 0
    buffer = LineBuffer()
    for _ in range(3000):
        buffer.feed(b"a")
        assert buffer.next_line() is None
    assert CountingBytes.searched <= 3000
    buffer.feed(b"\n")
    assert buffer.next_line() == b"a" * 3000
