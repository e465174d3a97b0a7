"""The room behind a journal's last line: taken by the block, written over, gone at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from journal_support import FailingFiles, an_event, write_segment
from pods.journal.filling import BLOCK_BYTES, MAX_FILLED_BYTES
from pods.journal.reader import iterate, last_seq, read_events
from pods.journal.retention import MIN_SEGMENT_BYTES, Retention
from pods.journal.segments import list_segments
from pods.journal.store import Journal
from pods_protocol.errors import StorageFailed
from process_support import WAIT_SECONDS

FILE = "00000000000000000001.jsonl"
DELTA = {"text": "hello"}
EVENT = an_event(1)


def content(directory: Path) -> bytes:
    return (directory / FILE).read_bytes()


def test_a_file_grows_by_whole_blocks_and_ends_with_its_last_line_once_it_is_closed(
    tmp_path: Path,
) -> None:
    files = FailingFiles()
    sizes: list[int] = []
    with Journal.open(str(tmp_path), file_operations=files) as journal:
        for count in range(1, 201):
            journal.append("text", DELTA)
            filled = content(tmp_path)
            assert filled.rstrip(b" ").endswith(b"}\n")
            assert filled.count(b"\n") == count
            assert len(filled) == -(-len(filled.rstrip(b" ")) // BLOCK_BYTES) * BLOCK_BYTES
            sizes.append(len(filled))
        assert len(set(sizes)) > 2
        assert sizes == sorted(sizes)
        assert files.calls.count("write") == 200
    assert content(tmp_path).count(b"\n") == 200
    assert content(tmp_path).endswith(b"}\n")


def test_an_event_that_ends_where_a_block_does_leaves_no_room(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path / "one"), clock=lambda: 1.0) as journal:
        journal.append("text", {"text": ""})
    room = BLOCK_BYTES - len(content(tmp_path / "one"))
    with Journal.open(str(tmp_path), clock=lambda: 1.0) as journal:
        journal.append("text", {"text": "x" * room})
        assert len(content(tmp_path)) == BLOCK_BYTES
        assert content(tmp_path).endswith(b"}\n")
        journal.append("text", DELTA)
        assert len(content(tmp_path)) == 2 * BLOCK_BYTES
    assert [event.seq for event in iterate(str(tmp_path))] == [1, 2]


def test_a_long_line_is_written_without_room_and_what_comes_next_brings_some(
    tmp_path: Path,
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append("text", DELTA)
        journal.append("text", {"text": "x" * MAX_FILLED_BYTES})
        assert content(tmp_path).endswith(b"}\n")
        journal.append("text", DELTA)
        assert len(content(tmp_path)) % BLOCK_BYTES == 0
        assert content(tmp_path).endswith(b" ")
    assert [event.seq for event in iterate(str(tmp_path))] == [1, 2, 3]


@pytest.mark.parametrize("room", [1, 100, 4000, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES])
def test_room_that_a_killed_writer_left_is_no_torn_line_and_is_used(
    tmp_path: Path, room: int
) -> None:
    path = write_segment(tmp_path, [an_event(seq) for seq in range(1, 6)])
    path.write_bytes(content(tmp_path) + b" " * room)
    assert last_seq(str(tmp_path)) == 5
    assert [event.seq for event in read_events(str(tmp_path), 2).events] == [3, 4, 5]
    with Journal.open(str(tmp_path)) as journal:
        assert journal.append("text", DELTA).seq == 6
    assert content(tmp_path).endswith(b"}\n")
    events = list(iterate(str(tmp_path)))
    assert [event.type for event in events] == ["text"] * 6


def test_a_line_that_was_torn_at_any_byte_of_its_room_is_dropped_and_noted(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path / "whole")) as journal:
        journal.append_many([("text", DELTA, None)] * 3)
    whole = content(tmp_path / "whole")
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(start, len(whole)):
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / FILE).write_bytes(whole[:cut].ljust(BLOCK_BYTES))
        assert last_seq(str(directory)) == 2
        Journal.open(str(directory)).close()
        events = list(iterate(str(directory)))
        assert content(directory).endswith(b"}\n")
        if cut == start:
            assert len(events) == 2
            continue
        assert [event.type for event in events] == ["text", "text", "warning"]
        torn = len(whole[start:cut].rstrip(b" "))
        assert f" {torn} bytes after event 2" in events[2].data["message"]


def test_a_long_torn_line_before_its_room_is_counted_whole(tmp_path: Path) -> None:
    path = write_segment(tmp_path, [EVENT])
    torn = b'{"seq":2,"text":"' + b"x " * 10_000 + b"end"
    path.write_bytes(content(tmp_path) + torn + b" " * (2 * BLOCK_BYTES + 7))
    Journal.open(str(tmp_path)).close()
    warning = list(iterate(str(tmp_path)))[-1]
    assert f"{len(torn)} bytes after event 1 were dropped" in warning.data["message"]


def test_a_full_segment_has_no_room_behind_its_last_line(tmp_path: Path) -> None:
    retention = Retention(max_bytes=4 * MIN_SEGMENT_BYTES)
    with Journal.open(str(tmp_path), retention=retention) as journal:
        while len(list_segments(str(tmp_path))) < 3:
            journal.append("text", {"text": "x" * 50_000})
        first, second, last = list_segments(str(tmp_path))
        assert Path(first.path).read_bytes().endswith(b"}\n")
        assert Path(second.path).read_bytes().endswith(b"}\n")
        assert len(Path(last.path).read_bytes()) % BLOCK_BYTES == 0
        assert last_seq(str(tmp_path)) == journal.last_seq


def test_room_that_cannot_be_cut_does_no_harm(tmp_path: Path) -> None:
    files = FailingFiles()
    journal = Journal.open(str(tmp_path), file_operations=files)
    journal.append("text", DELTA)
    files.broken = {"truncate"}
    journal.close()
    assert len(content(tmp_path)) == BLOCK_BYTES
    with Journal.open(str(tmp_path)) as journal:
        journal.append("text", DELTA)
    assert [event.type for event in iterate(str(tmp_path))] == ["text", "text"]


def test_what_a_failed_write_left_is_cut_as_the_journal_is_closed(tmp_path: Path) -> None:
    files = FailingFiles()
    with Journal.open(str(tmp_path), file_operations=files) as journal:
        journal.append("text", DELTA)
        files.room = 30
        files.broken = {"truncate"}
        with pytest.raises(StorageFailed):
            journal.append("text", DELTA)
        files.broken = set()
    assert content(tmp_path).count(b"\n") == 1
    assert content(tmp_path).endswith(b"}\n")


def test_last_lines_that_are_just_being_written_are_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_segment(tmp_path, [an_event(1), an_event(2)])
    real, asked = os.pread, list[int]()

    def late(descriptor: int, size: int, offset: int) -> bytes:
        asked.append(offset)
        there = real(descriptor, size, offset)
        return there.replace(b"seq", b"   ") if len(asked) == 1 else there

    monkeypatch.setattr(os, "pread", late)
    assert last_seq(str(tmp_path)) == 2
    assert len(asked) == 2


FORKS = """
import os, sys
from pods.journal.store import Journal
from pods_protocol.errors import StorageFailed
go = os.pipe()
with Journal.open(sys.argv[1]) as journal:
    journal.append("text", {"text": "before"})
    child = os.fork()
    if child:
        journal.append_many([("text", {"text": "x" * 999}, None)] * 9)
        os.write(go[1], b"1")
        assert os.waitpid(child, 0)[1] == 0
        journal.append("text", {"text": "after"})
    else:
        os.read(go[0], 1)
        try:
            journal.append("text", {"text": "over it"})
        except StorageFailed as error:
            assert "a fork of the one that writes it" in error.message
        else:
            os._exit(1)
