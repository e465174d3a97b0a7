"""The journal against the raw system: appends, rotation, a journal of a gigabyte, fan-out.

    python tests/benchmarks/bench_journal.py [--quick]

A child process drains the sockets of the fan-out, so that the writer's core does only the writer's
work. Anchors: the same bytes by `write` and `fdatasync`; trio's `send_all` to each subscriber.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial

import orjson
import trio
import trio.testing
from measure import Row, interleaved, print_table, row

from pods.journal.feed import Feed
from pods.journal.reader import last_seq, read_events
from pods.journal.retention import MIN_SEGMENT_BYTES, Retention
from pods.journal.store import Journal
from pods.rpc.stream import UnixStream

DATA = {"text": "x" * 120}
"""Makes an event of about 200 bytes."""

BATCH = 100
BURST = 64

ENVELOPE_BYTES = len(b'{"jsonrpc":"2.0","method":"event","params":}\n')

DRAIN = """
import os, select, sys
poll = select.epoll()
for number in sys.argv[1:]:
    poll.register(int(number), select.EPOLLIN)
poll.register(0, select.EPOLLIN)
seen = 0
wanted = None
buffer = bytearray(1 << 18)
while True:
    for number, _ in poll.poll():
        if number == 0:
            line = os.read(0, 64)
            if not line:
                sys.exit()
            wanted = int(line)
        else:
            seen += os.readv(number, [buffer])
    if wanted is not None and seen >= wanted:
        os.write(1, b"d")
        wanted = None
"""


class Subscribers:
    """Sockets, and a process that reads everything from their other ends."""

    def __init__(self, process: subprocess.Popen[bytes], sockets: list[socket.socket]) -> None:
        self.process = process
        self.sockets = sockets

    async def have(self, size: int) -> None:
        """Wait until that many bytes in all have arrived."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"%d\n" % size)
        self.process.stdin.flush()
        await trio.lowlevel.wait_readable(self.process.stdout)
        os.read(self.process.stdout.fileno(), 1)


