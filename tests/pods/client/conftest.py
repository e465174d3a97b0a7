"""The fake world that the clients talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client_support import World, world


@pytest.fixture
def fake(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(short_dir, monkeypatch) as made:
        yield made
