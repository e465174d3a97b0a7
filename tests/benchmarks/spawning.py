"""The rows on spawning pods, one and many, and on what an idle pod weighs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable

import trio
from anchors import FreshInterpreters, PreloadedForkServer
from bench import Bench, stop_all
from measure import Row, interleaved, row

from pods.client.aio import PodsClient
from pods_protocol.supervisor_messages import SpawnPod, SpawnPodResult

MEGABYTE = 1_000_000


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
