"""The supervisor's log: a bounded file for what nobody is there to be told.

Owns its entries; its bound is `bounded_logs`'. What is written are tracebacks of our own bugs and
notes on what was found broken, and of agents that could not be loaded; never tokens, prompts,
values of variables or output of pods.
"""

from __future__ import annotations

import os
import time
from typing import Final

from pods.supervisor.bounded_logs import keep_within

MAX_ENTRY_CHARACTERS: Final = 16 * 1024
"""One entry: a deep traceback fits, a runaway message does not."""


class Log:
    """An append-only text file that never grows past its bound.

    Args:
        path: the file; its directory exists.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, text: str) -> None:
        """Write one entry. A disk that refuses costs the entry, never the caller."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = f"{stamp} [{os.getpid()}] {text[:MAX_ENTRY_CHARACTERS]}\n".encode(
            "utf-8", "backslashreplace"
        )
        try:
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                os.write(descriptor, entry)
            finally:
                os.close(descriptor)
            keep_within(self._path)
        except OSError:
            return
