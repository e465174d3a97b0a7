"""The one writer: the lock, the flush, torn tails, full disks, crashes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from disks import small_disk
from journal_support import FailingFiles, an_event, damage, write_segment
from pods.journal.events import decode_event
from pods.journal.reader import iterate, last_seq
from pods.journal.store import Journal
from pods_protocol.errors import InvalidParams, PodRunning, StorageFailed, TooLarge
from process_support import WAIT_SECONDS

FILE = "00000000000000000001.jsonl"
DELTA = {"text": "hello"}


def seqs(directory: Path) -> list[int]:
    return [event.seq for event in iterate(str(directory))]


def test_an_appended_event_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path / "j"), clock=lambda: 12.5) as journal:
        event = journal.append("text", DELTA, turn=3)
        line = (tmp_path / "j" / FILE).read_bytes()
        assert line.rstrip(b" ").endswith(b"}\n")
        assert decode_event(line) == event
        assert (event.seq, event.time, event.turn, event.type, event.data) == (
            1,
            12.5,
            3,
            "text",
            DELTA,
        )
        assert journal.last_seq == journal.fold.last_seq == 1


def test_the_directory_and_the_files_are_private(tmp_path: Path) -> None:
    Journal.open(str(tmp_path / "deep" / "j")).close()
    assert stat.S_IMODE((tmp_path / "deep" / "j").stat().st_mode) == 0o700
    for path in (tmp_path / "deep" / "j").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_numbering_goes_on_when_the_journal_is_opened_again(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append_many([("text", DELTA, None)] * 3)
    with Journal.open(str(tmp_path)) as journal:
        assert journal.append("text", DELTA).seq == 4
    assert seqs(tmp_path) == [1, 2, 3, 4]


def test_time_never_goes_back_even_over_a_restart(tmp_path: Path) -> None:
    times = iter([10.0, 5.0])
    with Journal.open(str(tmp_path), clock=lambda: next(times)) as journal:
        assert [journal.append("text", DELTA).time for _ in range(2)] == [10.0, 10.0]
    with Journal.open(str(tmp_path), clock=lambda: 1.0) as journal:
        assert journal.append("text", DELTA).time == 10.0


def test_a_durable_append_is_one_write_and_one_sync_and_the_first_syncs_the_directory(
    tmp_path: Path,
) -> None:
    files = FailingFiles()
    with Journal.open(str(tmp_path), file_operations=files) as journal:
        files.calls.clear()
        journal.append_many([("text", DELTA, None)] * 5, durable=True)
        assert files.calls == ["write", "sync", "open", "sync", "close"]
        files.calls.clear()
        journal.append("text", DELTA, durable=True)
        assert files.calls == ["write", "sync"]
        files.calls.clear()
        journal.append("text", DELTA)
        assert files.calls == ["write"]
        journal.sync()
        assert journal.append_many([], durable=True) == []
        assert files.calls == ["write", "sync", "sync"]


def test_what_is_no_json_is_refused_and_nothing_of_its_batch_is_written(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        with pytest.raises(InvalidParams, match="cannot journal a `text` event"):
            journal.append_many([("text", DELTA, None), ("text", {"text": "\ud800"}, None)])
        with pytest.raises(InvalidParams):
            journal.append("text", {"when": {1, 2}})
        with pytest.raises(TooLarge) as caught:
            journal.append("text", {"text": "x" * 2**20})
        assert caught.value.data["limit_bytes"] < 2**20
        assert journal.last_seq == 0
        journal.append("text", DELTA)
    assert seqs(tmp_path) == [1]


def test_a_second_writer_is_refused_by_name_of_the_first(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        with pytest.raises(PodRunning, match=str(os.getpid())):
            Journal.open(str(tmp_path))
        journal.append("text", DELTA)
    Journal.open(str(tmp_path)).close()


def test_a_journal_that_was_closed_refuses_to_write(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path))
    journal.close()
    journal.close()
    journal.sync()
    with pytest.raises(StorageFailed, match="it is closed"):
        journal.append("text", DELTA)


# Torn tails ---------------------------------------------------------------------------------------


def test_a_last_line_cut_at_any_byte_is_dropped_and_noted(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path / "whole")) as journal:
        journal.append_many([("text", DELTA, None)] * 3)
    whole = (tmp_path / "whole" / FILE).read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(start, len(whole)):
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / FILE).write_bytes(whole[:cut])
        assert last_seq(str(directory)) == 2
        assert seqs(directory) == [1, 2]
        with Journal.open(str(directory)) as journal:
            torn = cut > start
            assert journal.last_seq == (3 if torn else 2)
            journal.append("text", DELTA)
        events = list(iterate(str(directory)))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        if torn:
            assert events[2].type == "warning"
            assert events[2].data["code"] == "torn_tail"
            assert f"{cut - start} bytes after event 2" in events[2].data["message"]


@pytest.mark.parametrize("tail", [b"\0" * 100, b"\0" * 100 + b"\n", b'{"seq":3}\n', b"[]\n"])
def test_a_last_line_of_garbage_is_dropped_too(tmp_path: Path, tail: bytes) -> None:
    path = write_segment(tmp_path, [an_event(1), an_event(2)])
    path.write_bytes(path.read_bytes() + tail)
    assert last_seq(str(tmp_path)) == 2
    with Journal.open(str(tmp_path)) as journal:
        assert journal.last_seq == 3
    assert [event.type for event in iterate(str(tmp_path))] == ["text", "text", "warning"]


@pytest.mark.parametrize(
    ("instead", "why"),
    [
        (b"garbage\n", "no event"),
        (b'{"seq":9,"time":1.0,"turn":null,"type":"a","data":{}}\n', "event 2 should stand here"),
    ],
)
def test_damage_before_the_last_line_is_refused_with_what_to_do(
    tmp_path: Path, instead: bytes, why: str
) -> None:
    write_segment(tmp_path, [an_event(seq) for seq in (1, 2, 3)])
    damage(tmp_path, 1, instead)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StorageFailed, match=why) as caught:
        Journal.open(str(tmp_path))
    assert "restore the file from a backup" in caught.value.message
    assert (tmp_path / FILE).read_bytes() == before


def test_a_missing_segment_or_a_torn_one_that_is_not_the_last_is_refused(tmp_path: Path) -> None:
    for name in ("hole", "torn"):
        (tmp_path / name).mkdir()
        write_segment(tmp_path / name, [an_event(1), an_event(2)])
    write_segment(tmp_path / "hole", [an_event(4)])
    with pytest.raises(StorageFailed, match="event 3 should follow"):
        Journal.open(str(tmp_path / "hole"))
    with (tmp_path / "torn" / FILE).open("ab") as file:
        file.write(b'{"seq":3')
    write_segment(tmp_path / "torn", [an_event(3)])
    with pytest.raises(StorageFailed, match="cut short"):
        Journal.open(str(tmp_path / "torn"))


def test_segments_are_one_journal_and_writing_goes_on_in_the_last(tmp_path: Path) -> None:
    write_segment(tmp_path, [an_event(1), an_event(2)])
    write_segment(tmp_path, [an_event(3)])
    last = write_segment(tmp_path, [], first=4)
    (tmp_path / "exit.json").write_text("{}")
    with Journal.open(str(tmp_path)) as journal:
        assert journal.last_seq == 3
        journal.append("text", DELTA)
    assert decode_event(last.read_bytes()).seq == 4


def test_a_format_of_a_newer_version_is_refused_and_not_taken_for_empty(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000001.v2.jsonl").write_bytes(b"")
    with pytest.raises(StorageFailed, match="a newer version"):
        Journal.open(str(tmp_path))
    with pytest.raises(StorageFailed, match="a newer version"):
        last_seq(str(tmp_path))


def test_what_is_told_later_is_on_disk_at_once_and_is_told_in_order(tmp_path: Path) -> None:
    told: list[int] = []
    with Journal.open(str(tmp_path)) as journal:
        journal.on_append.append(lambda events, _: told.extend(event.seq for event in events))
        journal.append_many([("text", DELTA, None)] * 2, durable=True, tell=False)
        assert (told, journal.last_seq, seqs(tmp_path)) == ([], 2, [1, 2])
        assert journal.fold.last_seq == 0
        journal.tell()
        assert (told, journal.fold.last_seq) == ([1, 2], 2)
        journal.append_many([("text", DELTA, None)], tell=False)
        journal.append("text", DELTA)
        assert told == [1, 2, 3, 4]
        journal.tell()
        assert told == [1, 2, 3, 4]


def test_upkeep_waits_until_who_asked_has_been_answered(tmp_path: Path) -> None:
    big = {"text": "x" * 700_000}
    with Journal.open(str(tmp_path)) as journal:
        journal.append("text", big)
        journal.append_many([("text", big, None)], durable=True, tell=False)
        journal.append_many([("text", DELTA, None)], durable=True, tell=False)
        assert not list(tmp_path.glob("*.snapshot"))
        journal.tell()
        assert [path.name for path in tmp_path.glob("*.snapshot")] == [f"{3:020d}.snapshot"]


# Failing disks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 70, 150])
def test_a_full_disk_leaves_whole_lines_and_space_heals_it(tmp_path: Path, room: int) -> None:
    files = FailingFiles()
    told: list[int] = []
    with Journal.open(str(tmp_path), file_operations=files) as journal:
        journal.on_append.append(lambda events, _: told.extend(event.seq for event in events))
        journal.append("text", DELTA)
        before = (tmp_path / FILE).read_bytes().rstrip(b" ")
        files.room = room
        with pytest.raises(StorageFailed, match="No space left on device") as caught:
            journal.append_many([("text", DELTA, None)] * 3, durable=True)
        assert caught.value.data["errno"] == errno.ENOSPC
        assert caught.value.RETRYABLE
        assert (tmp_path / FILE).read_bytes() == before
        assert journal.last_seq == journal.fold.last_seq == 1
        files.room = None
        journal.append("text", DELTA)
        assert told == [1, 2]
    assert seqs(tmp_path) == [1, 2]


def test_a_write_that_takes_a_part_is_finished(tmp_path: Path) -> None:
    files = FailingFiles()
    files.most = 7
    with Journal.open(str(tmp_path), file_operations=files) as journal:
        journal.append_many([("text", DELTA, None)] * 2)
    assert seqs(tmp_path) == [1, 2]


def test_a_disk_that_cannot_even_cut_is_mended_before_the_next_line(tmp_path: Path) -> None:
    files = FailingFiles()
    with Journal.open(str(tmp_path), file_operations=files) as journal:
        files.room = 30
        files.broken = {"truncate"}
        with pytest.raises(StorageFailed, match="cannot write"):
            journal.append("text", DELTA)
        files.room = None
        with pytest.raises(StorageFailed, match="cannot repair"):
            journal.append("text", DELTA)
        files.broken = set()
        journal.append("text", DELTA)
    assert seqs(tmp_path) == [1]


def test_an_event_that_cannot_be_synced_is_taken_back(tmp_path: Path) -> None:
    files = FailingFiles()
    with Journal.open(str(tmp_path), file_operations=files) as journal:
        journal.append("text", DELTA)
        files.broken = {"sync"}
        with pytest.raises(StorageFailed, match="Input/output error"):
            journal.append("text", DELTA, durable=True)
        with pytest.raises(StorageFailed, match="cannot sync"):
            journal.sync()
        files.broken = set()
        assert journal.append("text", DELTA, durable=True).seq == 2
    assert seqs(tmp_path) == [1, 2]


def test_a_torn_tail_on_a_full_disk_is_noted_once_there_is_space(tmp_path: Path) -> None:
    path = write_segment(tmp_path, [an_event(1)])
    path.write_bytes(path.read_bytes() + b'{"seq"')
    files = FailingFiles()
    files.room = 0
    with Journal.open(str(tmp_path), file_operations=files) as journal:
        assert journal.last_seq == 1
        files.room = None
        assert journal.append("text", DELTA).seq == 3
        assert journal.append("text", DELTA).seq == 4
    types = [event.type for event in iterate(str(tmp_path))]
    assert types == ["text", "warning", "text", "text"]


def test_what_the_system_refuses_at_opening_is_typed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="cannot open"):
        Journal.open(str(tmp_path / "file" / "j"))
    with pytest.raises(StorageFailed, match="cannot read"):
        last_seq(str(tmp_path / "file"))
    files = FailingFiles()
    files.broken = {"open"}
    with pytest.raises(StorageFailed, match="cannot open"):
        Journal.open(str(tmp_path / "j"), file_operations=files)
    path = write_segment(tmp_path, [an_event(1)])
    path.write_bytes(path.read_bytes() + b"torn")
    files.broken = {"truncate"}
    with pytest.raises(StorageFailed, match="cannot repair"):
        Journal.open(str(tmp_path), file_operations=files)
    Journal.open(str(tmp_path)).close()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with small_disk(f"{tmp_path}/tiny", "64k") as where:
        yield Path(where)


def fill(journal: Journal) -> None:
    for _ in range(10_000):
        journal.append_many([("text", {"text": "x" * 300}, None)] * 5)


def test_a_disk_that_is_really_full_fails_clearly_and_heals(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"x" * 20_000)
    directory = tiny_disk / "j"
    with Journal.open(str(directory)) as journal:
        with pytest.raises(StorageFailed, match="No space left on device"):
            fill(journal)
        reached = journal.last_seq
        assert reached > 0
        assert seqs(directory) == list(range(1, reached + 1))
        ballast.unlink()
        journal.append("text", DELTA, durable=True)
    with Journal.open(str(directory)) as journal:
        assert journal.last_seq == reached + 1


# Processes ----------------------------------------------------------------------------------------

WRITER = """
import sys
from pods.journal.store import Journal
journal = Journal.open(sys.argv[1])
while True:
    events = journal.append_many([("text", {"text": "x" * 500}, 1)] * 3, durable=True)
    print(events[-1].seq, flush=True)
"""


@contextlib.contextmanager
def writing(directory: Path) -> Generator[subprocess.Popen[str], None, None]:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, str(directory)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_every_acknowledged_event_and_frees_the_lock(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(50)]
        with pytest.raises(PodRunning, match=str(process.pid)):
            Journal.open(str(tmp_path))
        # Reading needs no lock, also while somebody writes.
        assert last_seq(str(tmp_path)) >= acknowledged[-1]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait(timeout=WAIT_SECONDS)
    with Journal.open(str(tmp_path)) as journal:
        assert journal.last_seq >= acknowledged[-1]
        journal.append("text", DELTA)
        found = seqs(tmp_path)
        assert found == list(range(1, journal.last_seq + 1))
