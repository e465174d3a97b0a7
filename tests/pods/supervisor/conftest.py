"""The places of a supervisor that has not run yet."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from leftover_support import places_in
from pods.paths import Places


@pytest.fixture
def places(pods_environ: dict[str, str]) -> Iterator[Places]:
    mask = os.umask(0o077)  # what a test makes is as we make it
    try:
        yield places_in(pods_environ)
    finally:
        os.umask(mask)
