"""Pods of a user without any privilege: the command `as_user.py`, where it can be tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pods.scope.landlock import abi_version

COMMAND = Path(__file__).parent / "as_user.py"
NOT_HERE = 77
LONGEST_SECONDS = 240


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_SECONDS + 20)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6")
def test_a_user_without_privilege_has_pods_that_are_held_and_closed() -> None:
    done = subprocess.run(
        [sys.executable, str(COMMAND)],
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    if done.returncode == NOT_HERE:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "nothing is left"
