"""What is counted of a tree of processes, of real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator

import pytest

from pods.pod.tally import anonymous_bytes, children_of, tree_below
from process_support import WAIT_SECONDS, state_of, wait_for

HEADLESS = """
import ctypes, sys, threading
held = b"x" * (64 << 20)
def stay():
    print("up", flush=True)
    sys.stdin.read()
threading.Thread(target=stay).start()
ctypes.CDLL(None).pthread_exit(None)
"""
"""Its first thread ends; the other holds the memory."""


@pytest.fixture
def family() -> Generator[subprocess.Popen[bytes]]:
    """A shell with two children, of which one has a child."""
    with subprocess.Popen(
        ["bash", "-c", "sleep 1000 & (sleep 1000; true) & wait"], start_new_session=True
    ) as shell:
        wait_for(lambda: len(list(tree_below([shell.pid]))) == 4, "it does not start")
        yield shell
        for pid in list(tree_below([shell.pid])):
            os.kill(pid, 9)


def test_a_tree_is_everything_below_its_roots_without_what_is_set_apart(
    family: subprocess.Popen[bytes],
) -> None:
    found = set(tree_below([family.pid]))
    assert set(tree_below([family.pid, family.pid], apart=[family.pid])) == found - {family.pid}
    assert set(children_of(family.pid)) < found
    assert os.getpid() not in found


def test_the_memory_of_a_process_whose_first_thread_has_ended_is_seen() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HEADLESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        wait_for(lambda: state_of(process.pid) == "Z", "its first thread does not end")
        found = anonymous_bytes(process.pid)
        assert found is not None
        assert found > 64 << 20
        process.kill()


def test_what_has_ended_takes_nothing() -> None:
    with subprocess.Popen(["true"]) as process:
        wait_for(lambda: state_of(process.pid) == "Z", "it does not end")
        assert anonymous_bytes(process.pid) is None
        assert list(tree_below([process.pid])) == [process.pid]
        process.wait(WAIT_SECONDS)
    assert anonymous_bytes(process.pid) is None
    assert children_of(process.pid) == []
