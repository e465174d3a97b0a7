"""The lock in front of the registry file, with a deadline and a queue in the kernel.

Owns two files beside the registry, neither of which is ever unlinked: that would split those who
wait. `registry.json.lock` is a `filelock` lock; it is what makes the registry safe. filelock polls,
though, and sixty processes that poll starve each other. So whoever wants it first stands in line
on `registry.json.queue`, a plain `flock` in which the kernel lets waiters sleep and wakes them one
by one; the first in line finds the filelock free. Knows nothing of leases. `registry` calls it,
never on an event loop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods_protocol.errors import PodsError, StorageFailed, TimedOut

if TYPE_CHECKING:
    from filelock import FileLock

POLL_SECONDS: Final = 0.005
"""Between two tries of the filelock. Only the first in line polls, so it may be short; it polls at
all only against a program that takes the filelock without standing in line."""


class RegistryLock:
    """An exclusive lock between processes and between threads.

    Args:
        path: of the registry; the lock's files get their names from it.
        timeout_seconds: how long `held` waits at most.
    """

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self.path = f"{path}.lock"
        self._queue_path = f"{path}.queue"
        self._timeout_seconds = timeout_seconds
        self._threads = threading.Lock()
        self._lock: FileLock | None = None
        self._lock_pid = 0
        self._names: tuple[str, ...] = ()

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Hold the lock within the block.

        Raises:
            TimedOut: somebody else holds it for too long; names the process where that is known.
            StorageFailed: the lock's files cannot be opened.
            CapacityReached: no descriptor is left to open them.
        """
        deadline = time.monotonic() + self._timeout_seconds
        if not self._threads.acquire(timeout=self._timeout_seconds):
            raise self._timed_out(os.getpid())
        try:
            with self._in_line(deadline):
                lock = self._file_lock()
                self._acquire(lock, deadline)
                try:
                    yield
                finally:
                    lock.release()
        finally:
            self._threads.release()

    def _acquire(self, lock: FileLock, deadline: float) -> None:
        import filelock  # see _file_lock

        try:
            lock.acquire(timeout=max(0.0, deadline - time.monotonic()), poll_interval=POLL_SECONDS)
        except filelock.Timeout:
            raise self._timed_out(holder_of(self.path)) from None
        except OSError as error:
            raise self._cannot_open(self.path, error) from error

    def _file_lock(self) -> FileLock:
        # A filelock belongs to the process that made it; a forked child makes its own.
        if self._lock is None or self._lock_pid != os.getpid():
            from pathlib import PurePath

            from filelock import FileLock  # 20 ms that a program without leases need not pay

            self._lock = FileLock(self.path, mode=0o600)
            # filelock makes a Path at each turn, and Python interns the parts of each: held here
            # they are found. Else they come and go in the one table of all interned strings, which
            # is made anew (a megabyte) every few thousand turns, beside the hole of the last one.
            self._names = PurePath(self.path).parts
            self._lock_pid = os.getpid()
        return self._lock

    @contextlib.contextmanager
    def _in_line(self, deadline: float) -> Generator[None]:
        descriptor = self._enter_line(deadline)
        try:
            yield
        finally:
            # Closing lets go: no child has inherited it.
            os.close(descriptor)

    def _enter_line(self, deadline: float) -> int:
        """The descriptor whose closing leaves the line; we are first in it."""
        try:
            descriptor = os.open(
                self._queue_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            else:
                return descriptor
            # From here on the descriptor is the waiter's: it alone knows when it may be closed.
            waiter = _Waiter(descriptor)
            if waiter.wait(deadline - time.monotonic()):
                return descriptor
        except OSError as error:
            raise self._cannot_open(self._queue_path, error) from error
        raise self._timed_out(holder_of(self._queue_path))

    def _timed_out(self, holder: int | None) -> TimedOut:
        who = "another process" if holder is None else _describe_process(holder)
        return TimedOut(
            f"cannot use the scope registry: {who} has held its lock {self.path} for "
            f"{self._timeout_seconds:g} seconds; try again, or end that process if it hangs",
            timeout_seconds=self._timeout_seconds,
            holder=holder,
        )

    def _cannot_open(self, path: str, error: OSError) -> PodsError:
        if is_out_of_descriptors(error):
            return no_descriptors(f"lock the scope registry at {path}", error)
        return StorageFailed(
            f"cannot lock the scope registry at {path}: {os.strerror(error.errno or 0)}; check "
            "that the directory is yours and the disk is not full",
            path=path,
            errno=error.errno,
        )


class _Waiter:
    """A thread asleep in the kernel's queue, because `flock` takes no deadline.

    Whoever gives up leaves the thread in the queue; when its turn comes, it lets go at once.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decided = threading.Lock()
        self._arrived = threading.Event()
        self._given_up = False
        self._error: OSError | None = None
        threading.Thread(target=self._run, name="pods-registry-wait", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether our turn has come before the time was over; if so, the caller closes.

        Raises:
            OSError: the kernel refuses to wait; the descriptor is closed.
        """
        self._arrived.wait(max(0.0, seconds))
        with self._decided:
            if not self._arrived.is_set():
                self._given_up = True
                return False
        if self._error is not None:
            os.close(self._descriptor)
            raise self._error
        return True

    def _run(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self._error = error
        with self._decided:
            if self._given_up:
                os.close(self._descriptor)
            else:
                self._arrived.set()


def holder_of(path: str) -> int | None:
    """The process that holds a `flock` on the file, as the kernel lists it; None if not known."""
    try:
        found = os.stat(path)
        with open("/proc/locks", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    inode = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        fields = line.split()
        # "1: FLOCK ADVISORY WRITE 4711 08:01:1234 0 EOF"; those who wait have "->" in second place.
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == inode and int(fields[4]) > 0:
            return int(fields[4])
    return None


def _describe_process(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f"process {pid} ({file.read().strip()})"
    except OSError:
        return f"process {pid}"