"""


def test_a_fork_of_the_writer_neither_writes_its_journal_nor_cuts_it_as_it_closes(
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, "-P", "-c", FORKS, str(tmp_path)], check=True)
    assert [event.seq for event in iterate(str(tmp_path))] == [*range(1, 12)]
    assert content(tmp_path).endswith(b"}\n")


WRITER = """
import sys
from pods.journal.store import Journal
journal = Journal.open(sys.argv[1])
for count in range(int(sys.argv[2])):
    journal.append_many([("text", {"text": "y" * (count % 700)}, 1)] * (1 + count % 3))
journal.close()
"""


@pytest.mark.slow
def test_a_reader_beside_a_writer_sees_every_event_whole_and_once(tmp_path: Path) -> None:
    directory, appends = tmp_path / "j", 6000
    events = sum(1 + count % 3 for count in range(appends))
    with subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, str(directory), str(appends)]
    ) as process:
        seen = 0
        while seen < events:
            there = process.poll() is None
            found = read_events(str(directory), seen).events
            for event in found:
                seen += 1
                assert event.seq == seen
                assert set(event.data["text"]) <= {"y"}
            assert found or there, "the writer has gone, and not all of its events are there"
        assert process.wait(WAIT_SECONDS) == 0
    assert content(directory).endswith(b"}\n")
