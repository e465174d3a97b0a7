"""What the holding of pods costs: applying it, spawns and stops with and without, files inside.

`python tests/benchmarks/bench_enforcement.py [--quick] [--spawns N]`; interleaved, medians. How
long it takes to end the worst payloads, `tests/hostile/survivors.py` prints, with and without
`--no-landlock`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [f"{ROOT}/{room}" for room in ("pods", "protocol", "tools", "tests/support")]

LEVELS = {"held": "", "none": "1"}

DEPTH = 8
FILES = 2000
ROUNDS = 15
CROWD = 60
"""Processes that left their session: what a stop has to find."""

AWAY = f"for i in $(seq {CROWD}); do setsid sleep 1000 >/dev/null 2>&1 & done; touch READY; wait"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a look")
    parser.add_argument("--spawns", type=int, help="with and without, each (60; --quick: 10)")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else ROUNDS
    spawns = arguments.spawns or (10 if arguments.quick else 60)
    directory = tempfile.mkdtemp(prefix="pb", dir="/tmp")
    try:
        _apply(directory)
        _inside(directory, rounds)
        trio.run(_spawns, directory, spawns, rounds)
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


def _open(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR))


def _make(path: str) -> None:
    os.mkdir(path)
    os.rmdir(path)


def _inside(directory: str, rounds: int) -> None:
    """The same work in a child that is held as a pod is, and in one that is not."""
    from confined import in_child
    from pods.keeper.domain import SignalDomain
    from pods.scope.confine import OwnPlaces, prepare
    from pods_protocol.values import Doors, ScopeGrant, ScopeRule

    root = os.path.realpath(f"{directory}/files")
    deep = "/".join([root, *"abcdefgh"[:DEPTH]])
    os.makedirs(deep)
    for number in range(FILES):
        place = f"{root}/{number % 50}"
        os.makedirs(place, exist_ok=True)
        with open(f"{place}/{number}", "w") as file:
            file.write("x\n")
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    git = ["git", "-C", root, "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], env=environ, check=True)
    grant = ScopeGrant(allow=(ScopeRule(target=root, permission="write"),))
    works: dict[str, tuple[int, Callable[[], object]]] = {
        f"open, {DEPTH} deep": (2000, partial(_open, f"{deep}/f")),
        "stat": (5000, lambda: os.stat(deep)),
        "a call without a path": (5000, os.getppid),
        "make and remove": (500, partial(_make, f"{deep}/d")),
        f"git status, {FILES} files": (
            3, partial(subprocess.check_output, [*git, "status"], env=environ),
        ),
    }  # fmt: skip

    def trial(doors: Doors | None) -> list[float]:
        if doors is not None:
            SignalDomain.enter(os.getppid(), switches={}, files_follow=True)
            with prepare(
                grant, OwnPlaces(), environ=os.environ, switches={}, doors=doors
            ) as confinement:
                confinement.enter()
        times: list[float] = []
        for repeat, work in works.values():
            begun = time.perf_counter()
            for _ in range(repeat):
                work()
            times.append((time.perf_counter() - begun) / repeat)
        return times

    closed = Doors(network="none", unix_sockets="none")
    kinds: dict[str, Doors | None] = {"none": None, "held": Doors(), "closed": closed}
    rows: dict[str, list[Any]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, doors in kinds.items():
            rows[kind].append(in_child(partial(trial, doors), seconds=60.0))
    for at, what in enumerate(works):
        none, held, shut = (statistics.median(row[at] for row in rows[kind]) for kind in kinds)
        print(
            f"{what:<24} none {none * 1e6:.1f} us, held {held * 1e6:.1f} us, ratio "
            f"{held / none:.2f}, with closed doors {shut / none:.2f}"
        )


async def _spawns(directory: str, number: int, rounds: int) -> None:
    from pods.supervisor.embedded import open_supervisor

    times: dict[str, list[float]] = {level: [] for level in LEVELS}
    stops: dict[str, list[float]] = {level: [] for level in LEVELS}
    crowds: dict[str, list[float]] = {level: [] for level in LEVELS}
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
        for index in range(rounds):
            for level, client in (("held", held), ("none", none)):
                name, ready = f"c{index}", f"{directory}/w/{level}{index}"
                await client.spawn(
                    name, write=[f"{directory}/w"], prompt=AWAY.replace("READY", ready)
                )
                while not await trio.Path(ready).exists():  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.01)
                begun = time.perf_counter()
                await client.stop(name, mode="kill")
                crowds[level].append(time.perf_counter() - begun)
    for name, measured in (("spawn", times), ("kill", stops), (f"kill of {CROWD}", crowds)):
        middle = {level: statistics.median(found) * 1000 for level, found in measured.items()}
        print(
            f"{name:<8} held {middle['held']:.1f} ms, none {middle['none']:.1f} ms, ratio "
            f"{middle['held'] / middle['none']:.2f}"
        )


if __name__ == "__main__":
    main()
