"""One launcher for the tests of a file, with directories of its own; each test uses other pods.

For the `conftest.py` of directories whose tests talk to a launcher and its keepers.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from directories import short_directory
from process_support import BlockingClient, RunningLauncher, end_keepers, running_launcher


@pytest.fixture(scope="module")
def shared_launcher() -> Generator[RunningLauncher]:
    with short_directory() as directory:
        environ = {
            **os.environ,
            "PODS_RUNTIME_DIR": f"{directory}/r",
            "PODS_STATE_DIR": f"{directory}/s",
            "PODS_TEST_SECRET": "not for pods",
        }
        with running_launcher(environ) as running:
            yield running


@pytest.fixture
def launcher(shared_launcher: RunningLauncher) -> Generator[RunningLauncher]:
    """The file's launcher; no pod of one test lives on into the next."""
    yield shared_launcher
    end_keepers(shared_launcher)


@pytest.fixture
def client(launcher: RunningLauncher) -> Generator[BlockingClient]:
    """A greeted connection to it."""
    with launcher.connect() as connected:
        yield connected
