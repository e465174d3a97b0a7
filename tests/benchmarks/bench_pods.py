"""DESIGN.md section 13's rows on spawning, memory, round trips and `pods ls`, beside their anchors.

`python tests/benchmarks/bench_pods.py [--quick] [--directory DIR]` prints the table. All of it
runs in temporary directories with an embedded supervisor and is gone afterwards.
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
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

import trio
from anchors import FreshInterpreters, PreloadedForkServer, echo_process
from measure import Row, cpu_timed, freeze_imports, interleaved, print_table, row, timed

from pods.client.aio import PodsClient
from pods.rpc.client import RpcClient, open_rpc
from pods.supervisor.embedded import open_supervisor
from pods_protocol.api import POD_API
from pods_protocol.pod_messages import GetStatus, ReadEvents, Run, WaitFor
from pods_protocol.supervisor_messages import ListPods, SpawnPod, SpawnPodResult, StopPod
from pods_protocol.values import ScopeRule

MEGABYTE = 1_000_000

READ_BYTES = 768 * 1024

BUSY = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while True:
    pass
"""

SOCKET_BUFFER_BYTES = 64 * 1024
"""What fits a Unix socket's buffer for certain."""


class Bench:
    """The places and sizes of one run.

    Attributes:
        directory: on a disk; for journals and what pods write.
        sockets: in memory, as `$XDG_RUNTIME_DIR` is; for everybody's sockets, the anchors' too.
    """

    def __init__(self, directory: str, sockets: str, quick: bool) -> None:
        self.directory = directory
        self.sockets = sockets
        self.rounds = 3 if quick else 7
        self.many = 20 if quick else 100
        self._names = 0

    def environ(self) -> dict[str, str]:
        """Private runtime and state directories, and none of the sandbox's import handicaps."""
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environ["PODS_RUNTIME_DIR"] = f"{self.sockets}/r"
        environ["PODS_STATE_DIR"] = f"{self.directory}/s"
        return environ

    def request(self) -> SpawnPod:
        """A spawn with a write scope of its own, as users have them."""
        self._names += 1
        name = f"p{self._names}"
        scope = f"{self.directory}/tree/{name}"
        os.makedirs(scope, exist_ok=True)
        return SpawnPod(
            name=name,
            agent="echo",
            allow=(ScopeRule(target=scope, permission="write"),),
            cwd=scope,
        )


async def stop_all(client: PodsClient, spawned: list[SpawnPodResult]) -> None:
    """Stop what a round started."""
    async with trio.open_nursery() as nursery:
        for each in spawned:
            nursery.start_soon(client.request, StopPod(pod=each.pod.id, mode="kill"))


async def spawn_one(bench: Bench, client: PodsClient) -> float:
    """Seconds from the request to the answer, the pod's hello answered in between.

    One at a time, as the anchors: each is ended, outside of the clock, before the next is asked
    for. By then the launcher has its spare.
    """
    times: list[float] = []
    for _ in range(10):
        request = bench.request()
        start = time.perf_counter()
        spawned = await client.request(request)
        times.append(time.perf_counter() - start)
        await stop_all(client, [spawned])
    return statistics.median(times)


async def spawn_in_a_row(bench: Bench, client: PodsClient) -> float:
    """The same where the next is asked for as soon as one has answered."""
    times: list[float] = []
    spawned: list[SpawnPodResult] = []
    for _ in range(10):
        request = bench.request()
        start = time.perf_counter()
        spawned.append(await client.request(request))
        times.append(time.perf_counter() - start)
    await stop_all(client, spawned)
    return statistics.median(times)


async def spawn_many(bench: Bench, client: PodsClient) -> float:
    """Seconds until `bench.many` pods, asked for at once, have all answered."""
    spawned: list[SpawnPodResult] = []

    async def one(request: SpawnPod) -> None:
        spawned.append(await client.request(request))

    requests = [bench.request() for _ in range(bench.many)]
    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(one, request)
    seconds = time.perf_counter() - start
    await stop_all(client, spawned)
    return seconds


def pss_bytes(pid: int) -> int:
    """The proportional set size of one process: shared pages count by their share."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


async def memory_of_idle_pods(bench: Bench, client: PodsClient) -> float:
    """PSS bytes a pod, keeper and the launcher's share included."""
    spawned: list[SpawnPodResult] = []
    for _ in range(bench.many):
        spawned.append(await client.request(bench.request()))
    pids: set[int] = set()
    for each in spawned:
        inspected = await client.inspect(each.pod.id)
        assert each.pod.pid is not None
        assert inspected.keeper_pid is not None
        pids |= {each.pod.pid, inspected.keeper_pid}
    doctor = await client.doctor()
    assert doctor.supervisor.launcher_pid is not None
    total = sum(map(pss_bytes, pids)) + pss_bytes(doctor.supervisor.launcher_pid)
    await stop_all(client, spawned)
    return total / bench.many


