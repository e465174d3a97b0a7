"""Events to subscribers as they are written: no gap, no repeat, bounded memory.

Owns who is up to date and who is behind. A subscriber that is up to date gets each event from the
append itself, without a trip through the scheduler. One whose sink does not take everything is
behind: its own task waits for the sink and goes on from the tail that is kept here, or from the
file. Whether it has caught up is decided, and the subscriber made live, in one step without an
`await`; nothing can be appended in between. Lives in the writer's process. Called by the pod's
server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import trio

from pods.journal.events import encode_event
from pods.journal.reader import Place, Scan
from pods.journal.store import Journal
from pods_protocol.codec import encode_event_notification
from pods_protocol.errors import StorageFailed
from pods_protocol.events import Event

MAX_BATCH_BYTES: Final = 64 * 1024
"""What is joined into one `try_send`: about what a socket takes at once. One event may be
larger."""

MAX_TAIL_BYTES: Final = 1024 * 1024
"""Newest notifications kept for subscribers that are a little behind; one further behind reads the
file. Kept only while there are subscribers."""

MAX_SCANNED_BYTES: Final = 1024 * 1024
"""Journal bytes that one step of a replay looks at, where a filter leaves most of them out."""


class Sink(Protocol):
    """Where a subscriber's notifications go."""

    def try_send(self, data: bytes, /) -> bool:
        """Take bytes without waiting.

        Returns:
            False where not all of them are gone yet: the sink keeps the rest, and the caller waits
            for `drained` before it gives more.
        """
        ...

    async def drained(self) -> None:
        """Wait until the sink keeps nothing."""
        ...


class _Subscriber:
    """One `pump`: `position` is the last event that its sink was given (or that was left out)."""

    __slots__ = ("fallen_behind", "fault", "kinds", "live", "place", "position", "sink", "try_send")

    def __init__(self, sink: Sink, kinds: frozenset[str], position: int) -> None:
        self.sink = sink
        self.try_send = sink.try_send
        self.kinds = kinds
        self.position = position
        self.place: Place | None = None
        self.live = False
        self.fallen_behind = trio.Event()
        self.fault: Exception | None = None


class _Batch(NamedTuple):
    """Joined notifications of the events up to `last`; empty where a filter left all out."""

    last: int
    data: bytes


