"""How much of a journal is kept: the bounds, and which files they cost.

Owns the decision alone. Pure: no files, no clock. `store` asks it when it has begun a new segment,
which is the one moment at which old ones go; configuration makes the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from attrs import frozen

SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""A segment is full from here on: some 80,000 usual events. A rotation costs three syncs and a
snapshot, about ten milliseconds, so it should be rare; and what retention takes, it takes in pieces
of this size, so it should not be huge."""

MIN_SEGMENT_BYTES: Final = 1024 * 1024
"""Smaller segments, made for a small `max_bytes`, would cost more in snapshots than they save."""

KEPT_SEGMENTS: Final = 2
"""The newest segments that no bound takes: the one that is written, and the one before it, with
which the second newest snapshot can still be brought up to date if the newest is damaged."""


@frozen(kw_only=True)
class Retention:
    """What is kept of a journal; the default is all of it.

    What the state of a pod depends on is never lost by it: that is in a snapshot, synced before
    anything is taken. A reader whose cursor lies before what is kept gets a `gap` event.

    Attributes:
        max_bytes: of all segments together; the oldest go first. None is no bound. The two newest
            stay whatever it says; segments are made smaller than usual to fit a small bound.
        max_age_seconds: a segment whose newest event is older goes. None is no bound.
    """

    max_bytes: int | None = None
    max_age_seconds: float | None = None

    @property
    def segment_bytes(self) -> int:
        """The size at which a segment is full."""
        if self.max_bytes is None:
            return SEGMENT_BYTES
        return max(MIN_SEGMENT_BYTES, min(SEGMENT_BYTES, self.max_bytes // 4))


KEEP_ALL: Final = Retention()


class Extent(NamedTuple):
    """What is known of one segment: bytes, and when its newest event was written (epoch)."""

    size: int
    written: float


def count_expired(segments: Sequence[Extent], retention: Retention, now: float) -> int:
    """How many of the segments go: always the oldest, never one of the `KEPT_SEGMENTS` newest.

    Args:
        segments: all of a journal, the oldest first.
        retention: what is kept.
        now: seconds since the epoch.
    """
    total = sum(segment.size for segment in segments)
    count = 0
    for segment in segments[:-KEPT_SEGMENTS]:
        too_much = retention.max_bytes is not None and total > retention.max_bytes
        too_old = (
            retention.max_age_seconds is not None
            and now - segment.written > retention.max_age_seconds
        )
        if not too_much and not too_old:
            break
        total -= segment.size
        count += 1
    return count
