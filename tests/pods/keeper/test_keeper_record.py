"""The record of an end survives a disk that refuses it: offered until it was read or written."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pods.keeper.last_word import EXIT_UNRECORDED
from pods.keeper.record import read_record, record_from, write_record
from pods_protocol.errors import StorageFailed
from pods_protocol.process_messages import GetKeeperStatus, KeeperStatus, SignalTree
from pods_protocol.values import ExitRecord
from process_support import BlockingClient, RunningLauncher, ask_pod, ended, wait_for


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = ExitRecord(status=-9, reason="signalled", survivors_killed=4, time=12.5)
    write_record(str(tmp_path), record)
    assert read_record(str(tmp_path)) == record
    assert [entry.name for entry in tmp_path.iterdir()] == ["exit.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"status": "zero"}', b"\xff"])
def test_what_is_no_record_reads_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "exit.json").write_bytes(content)
    assert read_record(str(tmp_path)) is None


def test_a_directory_that_is_gone_is_a_typed_refusal(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        write_record(str(tmp_path / "gone"), record_from(0, 0))


@pytest.mark.parametrize(
    ("wait_status", "status", "reason"),
    [(0, 0, "exited"), (7 << 8, 7, "exited"), (9, -9, "signalled"), (11 | 0x80, -11, "signalled")],
)
def test_a_wait_status_becomes_a_record(wait_status: int, status: int, reason: str) -> None:
    record = record_from(wait_status, 0)
    assert (record.status, record.reason) == (status, reason)


def take_away(directory: str, away: str) -> None:
    """Let every write into the directory be refused: a file stands in its place.

    Not just gone: a keeper whose directory was removed has nowhere to write, and waits for nothing.
    """
    os.rename(directory, away)
    Path(directory).touch()


def test_a_keeper_whose_directory_was_removed_ends_without_offering_its_record(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    launcher.launch(client, spec)
    pod = ask_pod(spec)["pid"]
    os.rename(spec.state_directory, f"{spec.state_directory}.away")
    os.kill(pod, signal.SIGKILL)
    assert ended(client, spec).status == EXIT_UNRECORDED


def test_a_record_that_the_disk_refuses_is_told_until_it_was_read(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    launcher.launch(client, spec)
    pod = ask_pod(spec)["pid"]
    away = f"{spec.state_directory}.away"
    with launcher.connect_keeper(spec) as keeper:
        take_away(spec.state_directory, away)
        os.kill(pod, signal.SIGKILL)
        told: list[KeeperStatus] = []

        def has_record() -> bool:
            told.append(keeper.ask(GetKeeperStatus()))
            return told[-1].exit is not None

        wait_for(has_record, "the record is not told")
        keeper.wait_end()
    assert told[-1].exit is not None
    assert told[-1].exit.status == -signal.SIGKILL
    assert told[-1].processes == 0
    assert ended(client, spec).status == EXIT_UNRECORDED


def test_a_record_is_written_once_the_disk_takes_it(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    launcher.launch(client, spec)
    ask_pod(spec)
    away = f"{spec.state_directory}.away"
    take_away(spec.state_directory, away)
    with launcher.connect_keeper(spec) as keeper:
        keeper.ask(SignalTree(signal="kill"))
    wait_for(
        lambda: "cannot write" in Path(away, "stderr.log").read_text(), "the disk is not tried"
    )
    os.unlink(spec.state_directory)
    os.rename(away, spec.state_directory)
    assert ended(client, spec).status == 0
    record = read_record(spec.state_directory)
    assert record is not None
    assert record.status == -signal.SIGKILL
