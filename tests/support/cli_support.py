"""The shape of the fixture that runs the command line (owner: P7)."""

from __future__ import annotations

from typing import Protocol


class Cli(Protocol):
    """Runs the command; gives its exit code, standard output and standard error."""

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Run `pods` with these words."""
        ...
