"""What the holding of pods costs: applying it, a spawn with and without, a stop of either.

`python tests/benchmarks/bench_enforcement.py [--spawns N]`; interleaved, medians, milliseconds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from typing import Any

import trio

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [f"{ROOT}/{room}" for room in ("pods", "protocol", "tools", "tests/support")]

LEVELS = {"held": "", "none": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the holding of pods costs.")
    parser.add_argument("--spawns", type=int, default=60)
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="pb", dir="/tmp")
    try:
        _apply(directory)
        trio.run(_spawns, directory, arguments.spawns)
    finally:
        shutil.rmtree(directory)


def _apply(directory: str) -> None:
    from confined import in_child
    from pods.keeper.domain import SignalDomain
    from pods.scope.confine import OwnPlaces, prepare
    from pods_protocol.values import ScopeGrant, ScopeRule

    grant = ScopeGrant(allow=(ScopeRule(target=os.path.realpath(directory), permission="write"),))

    def trial() -> list[float]:
        begun = time.perf_counter()
        SignalDomain.enter(os.getppid(), switches={}, files_follow=True)
        entered = time.perf_counter()
        with prepare(grant, OwnPlaces(), environ=os.environ, switches={}) as confinement:
            prepared = time.perf_counter()
            confinement.enter()
        return [entered - begun, prepared - entered, time.perf_counter() - prepared]

    prepare(grant, OwnPlaces(), environ=os.environ, switches={}).__exit__()
    rows: list[Any] = [in_child(trial) for _ in range(41)]
    for name, column in zip(("domain", "rules", "enter"), zip(*rows, strict=True), strict=True):
        print(f"{name:<8} {statistics.median(column) * 1000:.2f} ms")


async def _spawns(directory: str, number: int) -> None:
    from pods.supervisor.embedded import open_supervisor

    times: dict[str, list[float]] = {level: [] for level in LEVELS}
    stops: dict[str, list[float]] = {level: [] for level in LEVELS}
    environs = {
        level: {
            **os.environ,
            "PODS_RUNTIME_DIR": f"{directory}/{level[0]}r",
            "PODS_STATE_DIR": f"{directory}/{level[0]}s",
            "PODS_NO_LANDLOCK": off,
            "PYTHONPATH": os.pathsep.join(sys.path[:4]),
        }
        for level, off in LEVELS.items()
    }
    os.mkdir(f"{directory}/w")
    async with (
        open_supervisor(environ=environs["held"]) as held,
        open_supervisor(environ=environs["none"]) as none,
    ):
        for index in range(number):
            for level, client in (("held", held), ("none", none)):
                begun = time.perf_counter()
                pod = await client.spawn(f"p{index}", agent="echo", write=[f"{directory}/w"])
                times[level].append(time.perf_counter() - begun)
                assert pod.spawned is not None
                assert (pod.spawned.enforcement.backend == "none") == (level == "none")
                begun = time.perf_counter()
                await client.stop(f"p{index}", mode="kill")
                stops[level].append(time.perf_counter() - begun)
    for name, measured in (("spawn", times), ("kill", stops)):
        middle = {level: statistics.median(found) * 1000 for level, found in measured.items()}
        print(
            f"{name:<8} held {middle['held']:.1f} ms, none {middle['none']:.1f} ms, ratio "
            f"{middle['held'] / middle['none']:.2f}"
        )


if __name__ == "__main__":
    main()
