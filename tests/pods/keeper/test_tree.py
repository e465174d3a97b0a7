"""Reaping and walking end, however fast programs fork: a keeper has to hear what it is told."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from typing import Any

import pytest

from confined import in_child
from pods.keeper.tree import count_tree, find_tree, has_ended, read_stat, reap

MOST = 8

EXIT_CALLS = {"x86_64": 60, "aarch64": 93}
"""Ends the calling thread alone."""


def _sleeper() -> int:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


def test_one_reap_takes_so_many_and_says_that_there_may_be_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pods.keeper.tree.MAX_REAPED", MOST)

    def act() -> list[Any]:
        pids = [os.fork() or os._exit(0) for _ in range(MOST + 1)]
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        seen: list[int] = []
        looks = [reap(lambda pid, status: seen.append(pid)) for _ in range(2)]
        return [len(seen), set(seen) == set(pids), *map(tuple, looks)]

    first, second = [True, False, True], [True, True, False]
    assert in_child(act) == [MOST + 1, True, first, second]


def test_a_walk_that_is_out_of_time_ends_with_what_it_found() -> None:
    def act() -> list[int]:
        pids = [_sleeper() for _ in range(12)]
        try:
            return [len(find_tree(seconds=0.0)), count_tree()]
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

    assert in_child(act) == [0, 12]


@pytest.mark.skipif(os.uname().machine not in EXIT_CALLS, reason="no number for the call")
def test_a_process_whose_first_thread_ended_has_ended_only_with_its_last_one() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        runs = threading.Event()

        def other() -> None:
            runs.set()
            while b"Z" not in read_stat(os.getpid()).rpartition(b")")[2][:3]:
                os.sched_yield()
            os.write(writer, b"x")
            threading.Event().wait()

        threading.Thread(target=other).start()
        runs.wait()
        ctypes.CDLL(None).syscall(EXIT_CALLS[os.uname().machine], 0)
    try:
        assert os.read(reader, 1) == b"x"
        assert not has_ended(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        ended = has_ended(pid)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
    assert ended
    assert has_ended(pid)
