"""A long journal: segments, snapshots, what retention takes, and a crash or refusal at any step."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from disks import small_disk
from journal_support import FailingFiles, an_event, write_segment
from pods.folds import memory
from pods.journal.fold import PodFold
from pods.journal.reader import iterate, last_seq, read_events
from pods.journal.retention import KEEP_ALL, MIN_SEGMENT_BYTES, Retention
from pods.journal.segments import list_files
from pods.journal.snapshots import restore_state
from pods.journal.store import Journal
from pods_protocol.errors import StorageFailed
from pods_protocol.events import Event

BLOCK = {"text": "x" * 60_000}
"""Some eighteen of them fill a segment of the smallest size."""

SMALL = Retention(max_bytes=2 * MIN_SEGMENT_BYTES)


def open_small(directory: Path, **options: Any) -> Journal:
    """A journal with the smallest segments, of which two and a bit are kept."""
    return Journal.open(str(directory), retention=options.pop("retention", SMALL), **options)


def write(journal: Journal, count: int) -> None:
    for _ in range(count):
        journal.append("text", BLOCK, turn=1)


def names(directory: Path, ending: str) -> list[int]:
    return sorted(int(path.stem) for path in directory.glob(f"*.{ending}"))


def what_was_said(journal: Journal) -> dict[str, Any]:
    return memory(journal.fold)


def begin_turn(journal: Journal) -> None:
    accepted = {"message_id": "m1", "input": "do it", "if_busy": "fail", "state": "started"}
    waiting = {"message_id": "m2", "input": "then this", "if_busy": "queue", "state": "queued"}
    journal.append_many(
        [
            ("status", {"state": "idle"}, None),
            ("message_accepted", accepted, 1),
            ("turn_started", {"message_id": "m1"}, 1),
            ("message_accepted", waiting, None),
        ],
        durable=True,
    )


def test_a_full_segment_is_followed_by_the_next_and_the_numbers_go_on(tmp_path: Path) -> None:
    with open_small(tmp_path, retention=Retention(max_bytes=2**40)) as journal:
        assert journal.append("text", BLOCK).seq == 1
    keep_all = Retention(max_bytes=4 * MIN_SEGMENT_BYTES, max_age_seconds=None)
    with open_small(tmp_path, retention=keep_all) as journal:
        write(journal, 40)
        firsts = names(tmp_path, "jsonl")
        assert len(firsts) == 3
        assert [event.seq for event in iterate(str(tmp_path))] == list(range(1, 42))
        assert last_seq(str(tmp_path)) == journal.last_seq == 41
        for path in tmp_path.glob("*.jsonl"):
            assert path.stat().st_size < MIN_SEGMENT_BYTES + 70_000
        for first in firsts:
            assert read_events(str(tmp_path), first - 2, limit=3).next == first + 1


def test_opening_replays_only_what_the_newest_snapshot_leaves(tmp_path: Path) -> None:
    with open_small(tmp_path, retention=Retention(max_bytes=4 * MIN_SEGMENT_BYTES)) as journal:
        begin_turn(journal)
        write(journal, 40)
        before = what_was_said(journal)
    # What it does not need to read may even be broken: whoever reads it is told.
    oldest = min(tmp_path.glob("*.jsonl"))
    oldest.write_bytes(b"garbage\n" * 10)
    with open_small(tmp_path) as journal:
        assert what_was_said(journal) == before
        assert journal.fold.state == "working"
        assert [one.message_id for one in journal.fold.queue] == ["m2"]
    with pytest.raises(StorageFailed, match="no event"):
        list(iterate(str(tmp_path)))


def test_retention_takes_the_oldest_and_the_state_stays_and_a_reader_gets_a_gap(
    tmp_path: Path,
) -> None:
    with open_small(tmp_path) as journal:
        begin_turn(journal)
        write(journal, 100)
        firsts = names(tmp_path, "jsonl")
        assert firsts[0] > 50
        assert len(firsts) <= 3
        before = what_was_said(journal)
        gap, first, *_ = read_events(str(tmp_path), 10).events
        assert (gap.type, gap.data) == ("gap", {"first": 11, "last": firsts[0] - 1})
        assert first.seq == firsts[0]
    with open_small(tmp_path) as journal:
        assert what_was_said(journal) == before
        assert journal.fold.message("m1") is not None
        assert journal.append("text", {}).seq == 105
    fold = PodFold()
    reached = restore_state(str(tmp_path), fold)
    assert firsts[0] <= reached <= 104
    assert fold.turn == 1


def test_a_segment_that_is_too_old_goes_with_the_next_rotation(tmp_path: Path) -> None:
    now = [1000.0]
    aged = Retention(max_bytes=4 * MIN_SEGMENT_BYTES, max_age_seconds=60)
    with open_small(tmp_path, retention=aged, clock=lambda: now[0]) as journal:
        write(journal, 30)
        for path in tmp_path.glob("*.jsonl"):
            os.utime(path, (1000, 1000))
        now[0] = 1059.0
        write(journal, 18)
        first, second, _ = names(tmp_path, "jsonl")
        assert first == 1
        now[0] = 1061.0
        write(journal, 18)
        # The second was written to since.
        assert names(tmp_path, "jsonl")[0] == second


def damage_newest_snapshot(directory: Path) -> None:
    newest = max(directory.glob("*.snapshot"))
    data = newest.read_bytes()
    newest.write_bytes(data[:-20])


def test_a_torn_snapshot_does_not_count_and_the_one_before_it_does(tmp_path: Path) -> None:
    with open_small(tmp_path) as journal:
        begin_turn(journal)
        write(journal, 100)
        before = what_was_said(journal)
    damage_newest_snapshot(tmp_path)
    with open_small(tmp_path) as journal:
        assert what_was_said(journal) == before
        reached = journal.last_seq
        journal.append("text", {})
        (warning, _) = read_events(str(tmp_path), reached).events
        assert warning.data["code"] == "snapshot_unusable"
        assert "it is damaged" in warning.data["message"]


def test_without_any_snapshot_what_is_there_is_replayed_and_the_loss_is_told(
    tmp_path: Path,
) -> None:
    with open_small(tmp_path) as journal:
        begin_turn(journal)
        write(journal, 100)
    for path in tmp_path.glob("*.snapshot"):
        path.unlink()
    with open_small(tmp_path) as journal:
        assert journal.last_seq == 104
        assert journal.fold.turn is None
        journal.append("text", {})
    warning = read_events(str(tmp_path), 104).events[0]
    assert "not known any more" in warning.data["message"]


def test_a_snapshot_of_another_version_counts_only_where_the_events_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, trimmed = tmp_path / "kept", tmp_path / "trimmed"
    for directory, bound in ((kept, 2**40), (trimmed, SMALL.max_bytes)):
        retention = Retention(max_bytes=bound)
        with open_small(directory, retention=retention) as journal:
            begin_turn(journal)
            write(journal, 100)
    monkeypatch.setattr(PodFold, "MEANING", 99)
    with open_small(kept) as journal:
        assert journal.fold.turn == 1
        journal.append("text", {})
    warning = read_events(str(kept), 104).events[0]
    assert "all events are there to replay" in warning.data["message"]
    with open_small(trimmed) as journal:
        assert [one.message_id for one in journal.fold.queue] == ["m2"]
        journal.append("text", {})
    warning = read_events(str(trimmed), 104).events[0]
    assert "not known any more: nothing" in warning.data["message"]


def test_a_snapshot_of_events_that_a_power_cut_took_does_not_count(tmp_path: Path) -> None:
    with open_small(tmp_path, retention=KEEP_ALL) as journal:
        begin_turn(journal)
        write(journal, 40)
    (snapshot,) = names(tmp_path, "snapshot")
    path = min(tmp_path.glob("*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:10]))
    with open_small(tmp_path, retention=KEEP_ALL) as journal:
        assert journal.last_seq == 10
        for _ in range(snapshot):  # past the seq of the stale one, and short of the next
            journal.append("usage", {"input_tokens": journal.last_seq})
        before = what_was_said(journal)
        assert names(tmp_path, "snapshot") == [snapshot]
    with open_small(tmp_path, retention=KEEP_ALL) as journal:
        assert what_was_said(journal) == before


def test_a_crash_between_any_two_steps_of_a_rotation_loses_nothing(tmp_path: Path) -> None:
    """The directory is copied before each system call of a rotation, and each copy is opened."""
    live = tmp_path / "live"
    copies: list[tuple[str, Path]] = []

    class Watched(FailingFiles):
        watching = False

        def _ask(self, name: str) -> None:
            super()._ask(name)
            if self.watching:
                copy = tmp_path / f"{len(copies):03d}-{name}"
                shutil.copytree(live, copy)
                copies.append((name, copy))

    files = Watched()
    with open_small(live, file_operations=files) as journal:
        begin_turn(journal)
        write(journal, 60)
        while journal._segment.size < MIN_SEGMENT_BYTES:  # pyright: ignore[reportPrivateUsage]  # the next append rotates
            write(journal, 1)
        before, reached = what_was_said(journal), journal.last_seq
        files.watching = True
        write(journal, 1)
        files.watching = False
    assert {"sync", "open", "rename", "unlink", "write", "close"} <= {name for name, _ in copies}
    for name, copy in copies:
        with open_small(copy) as journal:
            whole = journal.last_seq - reached
            assert whole in (0, 1), name
            if not whole:
                assert what_was_said(journal) == before, name
            journal.append("text", {})
            seqs = [event.seq for event in iterate(str(copy), reached - 5)]
            assert seqs == list(range(reached - 4, reached + 2 + whole)), name


@pytest.mark.parametrize("broken", ["sync", "open", "rename", "unlink", "room"])
def test_a_rotation_that_the_disk_refuses_is_put_off_and_healed(
    tmp_path: Path, broken: str
) -> None:
    files = FailingFiles()
    warned: list[str] = []

    def note(events: Sequence[Event], _: object) -> None:
        warned.extend(event.data["code"] for event in events if event.type == "warning")

    with open_small(tmp_path, file_operations=files) as journal:
        journal.on_append.append(note)
        begin_turn(journal)
        write(journal, 60)
        while journal._segment.size < MIN_SEGMENT_BYTES:  # pyright: ignore[reportPrivateUsage]  # the next append rotates
            write(journal, 1)
        first = names(tmp_path, "jsonl")[-1]
        if broken == "room":
            files.room = 100
            with pytest.raises(StorageFailed, match="No space left") as caught:
                write(journal, 1)
            assert caught.value.data["errno"] == errno.ENOSPC
            files.room = None
        else:
            files.broken = {broken}
            write(journal, 3)
            files.broken = set()
        if broken != "unlink":
            assert names(tmp_path, "jsonl")[-1] == first
        write(journal, 40)
        assert names(tmp_path, "jsonl")[-1] > first
        assert not (tmp_path / "snapshot.new").exists()
        before, reached = what_was_said(journal), journal.last_seq
        firsts = names(tmp_path, "jsonl")
        assert len(firsts) <= 3
        events = list(iterate(str(tmp_path), firsts[0] - 1))
        assert [event.seq for event in events] == list(range(firsts[0], reached + 1))
        assert warned == ([] if broken == "unlink" else ["journal_upkeep"])
    with open_small(tmp_path) as journal:
        assert what_was_said(journal) == before


def test_a_segment_whose_name_cannot_be_synced_is_used_and_synced_by_the_next_durable_event(
    tmp_path: Path,
) -> None:
    class NoDirectorySync(FailingFiles):
        refusing = False

        def sync(self, descriptor: int, /) -> None:
            super().sync(descriptor)
            if self.refusing and os.path.isdir(f"/proc/self/fd/{descriptor}"):
                raise OSError(errno.EIO, "broken for this test")

    files = NoDirectorySync()
    with open_small(tmp_path, file_operations=files) as journal:
        begin_turn(journal)
        files.refusing = True
        write(journal, 100)
        assert len(names(tmp_path, "jsonl")) > 3, "nothing is taken before the new names are synced"
        with pytest.raises(StorageFailed, match="cannot write"):
            journal.append("text", {}, durable=True)
        files.refusing = False
        journal.append("text", {}, durable=True)
        write(journal, 18)
        assert len(names(tmp_path, "jsonl")) <= 3
        reached = journal.last_seq
    with open_small(tmp_path) as journal:
        assert journal.last_seq == reached


def test_a_reader_whose_file_is_taken_under_it_goes_on_with_a_gap(tmp_path: Path) -> None:
    with open_small(tmp_path, retention=Retention(max_bytes=4 * MIN_SEGMENT_BYTES)) as journal:
        write(journal, 60)
    reading = iterate(str(tmp_path))
    assert next(reading).seq == 1
    segments = list_files(str(tmp_path)).segments
    for segment in segments[:2]:
        os.unlink(segment.path)
    rest = list(reading)
    (gap,) = [event for event in rest if event.type == "gap"]
    assert gap.seq == segments[2].first - 1
    assert [event.seq for event in rest if event.type != "gap"] == [
        *range(2, segments[1].first),
        *range(segments[2].first, 61),
    ]


def test_a_reader_for_whom_the_newest_file_is_gone_already_finds_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_segment(tmp_path, [an_event(1)])
    real = os.open

    def late(path: str, flags: int) -> int:
        if old.exists():
            old.unlink()
            write_segment(tmp_path, [an_event(2), an_event(3)])
        return real(path, flags)

    monkeypatch.setattr(os, "open", late)
    assert last_seq(str(tmp_path)) == 3


@pytest.mark.parametrize("name", ["snapshot", "jsonl"])
def test_what_a_pod_plants_in_its_journal_neither_hangs_nor_misleads_its_supervisor(
    tmp_path: Path, name: str
) -> None:
    journal = tmp_path / "j"
    with Journal.open(str(journal)) as writer:
        writer.append("text", {"text": "a"})
    secret = tmp_path / "secret"
    secret.write_text("precious")
    planted = journal / f"{(1 if name == 'snapshot' else 2):020d}.{name}"
    os.mkfifo(planted)
    try_to_open(journal, name)
    planted.unlink()
    planted.symlink_to(secret)
    try_to_open(journal, name)
    assert secret.read_text() == "precious"
    planted.unlink()
    (journal / "snapshot.new").symlink_to(secret)
    with open_small(journal) as writer:
        write(writer, 40)
    assert secret.read_text() == "precious"


def try_to_open(journal: Path, name: str) -> None:
    if name == "jsonl":
        with pytest.raises(StorageFailed):
            last_seq(str(journal))
        with pytest.raises(StorageFailed):
            Journal.open(str(journal))
        return
    assert restore_state(str(journal), PodFold()) == 0
    with Journal.open(str(journal)) as writer:
        assert writer.last_seq >= 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    with small_disk(f"{tmp_path}/disk", "3m") as where:
        yield Path(where)


def test_a_really_full_disk_at_a_rotation_heals_and_retention_keeps_within_a_small_one(
    disk: Path,
) -> None:
    ballast = disk / "ballast"
    directory = disk / "j"
    with open_small(directory) as journal:
        begin_turn(journal)
        write(journal, 15)
        ballast.write_bytes(b"x" * (2 * 2**20 - 300_000))
        with pytest.raises(StorageFailed, match="No space left"):
            write(journal, 30)
        reached = journal.last_seq
        assert [event.seq for event in iterate(str(directory))] == list(range(1, reached + 1))
        ballast.unlink()
        write(journal, 10)
        assert journal.fold.turn == 1
    with open_small(directory) as journal:
        assert journal.fold.turn == 1
        assert [one.message_id for one in journal.fold.queue] == ["m2"]
