"""Starts and ends pods over and over and counts what is left: `python tests/hostile/cycles.py`.

A real supervisor and launcher; every kind of end in turn (`endings.ENDINGS`), several at once. Now
and then all is let go, and everything that is still held is counted: descriptors and memory of the
two, processes, zombies, sockets, leases, directories. Memory is judged by the slope of a straight
line through the samples after the first third, in runs that are long enough for one. Exit code 1
where anything leaked.

This file makes the PID namespace, so that nothing gets loose; `cycle_rounds` is what runs in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from typing import Final

HERE: Final = os.path.dirname(os.path.abspath(__file__))
ROOT: Final = os.path.dirname(os.path.dirname(HERE))
ROOMS: Final = [
    *(f"{ROOT}/{room}" for room in ("pods", "protocol", "tools", "tests/support")),
    HERE,
]
UNSHARE: Final = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Start and end pods, count what is left.")
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=4, help="cycles at once")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PODS_")}
    # Removed here: what still lived in the namespace, where something went wrong, is gone by then.
    with tempfile.TemporaryDirectory(prefix="pc", dir="/tmp") as directory:
        return subprocess.run(
            [
                *UNSHARE, sys.executable, "-P", f"{HERE}/cycle_rounds.py",
                directory, *map(str, (given.cycles, given.width, given.seed)),
            ],
            env={**kept, "PYTHONPATH": os.pathsep.join(ROOMS)},
            check=False,
        ).returncode  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
