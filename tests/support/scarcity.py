"""A machine that has no descriptor left, for code of this very process.

Only a machine that is out of descriptors can say ENFILE, and root it never does. So the calls that
take one refuse here, from a given one on, in whichever thread they are made.
"""

from __future__ import annotations

import builtins
import errno
import os
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pytest

TAKERS: Final[tuple[tuple[Any, str], ...]] = (
    (os, "open"),
    (os, "listdir"),
    (os, "scandir"),
    (os, "dup"),
    (os, "pidfd_open"),
    (builtins, "open"),
    (socket.socket, "__init__"),
)
"""What takes a descriptor, for good or in passing."""


class Scarcity:
    """Counts what takes descriptors, and refuses it from some call on.

    Attributes:
        refused: how many calls were.
    """

    def __init__(self, code: int = errno.ENFILE) -> None:
        self._code = code
        self._lock = threading.Lock()
        self._left: int | None = None
        self._most: int | None = None
        self.refused = 0

    @contextmanager
    def after(self, calls: int, *, most: int | None = None) -> Generator[None]:
        """Within the block let so many calls have one; refuse the next `most`, or all others."""
        with self._lock:
            self._left, self._most, self.refused = calls, most, 0
        try:
            yield
        finally:
            with self._lock:
                self._left = None

    def take(self) -> None:
        """One call wants a descriptor.

        Raises:
            OSError: none is left.
        """
        with self._lock:
            if self._left is None:
                return
            if self._left or (self._most is not None and self.refused >= self._most):
                self._left = max(0, self._left - 1)
                return
            self.refused += 1
        raise OSError(self._code, os.strerror(self._code))


def make_scarce(monkeypatch: pytest.MonkeyPatch, code: int = errno.ENFILE) -> Scarcity:
    """Put a scarcity in front of all that takes a descriptor; it refuses nothing yet."""
    scarcity = Scarcity(code)
    for owner, name in TAKERS:
        monkeypatch.setattr(owner, name, _guarded(scarcity, getattr(owner, name)))
    return scarcity


def _guarded(scarcity: Scarcity, real: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **given: Any) -> Any:
        # What wraps a descriptor that there is, or asks of one, takes none.
        held = real is builtins.open or real is os.listdir or real is os.scandir
        if not (held and args and isinstance(args[0], int)) and "fileno" not in given:
            scarcity.take()
        return real(*args, **given)

    return guarded
