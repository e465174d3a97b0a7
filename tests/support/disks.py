"""A file system that a test can really fill (needs root; the test is skipped elsewhere)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Generator

import pytest


@contextlib.contextmanager
def small_disk(directory: str, size: str) -> Generator[str]:
    """A file system of that size, as `mount` writes sizes, at a directory that is not there yet."""
    os.mkdir(directory, 0o700)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", directory],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        os.rmdir(directory)
        pytest.skip(f"cannot mount: {done.stderr.decode()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def fill(directory: str) -> str:
    """Write until nothing more fits; the path of what to remove for room."""
    path = f"{directory}/ballast"
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return path
