"""Reading a journal without its lock: of a living pod, of one that is gone, from any cursor.

Owns cursors: what comes after `since`, where to go on, and the `gap` that stands for events that
retention took. Never writes, never repairs. What a writer appends while we read is seen whole or
not at all. Called by `feed`, by the supervisor for pods that are gone, by the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from attrs import frozen

from pods.journal.events import decode_event, peek
from pods.journal.lines import find_line, iterate_lines, last_lines
from pods.journal.segments import READ_FLAGS, Segment, damaged, failed, list_segments
from pods_protocol.bounds import DEFAULT_READ_BYTES, DEFAULT_READ_LIMIT
from pods_protocol.errors import StorageFailed
from pods_protocol.events import Event

MAX_SCAN_BYTES: Final = 8 * 1024 * 1024
MAX_LINES_LEFT_OUT: Final = 4096
"""Journal bytes that one `read_events` looks at, and lines that it passes over: a filter that finds
nothing in them answers `truncated` with a cursor that goes on, in some twenty milliseconds, instead
of holding up whoever waits for the same thread."""

LOOKS: Final = 2
"""At the last lines, before they are called damaged. Lines are written where spaces were, and a
writer may overtake a reader in the middle of its copy, which then has the end of a line and spaces
for its beginning. How far there are whole lines is found by this look, and what readers get is read
after it, when these are there."""


@frozen(kw_only=True)
class ReadSlice:
    """Events after a cursor.

    Attributes:
        events: in order; of the kinds asked for, and `gap` whatever was asked for.
        next: the cursor that goes on from here; it counts the events that were left out.
        last_seq: the newest event there is.
        truncated: events after `next` are there already.
    """

    events: tuple[Event, ...]
    next: int
    last_seq: int
    truncated: bool


class Place(NamedTuple):
    """Where a scan got to, so that the next one need not search; made anew for every line.

    Attributes:
        seq: the last event before it.
        segment: first seq of the file.
        offset: where the next line begins.
    """

    seq: int
    segment: int
    offset: int


class Scan:
    """The lines after a cursor, over all segments, checked to be without a hole.

    Args:
        directory: the journal's.
        since: everything after this seq.
        until: up to and with this seq.
        place: where an earlier scan up to `since` ended; a search is saved if it still fits.

    Attributes:
        gap: first and last seq of what is asked for and no longer there, or None.
        place: after each line, where the next one begins.
        trimmed: the writer took a file away before its turn came, and the lines ended there; what
            is gone shows as the `gap` of the next scan.
    """

    def __init__(self, directory: str, since: int, until: int, place: Place | None = None) -> None:
        self._directory = directory
        self._segments = list_segments(directory)
        self._since = since
        self._until = until
        self.gap: tuple[int, int] | None = None
        self.trimmed = False
        self.place = place if place is not None and place.seq == since else None
        if self._segments and self._segments[0].first > since + 1:
            self.gap = (since + 1, self._segments[0].first - 1)
            self._since = self._segments[0].first - 1

    def lines(self) -> Iterator[tuple[int, str, bytes]]:
        """`(seq, kind, line)` in order.

        Raises:
            StorageFailed: a line or a file is missing or is no event; what came before is good.
        """
        expected = self._since + 1
        segments = self._segments
        for index, segment in enumerate(segments):
            following = segments[index + 1].first if index + 1 < len(segments) else None
            if following is not None and following <= expected:
                continue
            if expected > self._until:
                return
            for seq, kind, line, end in self._lines_of(segment, expected):
                self.place = Place(seq, segment.first, end)
                yield seq, kind, line
                expected = seq + 1
                if expected > self._until:
                    return
            if self.trimmed:
                return
            if following is not None and following != expected:
                raise damaged(
                    segment.path,
                    os.path.getsize(segment.path),
                    f"event {expected} should follow, and the next file begins with {following}",
                )

        if segments and expected <= self._until:
            newest = segments[-1].path
            raise damaged(
                newest,
                os.path.getsize(newest),
                f"event {expected} should stand here, and the file ends",
            )

    def gap_event(self) -> Event:
        """What stands for the events that are gone (`gap` says which).

        Its seq is that of the last of them, so that a cursor that takes it goes on right; its time
        is that of the first event that is left.
        """
        assert self.gap is not None, "the caller has looked"
        first, last = self.gap
        time = 0.0
        scan = Scan(self._directory, last, min(last + 1, self._until))
        for _, _, line in scan.lines():
            time = _decode(scan, line).time
        return Event(
            seq=last, time=time, turn=None, type="gap", data={"first": first, "last": last}
        )

    def _lines_of(self, segment: Segment, expected: int) -> Iterator[tuple[int, str, bytes, int]]:
        try:
            descriptor = os.open(segment.path, READ_FLAGS)
        except OSError as error:
            if not os.path.lexists(segment.path):
                self.trimmed = True
                return
            raise failed("read", segment.path, error) from error
        try:
            end = os.fstat(descriptor).st_size
            if self.place is not None and self.place.segment == segment.first:
                start = self.place.offset
            elif expected <= segment.first:
                start = 0
            else:
                start = find_line(descriptor, segment.path, end, expected - 1)
            before = segment.first - 1 if start == 0 else None
            for offset, line in iterate_lines(descriptor, segment.path, start, end):
                try:
                    seq, kind = peek(line)
                except ValueError as error:
                    raise damaged(segment.path, offset, f"this is no event ({error})") from None
                if seq != (seq if before is None else before + 1) or (
                    seq > expected and before is None
                ):
                    raise damaged(
                        segment.path,
                        offset,
                        f"event {expected if before is None else before + 1} should stand here, "
                        f"and it is {seq}",
                    )
                before = seq
                if seq >= expected:
                    yield seq, kind, line, offset + len(line) + 1
        finally:
            os.close(descriptor)


def read_events(
    directory: str,
    since: int,
    *,
    kinds: frozenset[str] = frozenset(),
    limit: int = DEFAULT_READ_LIMIT,
    max_bytes: int = DEFAULT_READ_BYTES,
) -> ReadSlice:
    """Events after `since`.

    A cursor below the first event that is still stored gets a `gap` event first, whose seq is that
    of the last event that is gone. A cursor above the newest event gets nothing and is set back to
    the newest, which the caller can see (`next` below `since`).

    Args:
        directory: the journal's; one that is not there reads as empty.
        since: everything after this seq.
        kinds: only these kinds; empty is all.
        limit: events at most; at least one.
        max_bytes: encoded bytes at most; one event comes whatever its size.

    Raises:
        StorageFailed: what comes next is damaged or cannot be read. What comes before the damage
            is given first.
    """
    newest = last_seq(directory)
    if since >= newest:
        return ReadSlice(events=(), next=newest, last_seq=newest, truncated=False)
    scan = Scan(directory, since, newest)
    events: list[Event] = []
    reached, size, scanned, left_out = since, 0, 0, 0
    if scan.gap is not None:
        reached = scan.gap[1]
        events.append(scan.gap_event())
    try:
        for seq, kind, line in scan.lines():
            if not kinds or kind in kinds:
                size += len(line) + 1
                if events and (len(events) >= limit or size > max_bytes):
                    break
                events.append(_decode(scan, line))
            else:
                left_out += 1
            reached = seq
            scanned += len(line)
            if scanned > MAX_SCAN_BYTES or left_out >= MAX_LINES_LEFT_OUT:
                break
    except StorageFailed:
        if reached == since:
            raise
    if scan.trimmed and reached == since:
        return read_events(directory, since, kinds=kinds, limit=limit, max_bytes=max_bytes)
    return ReadSlice(
        events=tuple(events), next=reached, last_seq=newest, truncated=reached < newest
    )


def _decode(scan: Scan, line: bytes) -> Event:
    try:
        return decode_event(line)
    except ValueError as error:
        assert scan.place is not None, "a line has been read"
        raise damaged(
            f"segment {scan.place.segment}",
            scan.place.offset - len(line) - 1,
            f"this is no event ({error})",
        ) from None


def last_seq(directory: str) -> int:
    """Seq of the newest whole event, 0 where there is none; reads the tail of one file only.

    Raises:
        StorageFailed: the tail is no journal.
    """
    segments = list_segments(directory)
    if not segments:
        return 0
    newest = segments[-1]
    try:
        descriptor = os.open(newest.path, READ_FLAGS)
    except OSError as error:
        if not os.path.lexists(newest.path):
            return last_seq(directory)  # retention took it meanwhile: there are newer ones
        raise failed("read", newest.path, error) from error
    end = 0
    try:
        for _ in range(LOOKS):
            end, lines = last_lines(descriptor, newest.path, os.fstat(descriptor).st_size)
            for line in reversed(lines):
                try:
                    return decode_event(line).seq
                except ValueError:
                    # The last line may be torn by a crash and not yet repaired by a writer.
                    continue
            if len(lines) < 2:
                return newest.first - 1
    finally:
        os.close(descriptor)
    raise damaged(newest.path, end, "the last lines before it are no events")


def iterate(directory: str, since: int = 0) -> Iterator[Event]:
    """Every event after `since` that is there now, with a `gap` first where one is due.

    Raises:
        StorageFailed: at the first damage, after everything before it.
    """
    until = last_seq(directory)
    while True:
        scan = Scan(directory, since, until)
        if scan.gap is not None:
            yield scan.gap_event()
        for seq, _, line in scan.lines():
            yield _decode(scan, line)
            since = seq
        if not scan.trimmed:
            return
