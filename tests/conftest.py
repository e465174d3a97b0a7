"""What every test gets, and the check that a run leaves nothing behind.

The test process is a child subreaper: whatever a test starts and loses, however it daemonised,
becomes our child and is found at the end. Directories for sockets are short, private and removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from directories import PREFIX, short_directory

settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")
# How long an example takes says what else the machine does, not whether the code is right.

PR_SET_CHILD_SUBREAPER = 36
FAREWELL_SECONDS = 20.0
"""Processes that were told to end at the end of the last test may take this long."""


def children_of(pid: int) -> list[int]:
    """Direct children of a process, zombies included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def describe(pid: int) -> str:
    """The command line of a process, or its name where it is a zombie."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        return f"{pid} ({name}, {state}): {command}"
    return str(pid)


def reap(pid: int) -> bool:
    """Whether the child has ended; collects it if so."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def left_over(before: set[int]) -> list[int]:
    """Children that live and are new; those that have ended are collected."""
    return [pid for pid in children_of(os.getpid()) if pid not in before and not reap(pid)]


def wait_for_end(pid: int, deadline: float) -> None:
    """Wait until a child ends, or the deadline (of `time.monotonic`) has passed."""
    descriptor = os.pidfd_open(pid)
    try:
        select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
    finally:
        os.close(descriptor)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail the run if a process that a test started outlives it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(children_of(os.getpid()))
    there = set(glob.glob(f"{PREFIX}*"))  # of a killed run whose process had our number
    yield
    deadline = time.monotonic() + FAREWELL_SECONDS
    while (left := left_over(before)) and time.monotonic() < deadline:
        wait_for_end(left[0], deadline)
    described = [describe(pid) for pid in left]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        reap(pid)
    assert not described, f"processes survived the tests: {described}"
    stale = set(glob.glob(f"{PREFIX}*")) - there
    assert not stale, f"directories survived the tests: {stale}"


@pytest.fixture
def short_dir() -> Iterator[str]:
    """A private directory with a short path, for sockets; removed at the end of the test."""
    with short_directory() as path:
        yield path


@pytest.fixture
def pods_environ(short_dir: str) -> dict[str, str]:
    """An environment whose runtime and state directories are the test's own."""
    environ = dict(os.environ)
    for name in ("PODS_SOCKET", "PODS_TOKEN_FILE", "PODS_SUPERVISOR", "XDG_RUNTIME_DIR"):
        environ.pop(name, None)
    environ["PODS_RUNTIME_DIR"] = f"{short_dir}/r"
    environ["PODS_STATE_DIR"] = f"{short_dir}/s"
    return environ
