"""Ctrl-C and its like, for a program that cleans up after the first of them.

Owns the handlers, from before anything is made until all of it is gone. They raise nothing: an
exception between any two steps would end the cleaning up in the middle. Called by `pods.cli.demo`,
before trio is imported, and by `main`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final

ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, a terminal that was closed: each is a reason to clean up and go."""

PATIENCE: Final = b"pods: ending; nothing is left behind\n"
"""Said once, to who asks again while it is cleaned up."""

_STDERR: Final = 2


class Endings:
    """What signals have asked for; see `heard_endings`.

    Attributes:
        told: whether one has come.
    """

    def __init__(self) -> None:
        self.told = False
        self._patience_said = False
        self._act: Callable[[], object] | None = None

    def check(self) -> None:
        """Go no further once one has come.

        Raises:
            KeyboardInterrupt: one has.
        """
        if self.told:
            raise KeyboardInterrupt

    @contextmanager
    def acting(self, act: Callable[[], object]) -> Generator[None]:
        """Do this when the first one comes, now if it has; it is called between any two steps."""
        self._act = act
        try:
            if self.told:
                act()
            yield
        finally:
            self._act = None

    def hear(self, _number: int, _frame: object) -> None:
        """Take one signal; the first is acted on, the others are told to wait."""
        if not self.told:
            self.told = True
            if self._act is not None:
                self._act()
        elif not self._patience_said:
            self._patience_said = True
            with suppress(OSError):  # not by sys.stderr, which may be in the middle of a write
                os.write(_STDERR, PATIENCE)


@contextmanager
def heard_endings() -> Generator[Endings]:
    """Hear the endings as long as the block runs; after one the process hears no more of them."""
    endings = Endings()
    before = {number: signal.signal(number, endings.hear) for number in ENDINGS}
    try:
        yield endings
    finally:
        for number, handler in before.items():
            # Whoever was told to end is ending; the interpreter must not be hit on its way out.
            signal.signal(number, signal.SIG_IGN if endings.told else handler)
