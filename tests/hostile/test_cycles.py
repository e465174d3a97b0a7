"""A short run of the cycles: every kind of end about twice, and nothing is left of any.

The long one is a command: `python tests/hostile/cycles.py --cycles 10000`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CYCLES = Path(__file__).parent / "cycles.py"
NUMBER = 32
LONGEST_SECONDS = 240
UNSHARE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
CAN_UNSHARE = shutil.which("unshare") is not None and (
    subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
)


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_SECONDS + 20)
@pytest.mark.skipif(not CAN_UNSHARE, reason="needs a PID namespace in which to count")
def test_nothing_is_left_of_pods_that_ended_in_every_way() -> None:
    done = subprocess.run(
        [sys.executable, str(CYCLES), "--cycles", str(NUMBER)],
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{NUMBER} cycles, 0 leaks" in done.stdout
