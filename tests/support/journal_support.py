"""Helpers for tests of the journal: a disk that fails, a sink that obeys, files written by hand."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import orjson
import trio
import trio.testing

from pods.journal.events import encode_event
from pods.journal.segments import segment_path
from pods.journal.store import Journal
from pods_protocol.events import Event
from process_support import WAIT_SECONDS


def an_event(
    seq: int, kind: str = "text", data: dict[str, Any] | None = None, turn: int | None = None
) -> Event:
    """An event with a time that follows from its seq."""
    return Event(
        seq=seq, time=float(seq), turn=turn, type=kind, data={"text": "x"} if data is None else data
    )


def write_segment(directory: str | Path, events: list[Event], first: int | None = None) -> Path:
    """A segment written by hand; `first` where it is empty or its name is to lie."""
    path = Path(segment_path(str(directory), events[0].seq if first is None else first))
    path.write_bytes(b"".join(encode_event(event) + b"\n" for event in events))
    return path


def damage(directory: Path, number: int, instead: bytes) -> None:
    """Put other bytes for one line (0 is the first) of a journal of one file; none cuts there."""
    path = next(directory.glob("*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    rest = lines[number + 1 :] if instead else []
    path.write_bytes(b"".join([*lines[:number], instead, *rest]))


class FailingFiles:
    """A disk with `room` bytes left, and faults that are switched on by name.

    Attributes:
        room: bytes that fit before ENOSPC; None is no end.
        broken: names of operations that answer EIO.
        most: bytes that one write takes at most.
        calls: every operation asked for, in order.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.broken: set[str] = set()
        self.most: int | None = None
        self.calls: list[str] = []

    def _ask(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise OSError(errno.EIO, "broken for this test")

    def open(self, path: str, flags: int, mode: int, /) -> int:
        self._ask("open")
        return os.open(path, flags, mode)

    def write(self, descriptor: int, data: bytes, offset: int, /) -> int:
        self._ask("write")
        fits = len(data) if self.most is None else min(self.most, len(data))
        if self.room is not None:
            if self.room == 0:
                raise OSError(errno.ENOSPC, "full for this test")
            fits = min(fits, self.room)
            self.room -= fits
        return os.pwrite(descriptor, data[:fits], offset)

    def sync(self, descriptor: int, /) -> None:
        self._ask("sync")

    def truncate(self, descriptor: int, size: int, /) -> None:
        self._ask("truncate")
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int, /) -> None:
        self._ask("close")
        os.close(descriptor)

    def rename(self, path: str, new: str, /) -> None:
        self._ask("rename")
        os.rename(path, new)

    def unlink(self, path: str, /) -> None:
        self._ask("unlink")
        os.unlink(path)


class FakeSink:
    """A sink that takes everything, unless it is told to be full.

    Attributes:
        full: it keeps what it is given and says so, until `drain`.
        data: all it was given.
        largest: the largest single gift.
        waits: how often somebody waited for it.
    """

    def __init__(self) -> None:
        self.full = False
        self.data = bytearray()
        self.largest = 0
        self.waits = 0
        self.gifts = 0
        self._kept = False
        self._empty = trio.Event()

    def try_send(self, data: bytes) -> bool:
        assert not self._kept, "nothing may be given before drained() has returned"
        assert data.endswith(b"\n"), "whole lines only"
        self.data += data
        self.gifts += 1
        self.largest = max(self.largest, len(data))
        if self.full:
            self._kept = True
            self._empty = trio.Event()
        return not self.full

    async def drained(self) -> None:
        self.waits += 1
        if self._kept:
            await self._empty.wait()
        else:
            await trio.lowlevel.checkpoint()

    def drain(self) -> None:
        """Take what was kept, and everything from here on."""
        self.full = False
        self._kept = False
        self._empty.set()

    @property
    def seqs(self) -> list[int]:
        """Seqs of all it was given."""
        return seqs_of(bytes(self.data))

    @property
    def events(self) -> list[dict[str, Any]]:
        """All it was given."""
        return [orjson.loads(line)["params"] for line in bytes(self.data).splitlines()]


def seqs_of(data: bytes) -> list[int]:
    """Seqs of the notifications in `data`."""
    return [orjson.loads(line)["params"]["seq"] for line in data.splitlines()]


WORDS = {"text": "x" * 40}


def text(journal: Journal, count: int = 1) -> None:
    """Append so many texts."""
    journal.append_many([("text", WORDS, None)] * count)


async def settle(sink: FakeSink, journal: Journal) -> None:
    """Let the sink take everything; then it must have come to the journal's end."""
    sink.drain()
    with trio.fail_after(WAIT_SECONDS):
        while not sink.seqs or sink.seqs[-1] < journal.last_seq:
            await trio.testing.wait_all_tasks_blocked()
            sink.drain()
