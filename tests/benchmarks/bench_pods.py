"""DESIGN.md section 13's rows on spawning, memory, round trips and `pods ls`, beside their anchors.

`python tests/benchmarks/bench_pods.py [--quick] [--directory DIR]` prints the table. All of it
runs in temporary directories with an embedded supervisor and is gone afterwards. Its rows are in
`round_trips`, `spawning` and here.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import trio
from bench import Bench, stop_all
from measure import Row, freeze_imports, interleaved, print_table, row, timed
from round_trips import bench_round_trips
from spawning import bench_spawning

from pods.client.aio import PodsClient
from pods.supervisor.embedded import open_supervisor
from pods_protocol.supervisor_messages import ListPods


def whole_process(command: list[str], environ: dict[str, str], repeat: int) -> float:
    """Median seconds of a command from start to exit."""
    times: list[float] = []
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def bench_ls(bench: Bench, client: PodsClient, name: str) -> list[Row]:
    """`pods ls` as a whole process, with many pods."""
    spawned = [await client.request(bench.request()) for _ in range(bench.many)]
    environ = bench.environ()
    python = sys.executable
    ls = [python, "-m", "pods", "--supervisor", name, "ls"]
    nothing = [python, "-c", "pass"]

    async def ours() -> float:
        return await trio.to_thread.run_sync(whole_process, ls, environ, 5)

    async def anchor() -> float:
        return await trio.to_thread.run_sync(whole_process, nothing, environ, 5)

    seen = await interleaved({"ours": ours, "anchor": anchor}, bench.rounds)
    wire = await timed(10, lambda: client.request(ListPods()))
    await stop_all(client, spawned)
    return [
        row(f"`pods ls` with {bench.many} pods, whole process", seen["ours"],
            seen["anchor"] + 0.040, "python -c pass + 40 ms", at_most=1.0),
        row("`list` alone, on the wire", wire, seen["anchor"], "python -c pass"),
    ]  # fmt: skip


async def run(quick: bool, parent: str) -> list[Row]:
    """All rows; nothing is left afterwards."""
    run_name = f"pods-bench-{secrets.token_hex(4)}"
    directory, sockets = os.path.join(parent, run_name), f"/dev/shm/{run_name}"
    for each in (directory, sockets):
        os.mkdir(each, 0o700)
    bench = Bench(directory, sockets, quick)
    name = "bench"
    try:
        async with open_supervisor(
            name=name, environ=bench.environ(), max_children=bench.many + 8
        ) as client:
            rows = await bench_round_trips(bench, client)
            rows += await bench_ls(bench, client, name)
            rows += await bench_spawning(bench, client)
    finally:
        for each in (directory, sockets):
            shutil.rmtree(each)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, twenty pods")
    parser.add_argument(
        "--directory",
        default=tempfile.gettempdir(),
        help="where journals and scopes lie. Where many files were removed within the last "
        "minutes, ext4 looks through all of them for each new one: a directory of its own in `/` "
        "is far from what other programs did in `/tmp`",
    )
    options = parser.parse_args()
    freeze_imports()
    print_table(trio.run(run, options.quick, os.path.abspath(options.directory)))


if __name__ == "__main__":
    main()
