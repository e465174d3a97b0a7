"""Logs that others write stay within a bound: cut as they grow, and as their pods end."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from pods.inotify import Inotify
from pods.supervisor import bounded_logs
from pods.supervisor.bounded_logs import KEPT_BYTES, MAX_LOG_BYTES, NOTE, BoundedLogs, keep_within
from pods.supervisor.log import Log
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client

LINE = b"x" * 99 + b"\n"
TOO_MUCH = LINE * (MAX_LOG_BYTES // len(LINE) + 1)


def _fail(text: str) -> None:
    raise AssertionError(text)


def _nothing_grew(_logs: BoundedLogs, _numbers: set[int]) -> list[str]:
    return []


def _lost_count(_kernel: Inotify) -> set[int]:
    return {-1}


async def _until(there: Callable[[], bool]) -> None:
    while not there():
        await trio.lowlevel.checkpoint()


def _append(path: Path) -> None:
    with open(path, "ab", buffering=0) as writer:
        writer.write(TOO_MUCH)


def test_a_log_is_cut_to_its_newest_lines_and_appending_goes_on_behind_them(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "ab", buffering=0) as writer:
        writer.write(TOO_MUCH + b"the last\n")
        assert keep_within(str(path))
        writer.write(b"and on\n")
    content = path.read_bytes()
    assert content.startswith(NOTE + LINE)
    assert content.endswith(LINE + b"the last\nand on\n")
    assert KEPT_BYTES - len(LINE) < len(content) < KEPT_BYTES + 200
    assert not keep_within(str(path))


@pytest.mark.parametrize("step", ["pread", "pwrite", "ftruncate"])
def test_what_is_written_around_a_step_of_the_cut_stands_behind_its_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "log"
    path.write_bytes(TOO_MUCH)
    real = getattr(os, step)

    def beside_a_writer(*args: object) -> object:
        result = real(*args)
        with open(path, "ab", buffering=0) as writer:
            writer.write(b"meanwhile\n")
        return result

    monkeypatch.setattr(os, step, beside_a_writer)
    assert keep_within(str(path))
    content = path.read_bytes()
    assert content.startswith(NOTE + LINE)
    assert content.endswith(LINE + b"meanwhile\n")


def test_a_disk_that_refuses_the_cut_leaves_the_log_as_long_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "log"
    path.write_bytes(TOO_MUCH)
    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(OSError, match="Input/output"):
        keep_within(str(path))
    assert path.read_bytes() == TOO_MUCH


def test_one_line_without_an_end_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"y" * (MAX_LOG_BYTES + 1))
    assert keep_within(str(path))
    assert path.read_bytes() == NOTE + b"y" * KEPT_BYTES


def test_what_is_no_plain_file_of_its_own_is_left(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(TOO_MUCH)
    os.link(other, tmp_path / "linked")
    assert not keep_within(str(tmp_path / "linked"))
    os.symlink(other, tmp_path / "symlink")
    with pytest.raises(OSError, match="symbolic links"):
        keep_within(str(tmp_path / "symlink"))
    os.mkfifo(tmp_path / "pipe")
    assert not keep_within(str(tmp_path / "pipe"))
    assert other.read_bytes() == TOO_MUCH


def test_the_supervisors_log_stays_within_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(TOO_MUCH)
    Log(str(path))("one more")
    assert path.stat().st_size < KEPT_BYTES + 200
    assert path.read_text().endswith("one more\n")
    assert os.listdir(tmp_path) == ["log"]


async def test_what_a_pod_and_its_programs_say_goes_on_behind_a_cut(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_logs, "PAUSE_SECONDS", 0.0)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn(
                "one", agent="supervisor_support:Loud", prompt=str(MAX_LOG_BYTES + 1)
            )
            await client.wait("one")
            (live,) = supervisor.pods.values()
            log = Path(live.directory) / "stderr.log"
            await _until(lambda: log.stat().st_size < MAX_LOG_BYTES)
            await client.send("one", "5")
            await client.wait("one")
            content = log.read_bytes()
            assert content.startswith(NOTE)
            assert content.endswith(b"xxxxx\ndone\n")
            assert len(content) < MAX_LOG_BYTES
    assert left_in(pods_environ) == NOTHING


async def test_a_pods_log_is_cut_while_it_runs_and_once_more_as_it_ends(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_logs, "PAUSE_SECONDS", 0.0)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", agent="echo", prompt="hi")
            await client.wait("one")
            (live,) = supervisor.pods.values()
            log = Path(live.directory) / "stderr.log"
            for _ in range(2):
                _append(log)
                await _until(lambda: log.stat().st_size < MAX_LOG_BYTES)
            monkeypatch.setattr(BoundedLogs, "_grown", _nothing_grew)
            _append(log)
            await client.stop("one")
            assert log.stat().st_size < MAX_LOG_BYTES
    assert left_in(pods_environ) == NOTHING


async def test_logs_that_had_grown_before_are_cut_and_all_are_where_the_kernel_lost_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_logs, "PAUSE_SECONDS", 0.0)
    path = tmp_path / "log"
    path.write_bytes(TOO_MUCH)
    logs = BoundedLogs(_fail)
    logs.add("one", str(path))
    logs.add("none", str(tmp_path / "none"))
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(logs.run)
            await _until(lambda: path.stat().st_size < MAX_LOG_BYTES)
            monkeypatch.setattr(Inotify, "read", _lost_count)
            _append(path)
            await _until(lambda: path.stat().st_size < MAX_LOG_BYTES)
            nursery.cancel_scope.cancel()


async def test_it_says_so_where_the_kernel_tells_nothing_and_looks_at_the_beginning_and_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Inotify, "__init__", refuse)
    said: list[str] = []
    path = tmp_path / "log"
    path.write_bytes(TOO_MUCH)
    logs = BoundedLogs(said.append)
    logs.add("one", str(path))
    await logs.run()
    assert said == [
        "cannot keep logs within their bound: inotify: Too many open files; raise "
        "fs.inotify.max_user_instances and max_user_watches (sysctl)"
    ]
    assert path.stat().st_size < MAX_LOG_BYTES
    later = tmp_path / "later"
    later.write_bytes(TOO_MUCH)
    logs.add("later", str(later))
    assert later.stat().st_size < MAX_LOG_BYTES
    _append(path)
    logs.discard("one")
    assert path.stat().st_size < MAX_LOG_BYTES
