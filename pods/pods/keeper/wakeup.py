"""Signals as something a `poll` can wait for.

Owns the pair of sockets into which the interpreter writes the number of each signal that arrives,
so that one `select` waits for clients and children alike and nothing is ever polled. Used by the
keeper and the launcher.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterable
from types import FrameType
from typing import Final

READ_BYTES: Final = 4096
"""Signal numbers taken at once; one byte each, and those that do not fit are not needed: a full
pair wakes the loop just as well, and children are counted by `waitpid`."""


class Wakeup:
    """Notices signals from its making until `close`.

    Args:
        numbers: the signals to notice.
        ignored: the signals to ignore from here on.
    """

    def __init__(self, numbers: Iterable[int], *, ignored: Iterable[int] = ()) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        # A keeper is forked from a launcher that has set the same: to look writes to fewer pages.
        for number in numbers:
            if signal.getsignal(number) is not _do_nothing:
                signal.signal(number, _do_nothing)
        for number in ignored:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_IGN)

    def take(self) -> bytes:
        """The numbers of the signals that arrived since the last time, one byte each."""
        with contextlib.suppress(BlockingIOError):
            return self.reader.recv(READ_BYTES)
        return b""

    def close(self) -> None:
        """Notice nothing any more."""
        signal.set_wakeup_fd(-1)
        self.reader.close()
        self._writer.close()


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """A handler must exist for the interpreter to write the number; the loop does the work."""
