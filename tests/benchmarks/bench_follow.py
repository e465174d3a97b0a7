"""Following a pod: what 1, 10 and 100 subscribers get of it, on connections of their own.

`python tests/benchmarks/bench_follow.py [--quick]` prints the table. A real pod writes each event
to its journal and sends it to each subscriber; the anchor is a bare trio server that sends as many
lines of the same length to as many connections and writes nothing. Both are read by the same loop
in this process. Everything runs in temporary directories and is gone afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio
from flood_anchor import flood_process
from measure import Row, freeze_imports, print_table, row

from pods.client import aio
from pods.supervisor.embedded import open_supervisor
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.supervisor_messages import ConnectPod, ConnectPodResult

READERS = (1, 10, 100)
EVENTS = {1: 5000, 10: 2000, 100: 400}
"""For each number of readers: some fifty thousand deliveries at most, a second or two."""

LAST = b'"turn_ended"'
"""In the last line of what the pod sends, and in the anchor's."""


async def read_to_last(stream: trio.SocketStream) -> tuple[int, int]:
    """Read until the last line has come; lines and bytes."""
    lines = size = 0
    tail = b""
    while True:
        data = await stream.receive_some(262144)
        assert data, "it hung up"
        lines += data.count(b"\n")
        size += len(data)
        tail = (tail + data)[-1024:]
        if LAST in tail and tail.endswith(b"\n"):
            return lines, size


async def read_answer(stream: trio.SocketStream) -> None:
    """Read one line that is an answer."""
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive_some(1)
    assert b'"result"' in line, line


def asked(method: str, number: int, **params: object) -> bytes:
    """A request as a line."""
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(request).encode() + b"\n"


async def deliver(
    streams: list[trio.SocketStream], start: Callable[[], Awaitable[object]]
) -> tuple[float, int, int]:
    """From the start to the last line at the slowest reader: seconds; lines and bytes in all."""
    got: list[tuple[int, int]] = []

    async def read(stream: trio.SocketStream) -> None:
        got.append(await read_to_last(stream))

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(read, stream)
        began = time.perf_counter()
        await start()
    seconds = time.perf_counter() - began
    return seconds, sum(lines for lines, _ in got), sum(size for _, size in got)


@asynccontextmanager
async def subscribers(
    way: ConnectPodResult, number: int, since: int
) -> AsyncGenerator[list[trio.SocketStream]]:
    """Connections that get every event after a cursor."""
    async with AsyncExitStack() as stack:
        streams: list[trio.SocketStream] = []
        for _ in range(number):
            stream = await stack.enter_async_context(await trio.open_unix_socket(way.socket))
            await stream.send_all(asked("hello", 1, token=way.token, protocol=PROTOCOL_VERSION))
            await read_answer(stream)
            await stream.send_all(asked("subscribe", 2, since=since))
            await read_answer(stream)
            streams.append(stream)
        yield streams


@asynccontextmanager
async def plain_readers(path: str, number: int) -> AsyncGenerator[list[trio.SocketStream]]:
    """Connections to the anchor."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(await trio.open_unix_socket(path))
            for _ in range(number)
        ]


async def follow(client: aio.PodsClient, readers: int, events: int) -> tuple[float, int]:
    """Deliveries of a pod a second, and the bytes of a line."""
    way = await client.request(ConnectPod(pod="flood"))
    since = (await client.inspect("flood")).pod.last_seq
    async with subscribers(way, readers, since) as streams:
        seconds, lines, size = await deliver(streams, lambda: client.send("flood", str(events)))
    assert lines == readers * (events + 3), "accepted, started and ended are events, too"
    return lines / seconds, size // lines


async def flood(path: str, readers: int, events: int, length: int) -> float:
    """Deliveries of the bare server a second."""
    async with plain_readers(path, readers) as streams:
        order = f"{readers} {events} {length}\n".encode()
        seconds, lines, _ = await deliver(streams, lambda: streams[0].send_all(order))
    assert lines == readers * (events + 1), "and the last one"
    return lines / seconds


async def run(quick: bool = False) -> list[Row]:
    """All rows; nothing is left afterwards."""
    here = str(Path(__file__).parent)
    with tempfile.TemporaryDirectory(prefix="pods-bench-") as directory:
        environ = {
            **os.environ,
            "PODS_RUNTIME_DIR": f"{directory}/r",
            "PODS_STATE_DIR": f"{directory}/s",
            "PODS_EXTRA_READ": here,
            "PYTHONPATH": os.pathsep.join([here, *filter(None, sys.path)]),
        }
        rows: list[Row] = []
        path = f"{directory}/anchor"
        async with open_supervisor("bench", environ=environ) as client:
            freeze_imports()
            await client.spawn("flood", agent="flood_agent:Flood")
            with flood_process(path):
                for readers in READERS:
                    events = EVENTS[readers] // (10 if quick else 1)
                    ours: list[float] = []
                    raw: list[float] = []
                    length = 0
                    for _ in range(2 if quick else 7):
                        delivered, length = await follow(client, readers, events)
                        ours.append(delivered)
                        raw.append(await flood(path, readers, events, length))
                    rows.append(
                        row(
                            f"follow a pod with {readers} readers, events of {length} bytes",
                            statistics.median(ours),
                            statistics.median(raw),
                            "bare trio server",
                            unit="deliveries/s",
                        )
                    )
        return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer events and rounds")
    print_table(trio.run(run, parser.parse_args().quick))


if __name__ == "__main__":
    main()
