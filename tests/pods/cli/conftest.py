"""The fake world that the verbs talk to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cli_support import Cli
from client_support import World, world
from pods.cli import main


@pytest.fixture
def fake(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with world(short_dir, monkeypatch) as made:
        yield made


@pytest.fixture
def nobody(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An environment in which no supervisor runs and none has ever run."""
    environ = {"PODS_RUNTIME_DIR": f"{short_dir}/r", "PODS_STATE_DIR": f"{short_dir}/s"}
    for name in ("PODS_SOCKET", "PODS_TOKEN_FILE", "PODS_SUPERVISOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


@pytest.fixture
def pods(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run
