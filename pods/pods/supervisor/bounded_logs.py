"""Logs that are kept within a bound though nobody asks whoever writes them.

A pod's `stderr.log` is written by its keeper, its process, its agent's code and every program that
inherits the descriptor; the supervisor's log also by the launcher and by Python itself. All of them
append (`O_APPEND`), so a file can be cut under them: what comes next is written behind what was
kept. The kernel tells of a file that grows (inotify): what says nothing costs nothing.

Owns the bounds, the cut and the watch. While no supervisor lives nobody looks; the next one does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from pods.inotify import DONT_FOLLOW, MODIFY, NONBLOCK, Inotify

MAX_LOG_BYTES: Final = 2 * 1024 * 1024
"""Of one log: twice what a process of a vendor's agent may say in there."""

KEPT_BYTES: Final = 1024 * 1024
"""Of one that is over it, the newest: the end says what went wrong."""

PAUSE_SECONDS: Final = 1.0
"""Between two looks while somebody writes. What is written meanwhile is what a log may have above
its bound, and a pod that never stops talking wakes the supervisor so often and no more."""

RAISE: Final = "raise fs.inotify.max_user_instances and max_user_watches (sysctl)"

NOTE: Final = b"[older lines were cut off here: this log is kept within %d bytes]\n" % MAX_LOG_BYTES


def keep_within(path: str) -> bool:
    """Cut a log that is over its bound to its newest lines; whether that was done.

    They are written over its beginning, which takes no new blocks, and the rest goes at once: a
    full disk leaves it as long as it was, and whoever writes meanwhile does so behind them. A line
    that is written in the very moment of the cut may be lost. What is no plain file of this user's
    alone is left as it is: a pod that nothing holds may have put it there.

    Raises:
        OSError: it is not there, or the system refuses.
    """
    # Not O_APPEND: Linux would append what is to be written at the beginning.
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        seen = os.fstat(descriptor)
        plain = stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 and seen.st_uid == os.geteuid()
        if not plain or seen.st_size <= MAX_LOG_BYTES:
            return False
        newest = os.pread(descriptor, KEPT_BYTES, seen.st_size - KEPT_BYTES)
        _, cut, lines = newest.partition(b"\n")
        end = _write_at(descriptor, NOTE + (lines if cut else newest), 0)
        meanwhile = os.pread(descriptor, KEPT_BYTES, seen.st_size)
        end = _write_at(descriptor, meanwhile, end)
        os.ftruncate(descriptor, end)
        return True
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, content: bytes, offset: int) -> int:
    """Write all of it there; returns where it ends."""
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written
    return offset


class BoundedLogs:
    """Keeps the logs of some pods, and the supervisor's own, within their bound.

    Args:
        say: told where the kernel cannot tell of logs that grow; they are looked at all the same
            as they are added and as they are discarded.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._paths: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._kernel: Inotify | None = None
        self._untold = False  # the kernel has said that it will tell of nothing

    def add(self, name: str, path: str) -> None:
        """Keep a log within its bound from here on; again for the same one is harmless."""
        self._paths[name] = path
        if self._kernel is not None:
            self._watch(self._kernel, name)
        elif self._untold:
            _look(path)

    def discard(self, name: str) -> None:
        """Look at it for the last time: its writers are gone."""
        path = self._paths.pop(name, None)
        if path is None:
            return
        for number in [one for one, called in self._names.items() if called == name]:
            del self._names[number]
            if self._kernel is not None:
                self._kernel.unwatch(number)
        _look(path)

    async def run(self) -> None:
        """Look at what grows, until cancelled."""
        try:
            kernel = Inotify(NONBLOCK)
        except OSError as error:
            self._say(f"cannot keep logs within their bound: inotify: {error.strerror}; {RAISE}")
            self._untold = True
            for path in self._paths.values():
                _look(path)
            return
        with kernel:
            self._kernel = kernel
            try:
                for name in list(self._paths):
                    self._watch(kernel, name)
                while True:
                    await trio.lowlevel.wait_readable(kernel.descriptor)
                    for name in self._grown(kernel.read()):
                        _look(self._paths[name])
                    await trio.sleep(PAUSE_SECONDS)
            finally:
                self._kernel = None

    def _watch(self, kernel: Inotify, name: str) -> None:
        path = self._paths[name]
        try:
            self._names[kernel.watch(path, MODIFY | DONT_FOLLOW)] = name
        except FileNotFoundError:
            return  # a full disk left the pod without one
        except OSError as error:
            self._say(f"cannot keep {path} within its bound: inotify: {error.strerror}; {RAISE}")
        _look(path)  # it may have grown before

    def _grown(self, numbers: set[int]) -> list[str]:
        """Which logs these are: all of them, where the kernel has lost count."""
        if -1 in numbers:
            return list(self._paths)
        return [self._names[number] for number in numbers if number in self._names]


def _look(path: str) -> None:
    with suppress(OSError):
        keep_within(path)
