"""Answers that only look: status, history, events, each checked and bounded to fit a line.

Owns the checks of cursors and limits and the shortening of what would not fit. Changes nothing.
Called by `server`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import orjson
import trio

from pods.agents.text import shorten
from pods.journal.fold import PodFold
from pods.journal.reader import ReadSlice, read_events
from pods_protocol.bounds import (
    MAX_READ_BYTES,
    MAX_READ_LIMIT,
    MAX_WAIT_SECONDS,
)
from pods_protocol.errors import InvalidParams
from pods_protocol.pod_messages import (
    GetHistory,
    GetHistoryResult,
    HistoryEntry,
    NotifyResult,
    ReadEvents,
    ReadEventsResult,
    RunResult,
    TellOfChild,
    WaitFor,
    WaitForResult,
)
from pods_protocol.values import ENDED_STATES, PodStatus

MAX_SHOWN_INPUT_BYTES: Final = 1000
"""Of each queued message in a `status`: fifty of a megabyte would not fit its line."""

MAX_ENTRY_BYTES: Final = 512 * 1024
"""Of one side of a turn in a `history`, as JSON; the journal has the rest."""

WaitBeyond = Callable[[int], Awaitable[None]]
"""Waits until there is an event after this seq."""


def status(fold: PodFold, *, can_pause: bool = False) -> PodStatus:
    """What the pod is doing."""
    found = fold.status()
    if can_pause:
        found = attrs.evolve(found, can_pause=True)
    if not found.queue:
        return found
    return attrs.evolve(
        found,
        queue=tuple(
            attrs.evolve(one, input=shorten(one.input, MAX_SHOWN_INPUT_BYTES))
            for one in found.queue
        ),
    )


def child_event(told: TellOfChild) -> dict[str, Any]:
    """What is journaled of a child's event; what says nothing is left out."""
    data: dict[str, Any] = {
        "pod": told.pod, "id": told.id, "seq": told.seq, "type": told.type, "data": told.data,
        "since": told.since,
    }  # fmt: skip
    if told.turn is not None:
        data["turn"] = told.turn
    if told.text:
        data["text"] = told.text
    if told.omitted:
        data["omitted"] = told.omitted
    if told.wake:
        data["wake"] = True
    return data


def history(fold: PodFold, request: GetHistory) -> GetHistoryResult:
    """The conversation after the cursor, as much as fits.

    Raises:
        InvalidParams: a cursor or a limit out of its range.
    """
    check_range("since", request.since, 0, None)
    check_range("limit", request.limit, 1, MAX_READ_LIMIT)
    entries: list[HistoryEntry] = []
    size = 0
    for entry in fold.history(request.since, request.limit):
        kept = entry
        encoded = len(orjson.dumps(entry.text))
        if encoded > MAX_ENTRY_BYTES:
            # Control characters are six bytes each in JSON: cut by the same measure.
            room = MAX_ENTRY_BYTES * len(entry.text.encode()) // encoded
            kept = attrs.evolve(entry, text=shorten(entry.text, room // 2))
            encoded = len(orjson.dumps(kept.text))
        size += encoded
        if entries and size > MAX_READ_BYTES:
            break
        entries.append(kept)
    return GetHistoryResult(
        entries=tuple(entries), next=entries[-1].seq if entries else request.since
    )


def noted(result: RunResult) -> NotifyResult:
    """What became of a note, from what became of it as a message."""
    return NotifyResult(
        message_id=result.message_id,
        state="started" if result.state == "started" else "noted",
        turn=result.turn,
    )


async def read(
    directory: str, fold: PodFold, wait_beyond: WaitBeyond, request: ReadEvents, longest: float
) -> ReadEventsResult:
    """Events after the cursor; with none there, as soon as there is one or the time is over.

    Args:
        directory: of the journal.
        fold, wait_beyond: the pod's state, and how to wait for more of it.
        request: what is asked.
        longest: seconds that it waits at most, whatever is asked.

    Raises:
        InvalidParams: a cursor, limit or time out of its range.
        StorageFailed: the journal cannot be read.
    """
    check_range("since", request.since, 0, None)
    check_range("limit", request.limit, 1, MAX_READ_LIMIT)
    check_range("max_bytes", request.max_bytes, 1, MAX_READ_BYTES)
    check_range("wait_seconds", request.wait_seconds, 0, MAX_WAIT_SECONDS)
    kinds = frozenset(request.kinds)

    def look(since: int) -> ReadSlice:
        return read_events(
            directory, since, kinds=kinds, limit=request.limit, max_bytes=request.max_bytes
        )

    found = look(request.since)
    if request.wait_seconds > 0:
        with trio.move_on_after(min(request.wait_seconds, longest)):
            while not found.events and fold.ended is None:
                if not found.truncated:
                    await wait_beyond(found.next)
                else:
                    await trio.lowlevel.checkpoint()
                found = look(found.next)
    return ReadEventsResult(
        events=found.events,
        next=found.next,
        last_seq=found.last_seq,
        truncated=found.truncated,
        state=fold.state,
        last_turn=fold.last_turn,
    )


async def wait(
    fold: PodFold, wait_beyond: WaitBeyond, request: WaitFor, longest: float
) -> WaitForResult:
    """Wait until the pod is as asked, has ended, or the time (`longest` at most) is over.

    Raises:
        InvalidParams: a time out of its range.
    """
    check_range("timeout_seconds", request.timeout_seconds, 0, MAX_WAIT_SECONDS)

    def reached() -> bool:
        state = fold.state
        if request.until == "ended":
            return state in ENDED_STATES
        return state == ("idle" if request.until == "idle" else "waiting")

    with trio.move_on_after(min(request.timeout_seconds, longest)):
        while not reached() and fold.ended is None:
            await wait_beyond(fold.last_seq)
    return WaitForResult(
        reached=reached(), state=fold.state, last_seq=fold.last_seq, last_turn=fold.last_turn
    )


def check_range(name: str, value: float, lowest: float, highest: float | None) -> None:
    """Refuse a number that is out of its range.

    Raises:
        InvalidParams: with the range.
    """
    if math.isnan(value) or value < lowest or (highest is not None and value > highest):
        allowed = f"{lowest:g} or more" if highest is None else f"{lowest:g} to {highest:g}"
        raise InvalidParams(
            f"cannot use {value} as `{name}`: it is {allowed}; choose a number in that range",
            path=name,
        )
