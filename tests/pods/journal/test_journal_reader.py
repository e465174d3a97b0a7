"""Cursors: what comes after one, filters, bounds, gaps, damage, and large files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal_support import an_event, damage, write_segment
from pods.journal.events import MAX_EVENT_BYTES, encode_event
from pods.journal.lines import SHORT_LINE_BYTES, iterate_lines, split_lines
from pods.journal.reader import MAX_SCAN_BYTES, Place, Scan, iterate, last_seq, read_events
from pods.journal.store import Journal
from pods_protocol.errors import StorageFailed
from pods_protocol.events import Event

FILE = "00000000000000000001.jsonl"


def read(directory: Path, since: int, **options: object) -> tuple[list[int], int, int, bool]:
    piece = read_events(str(directory), since, **options)  # type: ignore[arg-type]  # any of its options
    return [event.seq for event in piece.events], piece.next, piece.last_seq, piece.truncated


@given(
    st.lists(
        st.integers(0, 3) | st.integers(SHORT_LINE_BYTES - 2, SHORT_LINE_BYTES + 2), max_size=9
    )
)
def test_lines_are_split_as_bytes_are_whatever_their_lengths(lengths: list[int]) -> None:
    piece = b"\n".join(b"x" * length for length in lengths)
    assert split_lines(piece) == piece.split(b"\n")


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """Ten events in three files; the odd ones are text, the even ones status."""
    events = [
        an_event(seq, *(("text", {"text": "x" * 50}) if seq % 2 else ("status", {"state": "idle"})))
        for seq in range(1, 11)
    ]
    for part in (events[:4], events[4:7], events[7:]):
        write_segment(tmp_path, part)
    return tmp_path


@pytest.mark.parametrize("since", range(11))
def test_every_cursor_gets_what_comes_after_it(ten: Path, since: int) -> None:
    assert read(ten, since) == (list(range(since + 1, 11)), 10, 10, False)
    assert [event.seq for event in iterate(str(ten), since)] == list(range(since + 1, 11))


def test_a_journal_that_is_not_there_yet_reads_as_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "none", 0) == ([], 0, 0, False)
    assert list(iterate(str(tmp_path / "none"))) == []
    Journal.open(str(tmp_path / "new")).close()
    assert read(tmp_path / "new", 0) == ([], 0, 0, False)


def test_the_limit_ends_a_piece_and_the_cursor_goes_on(ten: Path) -> None:
    assert read(ten, 2, limit=3) == ([3, 4, 5], 5, 10, True)
    assert read(ten, 5, limit=5) == ([6, 7, 8, 9, 10], 10, 10, False)
    assert read(ten, 5, limit=0)[0] == [6]


def test_the_bytes_end_a_piece_and_one_event_comes_whatever_its_size(ten: Path) -> None:
    assert read(ten, 0, max_bytes=1) == ([1], 1, 10, True)
    line = len(encode_event(next(iterate(str(ten))))) + 1
    assert read(ten, 0, max_bytes=line * 2)[0] == [1, 2]


def test_a_filter_never_scans_twice_what_it_left_out(ten: Path) -> None:
    status = frozenset({"status"})
    assert read(ten, 0, kinds=status) == ([2, 4, 6, 8, 10], 10, 10, False)
    # The next one would be 6: the cursor has passed 5, which was left out.
    assert read(ten, 0, kinds=status, limit=2) == ([2, 4], 5, 10, True)
    assert read(ten, 0, kinds=frozenset({"usage"})) == ([], 10, 10, False)


def test_a_filter_that_finds_nothing_ends_at_a_bound_and_says_that_more_is_there(
    tmp_path: Path,
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        for _ in range(10):
            journal.append("text", {"text": "x" * 1_000_000})
    found, following, newest, truncated = read(tmp_path, 0, kinds=frozenset({"status"}))
    assert (found, newest, truncated) == ([], 10, True)
    assert following * 1_000_000 >= MAX_SCAN_BYTES
    assert read(tmp_path, following, kinds=frozenset({"status"})) == ([], 10, 10, False)


def test_a_cursor_from_the_future_is_set_back_to_the_newest_event(ten: Path) -> None:
    assert read(ten, 500) == ([], 10, 10, False)


def test_a_trimmed_cursor_gets_a_gap_that_moves_it_to_what_is_left(tmp_path: Path) -> None:
    write_segment(tmp_path, [an_event(7), an_event(8)])
    piece = read_events(str(tmp_path), 2, kinds=frozenset({"none of these"}))
    (gap,) = piece.events
    assert gap == Event(seq=6, time=7.0, turn=None, type="gap", data={"first": 3, "last": 6})
    assert read(tmp_path, 2) == ([6, 7, 8], 8, 8, False)
    assert read(tmp_path, 2, limit=1) == ([6], 6, 8, True)
    assert read(tmp_path, 6) == ([7, 8], 8, 8, False)
    assert [event.seq for event in iterate(str(tmp_path), 2)] == [6, 7, 8]


def test_a_journal_of_which_everything_was_trimmed_still_knows_its_end(tmp_path: Path) -> None:
    write_segment(tmp_path, [], first=8)
    assert last_seq(str(tmp_path)) == 7
    piece = read_events(str(tmp_path), 2)
    assert [(event.seq, event.time) for event in piece.events] == [(7, 0.0)]
    with Journal.open(str(tmp_path)) as journal:
        assert journal.append("text", {}).seq == 9
    (warning, _) = read_events(str(tmp_path), 7).events
    assert (warning.seq, warning.data["code"]) == (8, "snapshot_unusable")


def test_damage_is_reached_but_never_passed(tmp_path: Path) -> None:
    write_segment(tmp_path, [an_event(seq) for seq in range(1, 6)])
    damage(tmp_path, 2, b"garbage\n")
    assert read(tmp_path, 0) == ([1, 2], 2, 5, True)
    with pytest.raises(StorageFailed, match="no event") as caught:
        read(tmp_path, 2)
    assert caught.value.data["path"].endswith(FILE)
    seen: list[int] = []
    with pytest.raises(StorageFailed):
        seen.extend(event.seq for event in iterate(str(tmp_path)))
    assert seen == [1, 2]


def test_a_line_whose_head_alone_is_good_is_damage_too(tmp_path: Path) -> None:
    write_segment(tmp_path, [an_event(seq) for seq in (1, 2, 3)])
    damage(tmp_path, 1, b'{"seq":2,"time":2.0,"turn":null,"type":"text","data":{"text":x}}\n')
    assert read(tmp_path, 0) == ([1], 1, 3, True)
    with pytest.raises(StorageFailed, match="no event"):
        read(tmp_path, 1)


def test_a_file_that_cannot_be_read_is_typed(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageFailed, match="cannot read"):
        last_seq(str(tmp_path))
    with pytest.raises(StorageFailed, match="cannot read"):
        list(Scan(str(tmp_path), 0, 1).lines())
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageFailed, match="Is a directory"):
        last_seq(str(tmp_path))


def test_a_file_that_gets_shorter_while_it_is_read_just_ends(tmp_path: Path) -> None:
    path = write_segment(tmp_path, [an_event(1)])
    with path.open("rb") as file:
        lines = list(iterate_lines(file.fileno(), str(path), 0, 10**6))
    assert [offset for offset, _ in lines] == [0]


def test_a_hole_between_lines_or_files_is_damage(tmp_path: Path) -> None:
    for name in ("lines", "files", "start"):
        (tmp_path / name).mkdir()
    write_segment(tmp_path / "lines", [an_event(1), an_event(3)])
    write_segment(tmp_path / "files", [an_event(1)])
    write_segment(tmp_path / "files", [an_event(3)])
    write_segment(tmp_path / "start", [an_event(2)], first=1)
    assert read(tmp_path / "lines", 0) == ([1], 1, 3, True)
    assert read(tmp_path / "files", 0) == ([1], 1, 3, True)
    for name, since in (("lines", 1), ("files", 1), ("start", 0)):
        with pytest.raises(StorageFailed, match=r"event \d should"):
            read(tmp_path / name, since)


def test_a_tail_of_nothing_but_garbage_is_damage(tmp_path: Path) -> None:
    path = write_segment(tmp_path, [an_event(1)])
    path.write_bytes(path.read_bytes() + b"one\ntwo\n")
    with pytest.raises(StorageFailed, match="last lines"):
        last_seq(str(tmp_path))


def test_a_line_that_never_ends_is_damage_and_not_read_into_memory(tmp_path: Path) -> None:
    path = write_segment(tmp_path, [an_event(1)])
    with path.open("ab") as file:
        file.write(b"x" * (MAX_EVENT_BYTES + 200_000) + b"\n")
        file.write(encode_event(an_event(2)) + b"\n")
    with pytest.raises(StorageFailed, match="longer than any event"):
        read(tmp_path, 1)


def test_lines_of_any_length_come_whole_each_at_its_offset(tmp_path: Path) -> None:
    sizes = [0, 5, 4094, 4095, 4096, 70_000, 3, 500_000, 1, 262_144, MAX_EVENT_BYTES, 9]
    lines = [b"x" * size for size in sizes]
    path = tmp_path / FILE
    path.write_bytes(b"\n".join(lines) + b"\nrest")
    with path.open("rb") as file:
        found = list(iterate_lines(file.fileno(), str(path), 0, path.stat().st_size))
    assert [line for _, line in found] == lines
    assert [offset for offset, _ in found] == [
        sum(sizes[:index]) + index for index in range(len(sizes))
    ]


def test_a_place_from_an_earlier_scan_goes_on_from_there_and_a_wrong_one_is_caught(
    ten: Path,
) -> None:
    scan = Scan(str(ten), 0, 10)
    for seq, _, _ in scan.lines():
        if seq == 5:
            break
    assert scan.place is not None
    again = Scan(str(ten), 5, 10, scan.place)
    assert [seq for seq, _, _ in again.lines()] == [6, 7, 8, 9, 10]
    with pytest.raises(StorageFailed):
        list(Scan(str(ten), 5, 10, Place(5, 5, 3)).lines())
    unfit = Scan(str(ten), 4, 10, scan.place)
    assert unfit.place is None


def test_any_cursor_in_a_large_file_is_found_without_reading_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (10, 3000, 100_000)
    with Journal.open(str(tmp_path)) as journal:
        for number in range(3000):
            journal.append("text", {"text": "x" * sizes[number % 97 == 0] * (number % 7 + 1)})
        for _ in range(20):
            journal.append("text", {"text": "x" * sizes[2]})
    read_bytes = 0
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal read_bytes
        data = pread(descriptor, size, offset)
        read_bytes += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    for since in [*range(0, 3019, 101), 3018, 3019]:
        assert read(tmp_path, since, limit=1)[0] == [since + 1]
    size = (tmp_path / FILE).stat().st_size
    assert size > 2_000_000
    read_bytes = 0
    read(tmp_path, 1500, limit=1)
    assert read_bytes < size / 4


def test_a_search_that_meets_damage_reads_from_before_it(tmp_path: Path) -> None:
    write_segment(tmp_path, [an_event(seq, "text", {"text": "x" * 90}) for seq in range(1, 401)])
    for number in range(150, 250):
        damage(tmp_path, number, b"garbage" * 10 + b"\n")
    assert read(tmp_path, 100, limit=3)[0] == [101, 102, 103]
    with pytest.raises(StorageFailed):
        read(tmp_path, 150)
