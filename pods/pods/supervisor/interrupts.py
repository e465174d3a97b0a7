"""Ctrl-C in a program that has a supervisor inside: it is the program's, not the supervisor's.

Owns the SIGINT handler for as long as supervisors are open. trio raises KeyboardInterrupt in
whatever task runs; in one of the supervisor's it would end the supervisor where it stands, and
its pods would live on. Used by `embedded`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias, cast

import trio

_Handler: TypeAlias = "Callable[[int, FrameType | None], object]"


class _Spared:
    """The tasks that are spared with all below them, and the handler that spares them.

    One for all supervisors of the process, which need not end in the order in which they began.
    """

    def __init__(self) -> None:
        self.tasks: list[trio.lowlevel.Task] = []
        self._before: _Handler | None = None

    def begin(self) -> None:
        """Stand before the handler that is there, where there is one to stand before."""
        before = signal.getsignal(signal.SIGINT)
        # Without a handler of trio's or the program's none of our tasks can be hit.
        if callable(before) and before is not signal.default_int_handler:
            self._before = cast("_Handler", before)
            signal.signal(signal.SIGINT, self._hear)

    def end(self) -> None:
        """Put the former handler back, unless the program has set another meanwhile."""
        before, self._before = self._before, None
        # Each access to a method makes a new object, so that `is` would never hold.
        if before is not None and signal.getsignal(signal.SIGINT) == self._hear:
            signal.signal(signal.SIGINT, before)

    @trio.lowlevel.enable_ki_protection
    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._before is not None:
            # Without a frame trio takes the interrupt to the main task's next checkpoint.
            self._before(number, None if self._is_ours() else frame)

    def _is_ours(self) -> bool:
        try:
            task = trio.lowlevel.current_task()
        except RuntimeError:  # between two tasks
            return False
        while task not in self.tasks:
            if task.parent_nursery is None:
                return False
            task = task.parent_nursery.parent_task
        return True


_spared = _Spared()


@contextmanager
def no_interrupts_in_this_task() -> Generator[None]:
    """Let no KeyboardInterrupt be raised in the current task, nor in any that it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread alone
        return
    task = trio.lowlevel.current_task()
    _spared.tasks.append(task)
    if len(_spared.tasks) == 1:
        _spared.begin()
    try:
        yield
    finally:
        _spared.tasks.remove(task)
        if not _spared.tasks:
            _spared.end()
