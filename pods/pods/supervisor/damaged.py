"""What a parent is told of a child that has ended and whose journal is damaged.

Owns the two events that stand for what nobody can read: a `gap`, and the child's end, its own where
the last line of its journal is that, else from the supervisor's record. They follow from the files
and the record alone, so that a parent that has been told of them is not told again. Used by
`relay`.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pods.journal.reader import last_seq, read_events
from pods.journal.segments import READ_FLAGS, list_segments
from pods.records.record import PodRecord
from pods_protocol.errors import StorageFailed
from pods_protocol.events import Event


def end_behind_damage(journal: str, since: int, record: PodRecord) -> list[Event]:
    """What is told after `since`, where the journal cannot be read on; nothing twice.

    Args:
        journal: the directory.
        since: the seq of the newest event that could be read, or was told.
        record: what the supervisor has of the pod, which has ended.

    Raises:
        StorageFailed: nothing of it can be read.
    """
    newest = _newest(journal)
    last = _own_end(journal, newest) or Event(
        seq=newest + 1,
        time=record.ended or 0.0,
        turn=None,
        type="stopped",
        data=_recorded(record),
    )
    gap = Event(
        seq=last.seq - 1,
        time=last.time,
        turn=None,
        type="gap",
        data={"first": since + 1, "last": last.seq - 1},
    )
    return [event for event in (gap, last) if event.seq > since]


def _newest(journal: str) -> int:
    """The seq of the last line, whatever stands in it: its files do not change any more."""
    with suppress(StorageFailed):
        return last_seq(journal)
    segments = list_segments(journal)
    if not segments:
        return 0
    with open(segments[-1].path, "rb", opener=_opener) as file:
        return segments[-1].first - 1 + sum(1 for line in file if line.strip(b" "))


def _own_end(journal: str, newest: int) -> Event | None:
    with suppress(StorageFailed):
        for event in read_events(journal, newest - 1, limit=1).events:
            if event.type == "stopped":
                return event
    return None


def _recorded(record: PodRecord) -> dict[str, object]:
    data: dict[str, object] = {"reason": record.state or "lost"}
    if record.reason:
        data["message"] = record.reason
    if record.undelivered:
        data["undelivered"] = [one.message_id for one in record.undelivered]
    return data


def _opener(path: str, _: int) -> int:
    return os.open(path, READ_FLAGS)
