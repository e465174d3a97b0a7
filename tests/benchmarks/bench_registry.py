"""The scope registry against its anchor: filelock + orjson + fsync of the same bytes.

Run: `python tests/benchmarks/bench_registry.py [--quick]`. Both sides take turns in one process on
one file system, so that what else the machine does falls on both. DESIGN.md section 13 has the
targets.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen
from filelock import FileLock

from pods.scope.identity import identify
from pods.scope.leases import Lease
from pods.scope.registry import ScopeRegistry
from pods.scope.table import Table
from pods_protocol.values import ProcessIdentity, ScopeGrant, ScopeRule

PROCESSES: Final = 64


@frozen
class Effort:
    """How much is done for one figure.

    Attributes:
        rounds: of one process.
        batches: of a hundred spawns.
        crowds: of 64 processes.
        load_seconds: that the crowd goes on where it runs in a loop.
    """

    rounds: int = 60
    batches: int = 7
    crowds: int = 5
    load_seconds: float = 3.0


QUICK: Final = Effort(rounds=10, batches=2, crowds=1, load_seconds=0.5)


def make_lease(number: int, holder: ProcessIdentity) -> Lease:
    """A lease of the usual size."""
    rule = ScopeRule(target=f"/srv/projects/p{number}/src", permission="write")
    return Lease(
        pod_id=f"{number:012x}",
        name=f"worker-{number}",
        supervisor="default",
        parent_id=None,
        grant=ScopeGrant(allow=(rule,), delegable=(rule,)),
        holder=holder,
        pending_nonce=None,
        pending_deadline=None,
    )


def lend(lease: Lease) -> Callable[[Table], tuple[Table, None]]:
    """Acquire, check, write."""
    return lambda table: (table.lend(lease), None)


def release(pod_id: str) -> Callable[[Table], tuple[Table, None]]:
    """And give back."""
    return lambda table: (table.release(pod_id), None)


class Anchor:
    """What a careful person writes by hand in an hour: the same bytes, lock, fsync and rename."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        self.lock = FileLock(path + ".lock")
        with open(path, "wb") as file:
            file.write(content)

    def transact(self, number: int) -> None:
        """Lock, read, check for a conflict, replace one entry, write, unlock."""
        with self.lock:
            data = orjson.loads(Path(self.path).read_bytes())
            wanted = f"/srv/projects/q{number}/src"
            entries: list[dict[str, Any]] = data["leases"]
            for entry in entries:
                for rule in entry["grant"]["allow"]:
                    target: str = rule["target"]
                    if rule["permission"] == "write" and (
                        target == wanted
                        or target.startswith(wanted + "/")
                        or wanted.startswith(target + "/")
                    ):
                        break
            entries[number % len(entries)]["grant"]["allow"][0]["target"] = wanted
            temporary = self.path + ".tmp"
            with open(temporary, "wb") as file:
                file.write(orjson.dumps(data))
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, self.path)


