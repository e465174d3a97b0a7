"""A registry in a directory of its own, and a process that lives until a test ends it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pods.scope.registry import ScopeRegistry


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/scopes/registry.json"


@pytest.fixture
def registry(path: str) -> ScopeRegistry:
    return ScopeRegistry(path)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()
