"""The lock: exclusive, patient up to a deadline, and it knows who is in the way."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from pods.scope.locking import RegistryLock, holder_of
from pods_protocol.errors import StorageFailed, TimedOut

HOLDER = """
import sys
from pods.scope.locking import RegistryLock
with RegistryLock(sys.argv[1], 30.0).held():
    print("held", flush=True)
    sys.stdin.readline()
"""
FOREIGN = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1] + ".lock"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "registry.json")


def start(code: str, path: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def holder(path: str) -> Iterator[subprocess.Popen[str]]:
    process = start(HOLDER, path)
    yield process
    process.communicate("\n")


def waiting_for(path: str) -> bool:
    """Whether somebody sleeps in the kernel's queue for a lock."""
    return any(line.split()[1] == "->" for line in Path("/proc/locks").read_text().splitlines())


def test_whoever_waits_gets_it_when_it_is_free(path: str, holder: subprocess.Popen[str]) -> None:
    got = threading.Event()

    def wait() -> None:
        with RegistryLock(path, 30.0).held():
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while not waiting_for(path):
        os.sched_yield()
    assert not got.is_set()
    assert holder.stdin is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert got.wait(30.0)
    thread.join()


def test_the_deadline_names_who_holds_it(path: str, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(TimedOut) as refused, RegistryLock(path, 0.05).held():
        pass
    assert refused.value.data == {"timeout_seconds": 0.05, "holder": holder.pid}
    assert f"process {holder.pid} (python" in refused.value.message


def test_whoever_gave_up_does_not_keep_others_waiting(path: str) -> None:
    holder = start(HOLDER, path)
    with pytest.raises(TimedOut), RegistryLock(path, 0.05).held():
        pass
    holder.communicate("\n")
    # The place in the line that was given up comes first, and is let go at once.
    with RegistryLock(path, 30.0).held():
        pass


def test_a_program_that_takes_the_filelock_alone_is_waited_for(path: str) -> None:
    foreign = start(FOREIGN, path)
    with pytest.raises(TimedOut) as refused, RegistryLock(path, 0.05).held():
        pass
    assert refused.value.data["holder"] == foreign.pid
    foreign.communicate("\n")
    with RegistryLock(path, 30.0).held():
        pass


def test_a_program_that_takes_the_filelock_alone_is_kept_out(path: str) -> None:
    with RegistryLock(path, 1.0).held(), pytest.raises(TimeoutError), FileLock(f"{path}.lock", 0):
        pass


def test_threads_that_share_a_lock_have_a_deadline_too(path: str) -> None:
    lock = RegistryLock(path, 0.05)
    with lock.held(), pytest.raises(TimedOut) as refused, lock.held():
        pass
    assert refused.value.data["holder"] == os.getpid()


def test_the_lock_is_free_after_an_error_inside(path: str) -> None:
    lock = RegistryLock(path, 1.0)
    with pytest.raises(ZeroDivisionError), lock.held():
        raise ZeroDivisionError
    with lock.held():
        pass


def test_the_locks_files_stay_for_ever(path: str) -> None:
    lock = RegistryLock(path, 1.0)
    with lock.held():
        first = {name: os.stat(f"{path}.{name}").st_ino for name in ("lock", "queue")}
    with lock.held():
        pass
    assert {name: os.stat(f"{path}.{name}").st_ino for name in ("lock", "queue")} == first


@pytest.mark.parametrize("name", ["lock", "queue"])
def test_a_lock_that_cannot_be_opened_is_a_failure_of_the_disk(path: str, name: str) -> None:
    os.mkdir(f"{path}.{name}")
    with pytest.raises(StorageFailed) as refused, RegistryLock(path, 1.0).held():
        pass
    assert refused.value.data["path"] == f"{path}.{name}"


@pytest.mark.parametrize("refused_operation", [fcntl.LOCK_EX, fcntl.LOCK_EX | fcntl.LOCK_NB])
def test_a_lock_that_the_kernel_refuses_is_a_failure_of_the_disk(
    path: str,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    refused_operation: int,
) -> None:
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if operation == refused_operation:
            raise OSError(37, "No locks available")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageFailed), RegistryLock(path, 1.0).held():
        pass


def test_nobody_holds_a_file_that_is_free_or_missing(path: str) -> None:
    assert holder_of(path) is None
    Path(path).touch()
    assert holder_of(path) is None


@pytest.mark.parametrize(
    ("pid", "said"), [(2**22 + 1, f"process {2**22 + 1} has held"), (None, "another process has")]
)
def test_a_holder_that_is_not_known_by_name_is_told_as_far_as_it_is(
    path: str,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    pid: int | None,
    said: str,
) -> None:
    def holder_of(path: str) -> int | None:
        return pid

    monkeypatch.setattr("pods.scope.locking.holder_of", holder_of)
    with pytest.raises(TimedOut, match=said), RegistryLock(path, 0.05).held():
        pass