@contextmanager
def subscribers(count: int) -> Generator[Subscribers, None, None]:
    """`count` connected sockets with a reader."""
    pairs = [socket.socketpair() for _ in range(count)]
    theirs = [pair[1].fileno() for pair in pairs]
    with subprocess.Popen(
        [sys.executable, "-c", DRAIN, *map(str, theirs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=theirs,
    ) as process:
        for pair in pairs:
            pair[1].close()
        try:
            yield Subscribers(process, [pair[0] for pair in pairs])
        finally:
            assert process.stdin is not None
            process.stdin.close()
            for pair in pairs:
                pair[0].close()


class StreamSink:
    """What a connection of the pod's server is to the feed."""

    def __init__(self, stream: UnixStream) -> None:
        self._stream = stream
        self.try_send = stream.send

    async def drained(self) -> None:
        """See `Sink`."""
        await self._stream.drained()


async def fan_out(directory: str, count: int, events: int, burst: int) -> float:
    """Deliveries a second by the feed, journal included, `burst` events an append."""
    shutil.rmtree(directory, ignore_errors=True)
    items = [("text_delta", DATA, 1)] * burst
    with subscribers(count) as those, Journal.open(directory) as journal:
        feed = Feed(journal)
        size = 0

        def count_bytes(_: object, lines: Sequence[bytes]) -> None:
            nonlocal size
            size += sum(map(len, lines)) + len(lines) * ENVELOPE_BYTES

        journal.on_append.append(count_bytes)
        async with trio.open_nursery() as nursery:
            for sock in those.sockets:
                stream = UnixStream(sock)
                nursery.start_soon(stream.run_writer)
                nursery.start_soon(partial(feed.pump, StreamSink(stream), since=0))
            await trio.testing.wait_all_tasks_blocked()
            start = time.perf_counter()
            for _ in range(events // burst):
                if burst == 1:
                    journal.append("text_delta", DATA, turn=1)
                else:
                    journal.append_many(items)
                await trio.lowlevel.checkpoint()
            await those.have(size * count)
            seconds = time.perf_counter() - start
            nursery.cancel_scope.cancel()
    return events // burst * burst * count / seconds


async def fan_out_naive(count: int, events: int) -> float:
    """The same deliveries with `send_all` to each subscriber in turn, and no journal."""
    with subscribers(count) as those:
        streams = [
            trio.SocketStream(trio.socket.from_stdlib_socket(sock.dup())) for sock in those.sockets
        ]
        size = 0
        start = time.perf_counter()
        for number in range(events):
            line = _line(number + 1)
            line = b'{"jsonrpc":"2.0","method":"event","params":' + line[:-1] + b"}\n"
            size += len(line)
            for stream in streams:
                await stream.send_all(line)
        await those.have(size * count)
        seconds = time.perf_counter() - start
        for stream in streams:
            await stream.aclose()
    return events * count / seconds


def _line(seq: int) -> bytes:
    return (
        orjson.dumps(
            {"seq": seq, "time": time.time(), "turn": 1, "type": "text_delta", "data": DATA}
        )
        + b"\n"
    )


async def append_ours(directory: str, events: int, batch: int, durable: bool) -> float:
    """Events a second."""
    shutil.rmtree(directory, ignore_errors=True)
    items = [("text_delta", DATA, 1)] * batch
    with Journal.open(directory) as journal:
        journal.append("text_delta", DATA, durable=True)
        start = time.perf_counter()
        for _ in range(events // batch):
            if batch == 1:
                journal.append("text_delta", DATA, turn=1, durable=durable)
            else:
                journal.append_many(items, durable=durable)
        seconds = time.perf_counter() - start
    await trio.lowlevel.checkpoint()
    return events // batch * batch / seconds


async def append_raw(path: str, events: int, batch: int, durable: bool) -> float:
    """Events a second by encode, write and fdatasync alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
    seq = 0
    start = time.perf_counter()
    for _ in range(events // batch):
        lines: list[bytes] = []
        for _ in range(batch):
            seq += 1
            lines.append(_line(seq))
        os.write(descriptor, b"".join(lines))
        if durable:
            os.fdatasync(descriptor)
    seconds = time.perf_counter() - start
    os.close(descriptor)
    await trio.lowlevel.checkpoint()
    return events // batch * batch / seconds


async def bench_appends(directory: str, quick: bool, rounds: int) -> list[Row]:
    """One by one and in batches, durable and not."""
    scale = 5 if quick else 1
    rows: list[Row] = []
    for what, events, batch, durable, least in (
        ("append, durable, batches of 100", 50_000 // scale, BATCH, True, 0.35),
        ("append, durable, one by one", 3_000 // scale, 1, True, 0.75),
        ("append, one by one, flushed", 50_000 // scale, 1, False, 0.4),
    ):
        seen = await interleaved(
            {
                "ours": partial(append_ours, f"{directory}/j", events, batch, durable),
                "raw": partial(append_raw, f"{directory}/raw", events, batch, durable),
            },
            rounds,
        )
        rows.append(
            row(
                what,
                seen["ours"],
                seen["raw"],
                "encode + write" + (" + fdatasync" if durable else ""),
                unit="/s",
                at_least=least,
            )
        )
    return rows


def make_journal(directory: str, size: int) -> int:
    """A journal of about `size` bytes, written by the writer itself; its newest seq."""
    item = ("text", {"text": "x" * 1900}, 1)
    with Journal.open(directory) as journal:
        journal.append("turn_started", {"message_id": "m"}, turn=1)
        for _ in range(size // (2000 * BATCH)):
            journal.append_many([item] * BATCH)
        return journal.last_seq


async def bench_long(directory: str, quick: bool, rounds: int) -> list[Row]:
    """A long journal against a short one: to open it for writing, to follow it, to look into it."""
    cases: dict[str, Callable[[], Awaitable[float]]] = {}
    sizes = {"small": 1_000_000, "large": 100_000_000 if quick else 1_000_000_000}
    for name, size in sizes.items():
        path = f"{directory}/{name}"
        events = make_journal(path, size)

        async def opened(path: str = path) -> float:
            return await _time(lambda: Journal.open(path).close(), 5)

        async def follow(path: str = path, since: int = events - 10) -> float:
            return await _time(lambda: read_events(path, since))

        async def middle(path: str = path, since: int = events // 2) -> float:
            return await _time(lambda: read_events(path, since, limit=10))

        async def newest(path: str = path) -> float:
            return await _time(lambda: last_seq(path))

        for what, case in (
            ("open", opened), ("follow", follow), ("middle", middle), ("last_seq", newest)
        ):  # fmt: skip
            cases[f"{what} {name}"] = case
    found = await interleaved(cases, rounds)
    mega = sizes["large"] // 1_000_000
    return [
        row(f"{words}, {mega} MB", found[f"{what} large"], found[f"{what} small"],
            "the same in 1 MB", at_most=most)
        for what, words, most in (
            # A snapshot is at most a MiB of journal old; the small one is all replayed.
            ("open", "open for writing", 3.0),
            ("follow", "the last 10 events", 5.0),
            ("middle", "10 events from the middle", 5.0),
            ("last_seq", "the newest seq", 6.0),  # sixty names to list instead of one
        )
    ]  # fmt: skip


async def append_rotating(directory: str, size: int) -> float:
    """Bytes a second through segments of a MiB, of which four are kept: rotation at its worst."""
    shutil.rmtree(directory, ignore_errors=True)
    items = [("text_delta", DATA, 1)] * BATCH
    retention = Retention(max_bytes=4 * MIN_SEGMENT_BYTES)
    written = 0
    with Journal.open(directory, retention=retention) as journal:
        start = time.perf_counter()
        while written < size:
            journal.append_many(items)
            written += BATCH * len(_line(1))
        seconds = time.perf_counter() - start
    await trio.lowlevel.checkpoint()
    return written / seconds


async def append_flat(path: str, size: int) -> float:
    """The same by encode and write alone, into one file."""
    each = BATCH * len(_line(1))
    return each / BATCH * await append_raw(path, size // each * BATCH, BATCH, durable=False)


async def bench_rotation(directory: str, quick: bool, rounds: int) -> list[Row]:
    """What rotation, snapshots and retention cost."""
    size = 8_000_000 if quick else 40_000_000
    seen = await interleaved(
        {
            "ours": partial(append_rotating, f"{directory}/j", size),
            "raw": partial(append_flat, f"{directory}/raw", size),
        },
        rounds,
    )
    return [
        row("append, rotating each MiB", seen["ours"], seen["raw"], "encode + write, one file",
            unit="B/s", at_least=0.2)
    ]  # fmt: skip


async def _time(action: Callable[[], object], repeat: int = 50) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        action()
    await trio.lowlevel.checkpoint()
    return (time.perf_counter() - start) / repeat


async def bench_fan_out(directory: str, quick: bool, rounds: int) -> list[Row]:
    """1, 10 and 100 subscribers, one by one and in bursts of 64."""
    scale = 5 if quick else 1
    rows: list[Row] = []
    # DESIGN.md section 13: 400,000 and 1.5 million a second where naive trio makes 87,000.
    for count, one_by_one, bursts in ((1, None, None), (10, None, None), (100, 4.6, 17.2)):
        events = (40_000 if count == 1 else 64_000 // count * 4) // scale
        seen = await interleaved(
            {
                "one": partial(fan_out, f"{directory}/j", count, events, 1),
                "burst": partial(fan_out, f"{directory}/j", count, events * 5, BURST),
                "naive": partial(fan_out_naive, count, max(events // 4, 300)),
            },
            rounds,
        )
        for words, ours, least in (
            (f"fan-out to {count}, one by one", seen["one"], one_by_one),
            (f"fan-out to {count}, bursts of {BURST}", seen["burst"], bursts),
        ):
            rows.append(row(words, ours, seen["naive"], "trio send_all", unit="/s", at_least=least))
    return rows


async def run(quick: bool = False) -> list[Row]:
    """All rows; nothing is left afterwards."""
    directory = f"/tmp/pods-bench-{secrets.token_hex(4)}"
    os.mkdir(directory, 0o700)
    rounds = 3 if quick else 5
    try:
        rows = await bench_appends(directory, quick, rounds)
        rows += await bench_rotation(directory, quick, rounds)
        rows += await bench_long(directory, quick, rounds)
        rows += await bench_fan_out(directory, quick, rounds)
    finally:
        shutil.rmtree(directory)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller files")
    print_table(trio.run(run, parser.parse_args().quick))


if __name__ == "__main__":
    main()
