"""What is called pure is one list, in two places: held to no I/O, and covered whole."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
ROOM: Final = ROOT / "pods"
WHOLE_ROOMS: Final = {"*/pods_protocol/*.py", "*/pods_tools/*.py"}
"""Covered whole as well; which I/O they may do, contracts of their own say."""


def _modules(patterns: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        files = sorted(ROOM.glob(pattern))
        assert files, f"{pattern} names no file"
        found |= {str(file.relative_to(ROOM)) for file in files if file.name != "__init__.py"}
    return found


def _contract() -> set[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    (pure,) = [one for one in contracts if one["name"] == "pure parts do no I/O"]
    paths = [name.replace(".", "/") for name in pure["source_modules"]]
    return _modules(f"{path}/*.py" if (ROOM / path).is_dir() else f"{path}.py" for path in paths)


def test_the_files_that_do_no_io_are_those_that_are_covered_whole() -> None:
    covered = set((ROOT / ".ci" / "pure-files").read_text().split())
    assert covered >= WHOLE_ROOMS
    assert _modules(one.removeprefix("*/") for one in covered - WHOLE_ROOMS) == _contract()