def timed(call: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def hundred(anchor: Anchor) -> None:
    """A hundred turns of the anchor."""
    for number in range(100):
        anchor.transact(number)


def fill(path: str, count: int) -> ScopeRegistry:
    """A registry with so many leases, all of this process."""
    registry = ScopeRegistry(path)
    holder = identify(os.getpid())
    registry.transact_many([lend(make_lease(number, holder)) for number in range(count)])
    return registry


def measure_one(
    directory: str, count: int, holders: list[ProcessIdentity], rounds: int
) -> list[dict[str, Any]]:
    """One process: warm, and in turn with another one that also writes."""
    path = f"{directory}/one-{count}/registry.json"
    first = ScopeRegistry(path)
    first.transact_many([lend(make_lease(n, holders[n % len(holders)])) for n in range(count)])
    second = ScopeRegistry(path)
    second.read()
    anchor = Anchor(f"{directory}/anchor-{count}.json", Path(path).read_bytes())
    holder = holders[0]
    figures: dict[str, list[float]] = {"anchor": [], "warm": [], "shared": []}
    for number in range(rounds):
        new = make_lease(count + number, holder)
        figures["anchor"].append(timed(partial(anchor.transact, number)))
        figures["warm"].append(timed(partial(first.transact, lend(new))))
        figures["shared"].append(timed(partial(second.transact, release(new.pod_id))))
        first.read()
        first.transact(lambda table: (table, None))
    anchor_ms = statistics.median(figures["anchor"]) * 1e3
    rows: list[dict[str, Any]] = []
    for name, what in (("warm", "no other writer"), ("shared", "another process wrote before")):
        ours = statistics.median(figures[name]) * 1e3
        rows.append(
            {
                "what": f"lend or release, {count} leases, {what}, ms",
                "ours": round(ours, 3),
                "anchor": round(anchor_ms, 3),
                "ratio": round(ours / anchor_ms, 2),
                "target": "ratio <= 1.5",
            }
        )
    return rows


def measure_batch(directory: str, batches: int) -> dict[str, Any]:
    """A hundred spawns that wait together, against a hundred turns of the anchor."""
    registry = fill(f"{directory}/batch/registry.json", 100)
    anchor = Anchor(
        f"{directory}/anchor-batch.json", Path(f"{directory}/batch/registry.json").read_bytes()
    )
    holder = identify(os.getpid())
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(batches):
        leases = [make_lease(1000 + 100 * turn + n, holder) for n in range(100)]
        ours.append(timed(partial(registry.transact_many, [lend(item) for item in leases])))
        registry.transact_many([release(item.pod_id) for item in leases])
        theirs.append(timed(partial(hundred, anchor)))
    mine, other = statistics.median(ours) * 1e3, statistics.median(theirs) * 1e3
    return {
        "what": "100 spawns that wait together, ms",
        "ours": round(mine, 2),
        "anchor": round(other, 2),
        "ratio": round(mine / other, 3),
        "target": "one locked write",
    }


def _crowd_ours(path: str, number: int, barrier: Barrier, stop: Event, results: Any) -> None:
    registry = ScopeRegistry(path, lock_timeout_seconds=60.0)
    new = make_lease(10_000 + number, identify(os.getpid()))
    _crowd(
        lambda turn: registry.transact(release(new.pod_id) if turn % 2 else lend(new)),
        barrier,
        stop,
        results,
    )


def _crowd_anchor(path: str, number: int, barrier: Barrier, stop: Event, results: Any) -> None:
    anchor = Anchor.__new__(Anchor)
    anchor.path, anchor.lock = path, FileLock(path + ".lock")
    _crowd(lambda turn: anchor.transact(number * 1000 + turn), barrier, stop, results)


def _crowd(act: Callable[[int], object], barrier: Barrier, stop: Event, results: Any) -> None:
    barrier.wait()
    waits: list[float] = []
    ended = 0.0
    turn = 0
    while not waits or not stop.is_set():
        waits.append(timed(partial(act, turn)))
        ended = ended or time.time()
        turn += 1
    results.put((ended, max(waits), len(waits)))


def crowd(worker: Callable[..., None], path: str, *, seconds: float) -> tuple[float, float, int]:
    """64 processes at once: when the last has had its first turn, the worst wait, acts in all."""
    context = multiprocessing.get_context("fork")
    barrier, stop, results = context.Barrier(PROCESSES + 1), context.Event(), context.Queue()
    if not seconds:
        stop.set()
    workers = [
        context.Process(target=worker, args=(path, number, barrier, stop, results))
        for number in range(PROCESSES)
    ]
    for process in workers:
        process.start()
    barrier.wait()
    begun = time.time()
    time.sleep(seconds)
    stop.set()
    found = [results.get(timeout=120) for _ in workers]
    for process in workers:
        process.join()
    return (
        max(ended for ended, _, _ in found) - begun,
        max(worst for _, worst, _ in found),
        sum(acts for _, _, acts in found),
    )


def measure_crowd(directory: str, effort: Effort) -> list[dict[str, Any]]:
    """64 processes: once each at one moment, then in a loop."""
    path = f"{directory}/crowd/registry.json"
    fill(path, 100)
    anchor_path = f"{directory}/anchor-crowd.json"
    Anchor(anchor_path, Path(path).read_bytes())
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(effort.crowds):
        ours.append(crowd(_crowd_ours, path, seconds=0)[0])
        theirs.append(crowd(_crowd_anchor, anchor_path, seconds=0)[0])
    last, last_anchor = statistics.median(ours) * 1e3, statistics.median(theirs) * 1e3
    _, worst, acts = crowd(_crowd_ours, path, seconds=effort.load_seconds)
    _, worst_anchor, acts_anchor = crowd(_crowd_anchor, anchor_path, seconds=effort.load_seconds)
    return [
        {
            "what": f"{PROCESSES} processes once each, until the last, ms",
            "ours": round(last),
            "anchor": round(last_anchor),
            "ratio": round(last / last_anchor, 2),
            "target": "<= 300 ms",
        },
        {
            "what": f"{PROCESSES} processes in a loop, worst wait, ms",
            "ours": round(worst * 1e3),
            "anchor": round(worst_anchor * 1e3),
            "ratio": round(worst / worst_anchor, 2),
            "target": "<= 1000 ms",
        },
        {
            "what": f"{PROCESSES} processes in a loop, acts a second",
            "ours": round(acts / effort.load_seconds),
            "anchor": round(acts_anchor / effort.load_seconds),
            "ratio": round(acts / acts_anchor, 2),
            "target": "",
        },
    ]


def run(effort: Effort) -> list[dict[str, Any]]:
    """Every figure: `what`, `ours`, `anchor`, `ratio`, `target`."""
    directory = tempfile.mkdtemp(prefix="pb-", dir="/tmp")
    try:
        holder = identify(os.getpid())
        return [
            *measure_one(directory, 100, [holder], effort.rounds),
            *measure_one(directory, 1000, [holder], effort.rounds),
            measure_batch(directory, effort.batches),
            *measure_crowd(directory, effort),
        ]
    finally:
        shutil.rmtree(directory)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a look")
    rows = run(QUICK if parser.parse_args().quick else Effort())
    width = max(len(row["what"]) for row in rows)
    print(f"{'':{width}}  {'ours':>9}  {'anchor':>9}  {'ratio':>6}  target")
    for row in rows:
        print(
            f"{row['what']:{width}}  {row['ours']:>9}  {row['anchor']:>9}  {row['ratio']:>6}"
            f"  {row['target']}"
        )


if __name__ == "__main__":
    main()
