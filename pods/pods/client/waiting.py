"""A wait that a signal ends, whenever it comes.

Python runs the handler of a signal between two of its own steps, and a system call that the signal
interrupts counts as one. One that comes after the last such step and before the call has begun
interrupts nothing: `recv` would wait for its peer, for ever where that says nothing more, and a
Ctrl-C would be heard after it. So the interpreter is asked to write each signal's number into a
pair of sockets, which is waited for beside the peer (`signal.set_wakeup_fd`).

Owns that wait. Used by `plain` and `portal`, and by the verbs that wait for more than an answer.
Standard library only.
"""

from __future__ import annotations

import math
import select
import signal
import socket
import threading
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Final

READ_BYTES: Final = 4096
"""Signal numbers taken at once, a byte each; what they are their handlers know."""


def wait_readable(source: socket.socket | int, seconds: float | None) -> bool:
    """Wait until there is something to read, or the other side has gone; False in time's stead.

    Handlers of signals run meanwhile, and what they raise comes out.

    Args:
        source: a connected socket, or whatever else can be waited for.
        seconds: how long; None is for ever.
    """
    return bool(wait_any((source if isinstance(source, int) else source.fileno(),), seconds))


def wait_any(descriptors: Collection[int], seconds: float | None) -> Collection[int]:
    """As `wait_readable`, for several; returns those that can be read."""
    until = None if seconds is None else time.monotonic() + seconds
    with _woken_by_signals() as signals:
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        if signals is not None:
            poll.register(signals, select.POLLIN)
        while True:
            left = None if until is None else max(0, math.ceil((until - time.monotonic()) * 1000))
            found = {descriptor for descriptor, _ in poll.poll(left)}
            if (ready := found.intersection(descriptors)) or signals is None or not found:
                return ready
            signals.recv(READ_BYTES)  # its handler has run by now, and raised nothing


@contextmanager
def _woken_by_signals() -> Generator[socket.socket | None]:
    """What can be read once a signal has come; None where that is somebody else's to be told.

    The interpreter tells one descriptor alone, and is asked in the main thread alone, in which it
    runs the handlers. None also where this process has no descriptor left.
    """
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    before = -1
    try:
        reader, writer = socket.socketpair()
    except OSError:
        yield None
        return
    with reader, writer:
        writer.setblocking(False)
        try:
            before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            if before != -1:  # an event loop's, which our caller holds up anyway
                signal.set_wakeup_fd(before)
            yield reader if before == -1 else None
        finally:
            signal.set_wakeup_fd(before)
