"""DESIGN.md section 13's rows on deaths: noticed, replaced, and a supervisor that comes after one.

`python tests/benchmarks/bench_lives.py [--quick] [--directory DIR]` prints the table. Everything
runs in temporary directories and is gone afterwards.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import trio
import trio.testing
from anchors import FreshInterpreters, PreloadedForkServer, echo_process, reconnect_seconds
from measure import Row, freeze_imports, print_table, row

from pods.client import aio
from pods.paths import places_from
from pods.rpc.client import open_rpc
from pods.supervisor.embedded import open_supervisor
from pods.supervisor.records import read_token
from pods_protocol.events import Event
from pods_protocol.pod_messages import GetStatus
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import ConnectPod, SubscribeLifecycle
from pods_protocol.values import RestartPolicy

NOTICED_SECONDS = 0.002
REPLACED_SECONDS = 0.025
ADOPTED_SECONDS = 0.5
"""Section 13's targets."""

WORKING = "echo up; exec sleep 1000"


def p99(seen: list[float]) -> float:
    """The ninety-ninth percentile; of few values the worst."""
    return sorted(seen)[min(len(seen) - 1, int(len(seen) * 0.99))]


def environ_in(directory: str) -> dict[str, str]:
    """Private runtime and state directories, and none of the sandbox's import handicaps."""
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environ["PODS_RUNTIME_DIR"] = f"{directory}/r"
    environ["PODS_STATE_DIR"] = f"{directory}/s"
    return environ


async def pidfd_seconds() -> float:
    """From SIGKILL to a trio task that waits on the victim's descriptor."""
    victim = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220 - it takes no time that is measured
    descriptor = os.pidfd_open(victim.pid)
    try:
        async with trio.open_nursery() as nursery:
            ended = 0.0

            async def wait() -> None:
                nonlocal ended
                await trio.lowlevel.wait_readable(descriptor)
                ended = time.perf_counter()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            start = time.perf_counter()
            victim.kill()
        return ended - start
    finally:
        os.close(descriptor)
        victim.wait()


async def death_seconds(client: aio.PodsClient, name: str) -> float:
    """From SIGKILL to the answer of a `wait` for the pod's end: all is on disk, its scope free."""
    pod = await client.spawn(name, prompt=WORKING)
    assert pod.spawned is not None
    pid = pod.spawned.pod.pid
    assert pid is not None
    ended = 0.0

    async def wait() -> None:
        nonlocal ended
        await client.wait(name, until="ended")
        ended = time.perf_counter()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await client.inspect(name)  # behind the wait, on the same connection
        start = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
    await client.remove(name)
    return ended - start


class Crashes:
    """When pods' deaths were told and written down, as the supervisor's own events say.

    Attributes:
        told: pod -> when subscribers were told that it does no more.
        seen: pod -> when its crash was on record: nothing of it was left by then.
    """

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.seen: dict[str, float] = {}

    def take(self, _method: str, event: Any) -> None:
        """Take one lifecycle event."""
        if not isinstance(event, Event):
            return
        if event.type == "pod_crashed":
            self.seen[event.data["pod"]] = event.time
            # What proves the end may be faster than the look at the process.
            self.told.setdefault(event.data["pod"], event.time)
        elif event.type == "pod_state" and event.data["state"] == "stopping":
            self.told.setdefault(event.data["pod"], event.time)


async def replacement_seconds(
    client: aio.PodsClient, name: str, crashes: Crashes
) -> tuple[float, float, float, float]:
    """From SIGKILL to the kernel's word, to ours, to the crash on record, to the next one's status.

    The kernel's word is that of a descriptor of the same process, in the same event loop: it has
    ended by then.
    """
    policy = RestartPolicy(when="on-failure", limit=1)
    pod = await client.spawn(name, prompt=WORKING, restart=policy)
    assert pod.spawned is not None
    pid = pod.spawned.pod.pid
    assert pid is not None
    ended = 0.0
    descriptor = os.pidfd_open(pid)
    try:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                nonlocal ended
                await trio.lowlevel.wait_readable(descriptor)
                ended = time.time()

            nursery.start_soon(wait)
            await client.inspect(name)  # the loop has come by the line above
            killed, start = time.time(), time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await client.request(ConnectPod(pod=name, gone=pid))
            await client.ask(name, GetStatus())
            answered = time.perf_counter()
    finally:
        os.close(descriptor)
    await client.stop(name, mode="kill")
    await client.remove(name)
    told, seen = crashes.told[name] - killed, crashes.seen[name] - killed
    return ended - killed, told, seen, answered - start


