"""Directories of a test run: short enough for sockets, private, and the run's own.

Every test, fixture and door that needs a place of its own takes it here, so that the check at the
end of the run (`tests/conftest.py`) sees what was not removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Generator
from typing import Final

PREFIX: Final = f"/tmp/pt-{os.getpid()}-"
"""The test process's own: runs, and workers of one run, do not answer for each other."""


@contextlib.contextmanager
def short_directory() -> Generator[str]:
    """A private directory with a short path; removed at the end."""
    path = PREFIX + secrets.token_hex(3)
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        while os.path.exists(path):
            # What a process takes away itself while it ends was listed and is gone: again.
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)
