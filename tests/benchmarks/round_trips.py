"""The rows on round trips straight to a pod, small and big, beside a plain echo."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

import trio
from anchors import echo_process
from bench import Bench, stop_all
from measure import Row, cpu_timed, interleaved, row, timed

from pods.client.aio import PodsClient
from pods.rpc.client import RpcClient, open_rpc
from pods_protocol.api import POD_API
from pods_protocol.pod_messages import GetStatus, ReadEvents, Run, WaitFor
from pods_protocol.supervisor_messages import SpawnPodResult

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