async def bench_deaths(directory: str, rounds: int) -> list[Row]:
    """Deaths and replacements, beside a bare process descriptor."""
    anchors: list[float] = []
    forked: list[float] = []
    deaths: list[float] = []
    ended: list[float] = []
    noticed: list[float] = []
    recorded: list[float] = []
    replaced: list[float] = []
    environ = environ_in(directory)
    places = places_from(environ, os.geteuid()).supervisor("bench")
    crashes = Crashes()
    os.mkdir(directory)
    forks = PreloadedForkServer(directory)
    async with open_supervisor("bench", environ=environ) as client:
        token = read_token(places.owner_token)
        assert token is not None
        async with open_rpc(
            places.socket, SUPERVISOR_API, token=token, on_notification=crashes.take
        ) as rpc:
            await rpc.request(SubscribeLifecycle())
            with forks:
                for number in range(rounds):
                    anchors.append(await pidfd_seconds())
                    forked.append(anchors[-1] + forks.run(1))
                    deaths.append(await death_seconds(client, f"d{number}"))
                    end, notice, crash, back = await replacement_seconds(
                        client, f"r{number}", crashes
                    )
                    ended.append(end)
                    noticed.append(notice)
                    recorded.append(crash)
                    replaced.append(back)
    anchor = statistics.median(anchors)
    target = "target {:g} ms"
    return [
        row("kill -9 of a pod -> its end noticed, p99", p99(noticed), NOTICED_SECONDS,
            target.format(NOTICED_SECONDS * 1e3), at_most=1.0),
        row("the same, beside the kernel's word", p99(noticed), p99(ended),
            "pidfd of the same pod, p99"),
        row("kill -9 of a pod -> its end noticed, median", statistics.median(noticed),
            statistics.median(ended), "pidfd of the same pod"),
        row("the same", statistics.median(noticed), anchor, "pidfd of `sleep`"),
        row("kill -9 of a pod -> crash on record, p99", p99(recorded), anchor, "pidfd of `sleep`"),
        row("kill -9 of a pod -> crash on record, median", statistics.median(recorded), anchor,
            "pidfd of `sleep`"),
        row("kill -9 of a pod -> buried, `wait` answered, p99", p99(deaths), anchor,
            "pidfd of `sleep`"),
        row("kill -9 of a pod -> replacement answers, median", statistics.median(replaced),
            REPLACED_SECONDS, target.format(REPLACED_SECONDS * 1e3), at_most=1.0),
        row("the same, beside the least", statistics.median(replaced), statistics.median(forked),
            "pidfd of `sleep`, then a preloaded fork that answers"),
        row("kill -9 of a pod -> replacement answers, p99", p99(replaced), REPLACED_SECONDS,
            target.format(REPLACED_SECONDS * 1e3), at_most=1.0),
    ]  # fmt: skip


@contextmanager
def supervisor_process(environ: dict[str, str]) -> Generator[tuple[subprocess.Popen[bytes], float]]:
    """A daemon, and the seconds from its start to its word that it is ready."""
    reader, writer = os.pipe()
    start = time.perf_counter()
    process = subprocess.Popen(
        [
            sys.executable, "-P", "-m", "pods.supervisor", "--name", "bench",
            "--ready-fd", str(writer), "--idle-exit-seconds", "0",
        ],
        env=environ,
        pass_fds=(writer,),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writer)
    try:
        with open(reader, "rb") as ready:
            assert ready.readline() == b"ready\n", "the supervisor did not come up"
        yield process, time.perf_counter() - start
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def bench_adoption(directory: str, rounds: int, many: int) -> list[Row]:
    """A supervisor that finds the working pods of one that was killed."""
    environ = environ_in(directory)
    places = places_from(environ, os.geteuid()).supervisor("bench")
    fresh = FreshInterpreters(directory)
    ready: list[float] = []
    adopted: list[float] = []
    anchors: list[float] = []
    greeted: list[float] = []
    with supervisor_process(environ) as (process, _):
        token = read_token(places.owner_token)
        assert token is not None
        async with aio.connect_socket(places.socket, token) as client:
            async with trio.open_nursery() as nursery:
                for number in range(many):
                    nursery.start_soon(
                        lambda name: client.spawn(name, prompt=WORKING), f"p{number}"
                    )
            before = {one.name: one.pid for one in (await client.list()).pods}
        process.kill()
        process.wait()
    for last in [False] * (rounds - 1) + [True]:
        start = time.perf_counter()
        fresh.run(1)
        anchors.append(time.perf_counter() - start)
        with echo_process(f"{directory}/echo{len(anchors)}") as _:
            greeted.append(reconnect_seconds(f"{directory}/echo{len(anchors)}", many))
        start = time.perf_counter()
        with supervisor_process(environ) as (process, seconds):
            ready.append(seconds)
            async with aio.connect_socket(places.socket, token) as client:
                rows = (await client.list()).pods
                adopted.append(time.perf_counter() - start)
                assert {one.name: one.pid for one in rows} == before, "not the same pods"
                assert all(one.state == "working" for one in rows)
                if last:
                    await client.shutdown(stop_pods=True)
            if not last:
                process.kill()
            process.wait()
    anchor = statistics.median(anchors)
    return [
        row(f"new supervisor ready with {many} working pods, median", statistics.median(ready),
            anchor, "fresh interpreter"),
        row(f"{many} pods re-adopted and listed, worst", max(adopted), ADOPTED_SECONDS,
            f"target {ADOPTED_SECONDS * 1e3:g} ms", at_most=1.0),
        row(f"{many} pods re-adopted and listed, median", statistics.median(adopted),
            statistics.median(greeted), f"fresh interpreter, {many} connections greeted"),
    ]  # fmt: skip


async def run(quick: bool, parent: str) -> list[Row]:
    """All rows; nothing is left afterwards."""
    directory = os.path.join(parent, f"pods-bench-{secrets.token_hex(4)}")
    os.mkdir(directory, 0o700)
    try:
        rows = await bench_deaths(f"{directory}/d", 10 if quick else 100)
        rows += await bench_adoption(directory, 2 if quick else 5, 20 if quick else 100)
    finally:
        shutil.rmtree(directory)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, twenty pods")
    parser.add_argument("--directory", default=tempfile.gettempdir(), help="as of bench_pods.py")
    options = parser.parse_args()
    freeze_imports()
    print_table(trio.run(run, options.quick, os.path.abspath(options.directory)))


if __name__ == "__main__":
    main()
