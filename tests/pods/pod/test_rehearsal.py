"""The rehearsal of a pod's start: it goes through, leaves nothing, and runs no loop."""

from __future__ import annotations

import os
import threading

import pytest

from pods.pod.rehearsal import rehearse

FORBIDDEN = ("/nowhere/state", "/nowhere/runtime")


def test_a_rehearsal_leaves_nothing_and_starts_nothing(short_dir: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())  # trio keeps those of earlier tests for a while
    rehearse(f"{short_dir}/rehearsal", forbidden=FORBIDDEN)
    assert os.listdir(short_dir) == []
    assert set(os.listdir("/proc/self/fd")) == before
    assert set(threading.enumerate()) <= threads


def test_a_rehearsal_without_a_place_says_so(short_dir: str) -> None:
    with pytest.raises(FileNotFoundError):
        rehearse(f"{short_dir}/missing/rehearsal", forbidden=FORBIDDEN)