class Feed:
    """The subscribers of one journal.

    Args:
        journal: its appends are followed from here on.
        batch_bytes: joined into one `try_send`.
        tail_bytes: kept for subscribers that are a little behind.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        batch_bytes: int = MAX_BATCH_BYTES,
        tail_bytes: int = MAX_TAIL_BYTES,
    ) -> None:
        self._journal = journal
        self._batch_limit = batch_bytes
        self._tail_limit = tail_bytes
        self._live: list[_Subscriber] = []
        self._subscribers = 0
        self._news: trio.Event | None = None
        self._tail: list[tuple[str, bytes]] = []
        self._tail_first = journal.last_seq + 1
        self._tail_bytes = 0
        journal.on_append.append(self._publish)

    @property
    def subscribers(self) -> int:
        """How many `pump`s run."""
        return self._subscribers

    @property
    def tail_bytes(self) -> int:
        """Bytes kept for subscribers that are behind; at most `tail_bytes` and one event."""
        return self._tail_bytes

    async def wait_beyond(self, seq: int) -> None:
        """Wait for an event after `seq`; the caller's cancel scope is the deadline."""
        await trio.lowlevel.checkpoint()
        while self._journal.last_seq <= seq:
            if self._news is None:
                self._news = trio.Event()
            await self._news.wait()

    async def pump(self, sink: Sink, *, since: int, kinds: frozenset[str] = frozenset()) -> None:
        """Give a sink every event after `since`, for ever: what is stored, then what comes.

        Args:
            sink: gets `event` notifications, whole lines, in order.
            since: a cursor; one above the newest event counts as the newest.
            kinds: only these (and `gap`); empty is all.

        Raises:
            StorageFailed: what is to be replayed is damaged.
        """
        subscriber = _Subscriber(sink, kinds, min(since, self._journal.last_seq))
        self._subscribers += 1
        try:
            while True:
                await self._catch_up(subscriber)
                await subscriber.fallen_behind.wait()
                if subscriber.fault is not None:
                    raise subscriber.fault
                await sink.drained()
        finally:
            if subscriber.live:
                self._take_off(subscriber)
            self._subscribers -= 1
            if not self._subscribers:
                self._drop_tail()

    async def _catch_up(self, subscriber: _Subscriber) -> None:
        """Serve what is stored until nothing is missing; the subscriber is live on return."""
        while subscriber.position < self._journal.last_seq:
            batch = self._next_batch(subscriber)
            subscriber.position = batch.last
            if batch.data and not subscriber.try_send(batch.data):
                await subscriber.sink.drained()
            else:
                await trio.lowlevel.checkpoint()
        # From the comparison above to here nothing else runs.
        subscriber.place = None
        subscriber.fallen_behind = trio.Event()
        subscriber.live = True
        self._live.append(subscriber)

    def _take_off(self, subscriber: _Subscriber) -> None:
        subscriber.live = False
        self._live.remove(subscriber)
        subscriber.fallen_behind.set()

    # Live ----------------------------------------------------------------------------------------

    def _publish(self, events: Sequence[Event], lines: Sequence[bytes]) -> None:
        """What the journal calls after each append."""
        if self._news is not None:
            self._news.set()
            self._news = None
        if not self._subscribers:
            return
        first = events[0].seq
        if not self._tail:
            self._tail_first = first
        elif first != self._tail_first + len(self._tail):
            # Another callback appended while it was told of these, and we heard of that first.
            # Whoever is live falls behind below and is served from the file, in order.
            self._drop_tail()
            self._tail_first = first
        encoded = [
            (event.type, encode_event_notification(line))
            for event, line in zip(events, lines, strict=True)
        ]
        self._tail += encoded
        self._tail_bytes += sum([len(data) for _, data in encoded])
        if self._tail_bytes > self._tail_limit:
            self._trim_tail()
        batches: dict[frozenset[str], list[_Batch]] = {}
        kinds: frozenset[str] | None = None
        mine: list[_Batch] = []
        for subscriber in self._live.copy():
            if not subscriber.live:
                continue  # an append from inside a sink, just now, found it out of step
            if subscriber.kinds is not kinds:
                kinds = subscriber.kinds
                mine = batches.get(kinds) or _join(first, encoded, kinds, self._batch_limit)
                batches[kinds] = mine
            # A loop within the loop, and no function of its own: most of the time that a pod with a
            # hundred subscribers has goes by here.
            taken = subscriber.position == first - 1
            # (Else its sink appends while it is being given something: the inner append came to
            # this subscriber first. Its own task puts the order right.)
            if taken:
                for last, data in mine:
                    subscriber.position = last
                    if data:
                        try:
                            taken = subscriber.try_send(data)
                        except Exception as error:
                            # The fault of one sink is its own task's to raise, never the writer's.
                            subscriber.fault = error
                            taken = False
                        if not taken:
                            break
            if not taken and subscriber.live:
                self._take_off(subscriber)

    def _trim_tail(self) -> None:
        """Drop the older half, so that the cost of dropping is spread over many appends."""
        count = 0
        while self._tail_bytes > self._tail_limit // 2 and count < len(self._tail) - 1:
            self._tail_bytes -= len(self._tail[count][1])
            count += 1
        del self._tail[:count]
        self._tail_first += count

    def _drop_tail(self) -> None:
        self._tail.clear()
        self._tail_bytes = 0

    # Behind --------------------------------------------------------------------------------------

    def _next_batch(self, subscriber: _Subscriber) -> _Batch:
        """What a subscriber that is behind gets next: from memory where that reaches back."""
        following = subscriber.position + 1
        if self._tail_first <= following < self._tail_first + len(self._tail):
            return self._batch_from_tail(following, subscriber.kinds)
        return self._batch_from_disk(subscriber)

    def _batch_from_tail(self, following: int, kinds: frozenset[str]) -> _Batch:
        pieces: list[bytes] = []
        size = 0
        seq = following - 1
        for index in range(following - self._tail_first, len(self._tail)):
            kind, data = self._tail[index]
            if not kinds or kind in kinds:
                size += len(data)
                if pieces and size > self._batch_limit:
                    break
                pieces.append(data)
            seq += 1
        return _Batch(seq, b"".join(pieces))

    def _batch_from_disk(self, subscriber: _Subscriber) -> _Batch:
        directory, kinds = self._journal.directory, subscriber.kinds
        scan = Scan(directory, subscriber.position, self._journal.last_seq, subscriber.place)
        pieces: list[bytes] = []
        size = scanned = 0
        seq = subscriber.position
        if scan.gap is not None:
            seq = scan.gap[1]
            gap = encode_event(scan.gap_event())
            return _Batch(seq, encode_event_notification(gap))
        place = subscriber.place
        try:
            for found, kind, line in scan.lines():
                scanned += len(line)
                if not kinds or kind in kinds:
                    data = encode_event_notification(line)
                    size += len(data)
                    if pieces and size > self._batch_limit:
                        break
                    pieces.append(data)
                seq, place = found, scan.place
                if scanned > MAX_SCANNED_BYTES:
                    break
        except StorageFailed:
            if seq == subscriber.position:
                raise
            # What comes before the damage is good; the next step says what is wrong.
        subscriber.place = place
        return _Batch(seq, b"".join(pieces))


def _join(
    first: int, encoded: Sequence[tuple[str, bytes]], kinds: frozenset[str], limit: int
) -> list[_Batch]:
    """The notifications of one append for the subscribers that want the same kinds."""
    if len(encoded) == 1:
        kind, data = encoded[0]
        return [_Batch(first, data if not kinds or kind in kinds else b"")]
    batches: list[_Batch] = []
    pieces: list[bytes] = []
    size = 0
    seq = first - 1
    for kind, data in encoded:
        if not kinds or kind in kinds:
            if pieces and size + len(data) > limit:
                batches.append(_Batch(seq, b"".join(pieces)))
                pieces, size = [], 0
            pieces.append(data)
            size += len(data)
        seq += 1
    batches.append(_Batch(seq, b"".join(pieces)))
    return batches