@asynccontextmanager
async def one_pod(
    bench: Bench, client: PodsClient
) -> AsyncGenerator[tuple[RpcClient, SpawnPodResult]]:
    """An echo pod, with a connection straight to it."""
    spawned = await client.request(bench.request())
    async with open_rpc(spawned.socket, POD_API, token=spawned.token) as pod:
        yield pod, spawned
    await stop_all(client, [spawned])


async def echo_round_trip(
    path: str, size: int, repeat: int, pids: Sequence[int] | None = None
) -> float:
    """The anchor: a trio client's round trip with a trio echo in another process.

    With `pids`, the processor's time of these instead of the time on the wall.
    """
    payload = b"x" * (size - 1) + b"\n"
    stream = await trio.open_unix_socket(path)
    async with stream:

        async def receive() -> None:
            left = size
            while left:
                left -= len(await stream.receive_some(262144))

        async def once() -> None:
            if size <= SOCKET_BUFFER_BYTES:
                await stream.send_all(payload)
                await receive()
                return
            # Sent and received at once: the echo answers before it has everything, and with both
            # sides' buffers full neither would go on.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, payload)
                await receive()

        return await (timed(repeat, once) if pids is None else cpu_timed(pids, repeat, once))


async def fsync_seconds(bench: Bench, size: int, repeat: int) -> float:
    """The anchor of durability: append one line of `size` bytes and fdatasync it."""
    descriptor = os.open(f"{bench.directory}/fsync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def once() -> None:
        os.write(descriptor, b"x" * size)
        os.fdatasync(descriptor)

    seconds = await timed(repeat, once)
    os.close(descriptor)
    return seconds


async def run_round_trip(pod: RpcClient, size: int, repeat: int) -> float:
    """`run` until `accepted`; the turn itself ends outside the clock."""
    times: list[float] = []
    for _ in range(repeat):
        await pod.request(WaitFor(until="idle"))
        start = time.perf_counter()
        await pod.request(Run(input="x" * size))
        times.append(time.perf_counter() - start)
    await pod.request(WaitFor(until="idle"))
    return statistics.median(times)


def whole_process(command: list[str], environ: dict[str, str], repeat: int) -> float:
    """Median seconds of a command from start to exit."""
    times: list[float] = []
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


Case = Callable[[], Awaitable[float]]


async def bench_spawning(bench: Bench, client: PodsClient) -> list[Row]:
    """One, many at once, and what they weigh."""
    fresh = FreshInterpreters(bench.sockets)
    forked = PreloadedForkServer(bench.sockets)

    def each_of(workers: FreshInterpreters | PreloadedForkServer, times: int) -> Case:
        async def case() -> float:
            return statistics.median(workers.run(1) for _ in range(times))

        return case

    def all_of(workers: FreshInterpreters | PreloadedForkServer) -> Case:
        async def case() -> float:
            return workers.run(bench.many)

        return case

    with forked:
        one = await interleaved(
            {
                "ours": lambda: spawn_one(bench, client),
                "forked": each_of(forked, 10),
                "in a row": lambda: spawn_in_a_row(bench, client),
                "fresh": each_of(fresh, 1),
            },
            bench.rounds,
        )
        many = await interleaved(
            {
                "ours": lambda: spawn_many(bench, client),
                "fresh": all_of(fresh),
                "forked": all_of(forked),
            },
            max(bench.rounds // 2, 1),
        )
    memory = await memory_of_idle_pods(bench, client)
    count = f"{bench.many} pods at once, all answering"
    return [
        row("spawn one pod, hello answered", one["ours"], one["forked"],
            "preloaded fork server", at_most=1.0),
        row("the same", one["ours"], one["fresh"], "fresh interpreter"),
        row("the same, one right after another", one["in a row"], one["forked"],
            "preloaded fork server"),
        row(count, bench.many / many["ours"], bench.many / many["fresh"],
            "fresh interpreters", unit="/s", at_least=15),
        row(count, bench.many / many["ours"], bench.many / many["forked"],
            "preloaded fork server", unit="/s"),
        row("memory of an idle pod and its keeper (PSS)", memory, 5.5 * MEGABYTE,
            "target of 5.5 MB", unit="B", at_most=1.0),
    ]  # fmt: skip


async def bench_round_trips(bench: Bench, client: PodsClient) -> list[Row]:
    """`status` and `run` straight to a pod, 200 bytes and a megabyte, and reading it back."""
    echo_path = f"{bench.sockets}/echo"
    synced_path = f"{bench.sockets}/synced"
    with (
        echo_process(echo_path) as echo_pid,
        echo_process(synced_path, f"{bench.directory}/synced.log"),
    ):
        async with one_pod(bench, client) as (pod, spawned):
            for _ in range(50):
                await pod.request(GetStatus())
            return [
                *await bench_small(
                    bench, client, (pod, spawned), (echo_path, synced_path), echo_pid
                ),
                *await bench_big(bench, client, (pod, spawned), echo_path),
            ]


@contextmanager
def placed(*servers: int) -> Generator[None]:
    """This process on one processor and these on another, neither of which ever sleeps.

    Left to itself the system puts two ends now on one processor and now on two, and one that waits
    for a few dozen microseconds may be halted: in a virtual machine to wake it takes as long as the
    round trip. Both last for seconds on end, and either one makes one of two twice as slow. So each
    processor has something to do that everything else goes before (`SCHED_IDLE`). Not for what
    waits for a disk: as it comes back it would wait for a tick of the scheduler.
    """
    processors = sorted(os.sched_getaffinity(0))
    busy = [
        subprocess.Popen([sys.executable, "-c", BUSY, str(processor)]) for processor in processors
    ]
    if len(processors) > 1:
        os.sched_setaffinity(0, processors[:1])
        for pid in servers:
            os.sched_setaffinity(pid, processors[1:2])
    try:
        yield
    finally:
        for pid in (0, *servers):
            os.sched_setaffinity(pid, processors)
        for process in busy:
            process.kill()
            process.wait()


async def bench_small(
    bench: Bench,
    client: PodsClient,
    connected: tuple[RpcClient, SpawnPodResult],
    echo_paths: tuple[str, str],
    echo_pid: int,
) -> list[Row]:
    """Round trips of about 200 bytes, on the wall and on the processor."""
    pod, spawned = connected
    echo_path, synced_path = echo_paths
    handle = client.pod(spawned.pod.name)
    assert spawned.pod.pid is not None
    ours, theirs = (os.getpid(), spawned.pod.pid), (os.getpid(), echo_pid)
    with placed(echo_pid, spawned.pod.pid):
        apart = await interleaved(
            {
                "raw": lambda: echo_round_trip(echo_path, 200, 500),
                "status": lambda: timed(500, lambda: pod.request(GetStatus())),
                "handle": lambda: timed(500, handle.status),
            },
            bench.rounds,
        )
    seen = await interleaved(
        {
            "raw": lambda: echo_round_trip(echo_path, 200, 500),
            "status": lambda: timed(500, lambda: pod.request(GetStatus())),
            "raw cpu": lambda: echo_round_trip(echo_path, 200, 500, theirs),
            "status cpu": lambda: cpu_timed(ours, 500, lambda: pod.request(GetStatus())),
            "run": lambda: run_round_trip(pod, 100, 100),
            "raw run": lambda: echo_round_trip(synced_path, 200, 100),
            "fsync": lambda: fsync_seconds(bench, 300, 200),
        },
        bench.rounds,
    )
    return [
        row("status round trip, 200 B", apart["status"], apart["raw"], "raw trio echo",
            at_most=1.5),
        row("the same, placed by the system", seen["status"], seen["raw"], "raw trio echo"),
        row("the same, processor time of both ends", seen["status cpu"], seen["raw cpu"],
            "raw trio echo", at_most=1.5),
        row("the same through `client.pod(NAME)`", apart["handle"], apart["raw"],
            "raw trio echo", at_most=1.5),
        row("run -> accepted, 200 B", seen["run"], seen["raw run"],
            "raw echo, synced first", at_most=1.3),
        row("the same", seen["run"], seen["raw"] + seen["fsync"],
            "raw echo + one fsync, apart"),
    ]  # fmt: skip


async def bench_big(
    bench: Bench,
    client: PodsClient,
    connected: tuple[RpcClient, SpawnPodResult],
    echo_path: str,
) -> list[Row]:
    """A message of a megabyte, and 768 KiB of what it was answered, by the pod and by file."""
    pod, spawned = connected
    # After the message and the start of its turn: the answer, in pieces of 16 KB.
    since = (await pod.request(GetStatus())).last_seq + 2
    await run_round_trip(pod, MEGABYTE, 1)
    name, most = spawned.pod.name, READ_BYTES
    seen = await interleaved(
        {
            "raw": lambda: echo_round_trip(echo_path, MEGABYTE, 20),
            "run": lambda: run_round_trip(pod, MEGABYTE, 10),
            "fsync": lambda: fsync_seconds(bench, MEGABYTE, 10),
            "read": lambda: timed(10, lambda: pod.request(ReadEvents(since=since, max_bytes=most))),
            "by file": lambda: timed(10, lambda: client.read(name, since=since, max_bytes=most)),
            "raw read": lambda: echo_round_trip(echo_path, READ_BYTES, 20),
        },
        bench.rounds,
    )
    durable = seen["raw"] + seen["fsync"]
    return [
        row("run -> accepted, 1 MB, durable", seen["run"], durable, "raw echo + one fsync",
            at_most=2.2),
        row("read of 768 KiB of events", seen["read"], seen["raw read"], "raw echo of as much",
            at_most=2.2),
        row("the same of the supervisor", seen["by file"], seen["raw read"],
            "raw echo of as much", at_most=2.2),
    ]  # fmt: skip


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
