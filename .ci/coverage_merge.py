"""Makes one data file for `coverage` of what `coverage_processes.py` left: one file a process.

`coverage_merge.py DIRECTORY DATA_FILE ROOT...`; run by `.ci/run` after the tests. Files below the
roots that no process ran are named too, so that the report counts them.
"""

from __future__ import annotations

import glob
import marshal
import os
import sys

from coverage import CoverageData

LINE_BITS = 28
LINE = (1 << LINE_BITS) - 1
"""As coverage's tracer packs a pair of lines: two numbers, and above them a sign for each."""


def unpacked(packed: int) -> tuple[int, int]:
    """The pair of lines that the tracer packed; negative for entry and exit."""
    first, second = packed & LINE, packed >> LINE_BITS & LINE
    signs = packed >> 2 * LINE_BITS
    return -first if signs & 1 else first, -second if signs & 2 else second


def main(directory: str, data_file: str, roots: list[str]) -> None:
    """Merge; says how many processes told, and how many were killed while they wrote."""
    merged: dict[str, set[int]] = {}
    told = broken = 0
    for path in glob.glob(f"{directory}/*"):
        with open(path, "rb") as file:
            try:
                content: dict[str, list[int]] = marshal.load(file)
            except (EOFError, ValueError, TypeError):
                broken += 1
                continue
        told += 1
        for name, arcs in content.items():
            merged.setdefault(name, set()).update(arcs)
    data = CoverageData(data_file)
    data.add_arcs({name: [unpacked(arc) for arc in arcs] for name, arcs in merged.items()})
    for root in roots:
        data.touch_files(glob.glob(f"{root}/**/*.py", recursive=True))
    data.write()
    print(f"{told} processes told what they ran; {broken} were killed while they did")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:])
