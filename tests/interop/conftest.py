"""What each test with a program of others gets: a network in which nothing can be reached.

Where the tests run as root (as in CI) each has a loopback interface alone, and whatever name a
program looks up fails the test: telemetry, updates, lists of models. Elsewhere they have the
machine's network, and the switches in `vendors` are all that keeps the programs at home.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopback_alone import loopback_alone, may_be_alone


@pytest.fixture(autouse=True)
def nobody_is_called() -> Iterator[None]:
    """Fail a test in which a name was looked up."""
    if not may_be_alone():
        yield
        return
    with loopback_alone() as asked:
        yield
    assert not asked, f"these were looked for: {sorted(set(asked))}"
