"""`read` and `advance`: what a pod has put out, alive or ended, and how far a reader is.

Owns the cursors that the supervisor keeps for readers. Events come from the journal's files, the
one truth for living and ended pods alike; only waiting for new ones asks the pod itself, on a
connection of its own, so that a pod that does not answer holds nobody up but its own reader.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from pods.journal.reader import last_seq, read_events
from pods.lifecycle import Life
from pods.records.events import CURSOR_ADVANCED
from pods.records.record import PodRecord
from pods.rpc.client import open_rpc
from pods.supervisor.authority import Caller, find_pod
from pods.supervisor.checks import check_count, check_seconds
from pods.supervisor.core import Supervisor
from pods.supervisor.info import last_turn_of
from pods.supervisor.live import LivePod
from pods_protocol.api import POD_API
from pods_protocol.bounds import (
    MAX_NAME_LENGTH,
    MAX_READ_BYTES,
    MAX_READ_LIMIT,
    MAX_WAIT_SECONDS,
)
from pods_protocol.errors import InvalidParams, PodsError
from pods_protocol.pod_messages import Empty, ReadEvents
from pods_protocol.supervisor_messages import AdvanceCursor, ReadOutput, ReadOutputResult

MAX_READERS: Final = 64
"""Named cursors of one pod; a client that invents a name for each read would fill the table."""


async def read(supervisor: Supervisor, caller: Caller, request: ReadOutput) -> ReadOutputResult:
    """Read events after a cursor; with nothing new, wait for some.

    Raises:
        UnknownPod: the caller has no such pod.
        InvalidParams: a number out of its bounds.
    """
    record = find_pod(supervisor, caller, request.pod)
    seconds = min(
        check_seconds(request.wait_seconds, "wait_seconds", longest=MAX_WAIT_SECONDS),
        supervisor.options.config.longest_wait_seconds,
    )
    check_count(request.limit, "limit", lowest=1, highest=MAX_READ_LIMIT)
    check_count(request.max_bytes, "max_bytes", lowest=1, highest=MAX_READ_BYTES)
    if request.since is None:
        since = supervisor.table.cursor(record.id, _reader(request.reader, caller))
    else:
        since = check_count(request.since, "since", lowest=0)
    result = await _read_now(supervisor, record, request, since)
    if result.events or seconds == 0:
        return result
    live = supervisor.pods.get(record.id)
    if live is None:
        return result
    with trio.move_on_after(seconds):
        await _wait_for_more(supervisor, live, request, result.next, seconds)
    return await _read_now(supervisor, supervisor.table.get(record.id) or record, request, since)


async def _read_now(
    supervisor: Supervisor, record: PodRecord, request: ReadOutput, since: int
) -> ReadOutputResult:
    piece = read_events(
        supervisor.journal_of(record.id),
        since,
        kinds=frozenset(request.kinds),
        limit=request.limit,
        max_bytes=request.max_bytes,
    )
    live = supervisor.pods.get(record.id)
    if live is not None:
        await live.catch_up()  # so that the state in this answer is not older than its events
    return ReadOutputResult(
        pod=record.name,
        id=record.id,
        events=tuple(piece.events),
        next=piece.next,
        last_seq=piece.last_seq,
        truncated=piece.truncated,
        state=supervisor.state_of(record),
        last_turn=last_turn_of(supervisor, record),
    )


async def _wait_for_more(
    supervisor: Supervisor, live: LivePod, request: ReadOutput, since: int, seconds: float
) -> None:
    """Return when there is something to read, or the pod has ended."""
    while not live.ended.is_set():
        with suppress(PodsError):  # it is ending, is started again, or too busy
            async with open_rpc(
                supervisor.places.pod_socket(live.id),
                POD_API,
                token=live.token,
                client="supervisor read",
                peer=f"pod {live.name}",
                timeout_seconds=max(seconds, 0.001),
            ) as pod:
                answer = await pod.request(
                    ReadEvents(since=since, kinds=request.kinds, limit=1, wait_seconds=seconds)
                )
                if answer.events:
                    return
        # Its process is going: what follows is its end, another process, or our word on disk.
        while not live.ended.is_set():
            if read_events(live.journal, since, kinds=frozenset(request.kinds), limit=1).events:
                return
            await live.wait_change()
            record = supervisor.table.get(live.id)
            if record is not None and record.life is Life.RUNNING:
                break


def advance(supervisor: Supervisor, caller: Caller, request: AdvanceCursor) -> Empty:
    """Note how far a reader has safely read; a cursor never goes back.

    Raises:
        UnknownPod: the caller has no such pod.
        InvalidParams: a cursor beyond the newest event, or one reader too many.
    """
    record = find_pod(supervisor, caller, request.pod)
    reader = _reader(request.reader, caller)
    seq = check_count(request.seq, "seq", lowest=0)
    known = supervisor.table.cursor(record.id, reader)
    if seq <= known:
        return Empty()
    newest = last_seq(supervisor.journal_of(record.id))
    check_count(seq, "seq", lowest=0, highest=newest)
    if reader not in record.cursors and len(record.cursors) >= MAX_READERS:
        raise InvalidParams(
            f"cannot keep another cursor for pod {record.name}: it has {MAX_READERS} readers; keep "
            "the cursor yourself and give it as `since`",
            path="reader",
            limit=MAX_READERS,
        )
    supervisor.record(CURSOR_ADVANCED, {"id": record.id, "reader": reader, "seq": seq})
    return Empty()


def _reader(asked: str | None, caller: Caller) -> str:
    if asked is None:
        return caller.reader
    if not 1 <= len(asked) <= MAX_NAME_LENGTH:
        raise InvalidParams(
            f"cannot use a reader's name of {len(asked)} characters: it has 1 to "
            f"{MAX_NAME_LENGTH}; choose another",
            path="reader",
        )
    # One caller's named readers are its own: two parents do not share a cursor by accident.
    return asked if caller.is_owner else f"{caller.reader}/{asked}"
