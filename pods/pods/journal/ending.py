"""What is written at the end of a pod's life, whoever writes it.

Owns the events of an end: by the pod itself when it stops, by its supervisor where it could not.
Pure, and in the journal's room because both ends need it. The order is: the turn, what waited, the
pod.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from pods.journal.fold import PodFold
from pods_protocol.values import LimitName, PodState

MAX_NAMED_UNDELIVERED: Final = 100
"""Ids in a pod's last event: its parent journals them. The queue has 50 by default."""

Item: TypeAlias = tuple[str, dict[str, Any], int | None]
"""Kind, data and turn of an event to be written."""


def withdrawn(message_id: str, reason: str) -> Item:
    """A message leaves the queue without a turn: `withdrawn` or `undelivered`."""
    return ("message_withdrawn", {"message_id": message_id, "reason": reason}, None)


def undelivered(fold: PodFold) -> list[Item]:
    """One event for each message and note that waits: nobody will deliver it any more."""
    return [withdrawn(message_id, "undelivered") for message_id in _waiting(fold)]


def stopped(fold: PodFold, data: dict[str, Any]) -> Item:
    """The last event, with the ids of what the pod took and never gave its agent.

    So its parent, whose journal gets this one event of the end, knows which of its messages had no
    turn.

    Args:
        fold: as before the events of the end, or with some of them.
        data: the reason and what belongs to it.
    """
    ids = list(dict.fromkeys((*fold.given_up, *_waiting(fold))))
    if ids:
        data = {**data, "undelivered": ids[:MAX_NAMED_UNDELIVERED]}
    if len(ids) > MAX_NAMED_UNDELIVERED:
        data["undelivered_omitted"] = len(ids) - MAX_NAMED_UNDELIVERED
    return ("stopped", data, None)


def _waiting(fold: PodFold) -> list[str]:
    return [one.message_id for one in fold.queue] + [one.message_id for one in fold.notes]


def end_of_the_dead(
    fold: PodFold,
    state: PodState,
    why: str,
    *,
    goes_on: bool = False,
    limit: LimitName | None = None,
) -> list[Item]:
    """What the journal of a pod lacks that died before it could write its end; nothing twice.

    Args:
        fold: of all that is in the journal.
        state: what the end is called.
        why: a sentence about it.
        goes_on: another process will go on with this journal: it is no end, and what waits then
            waits for that one.
        limit: the limit of the pod for which its keeper ended it, where it did.
    """
    if fold.ended is not None:
        return []
    if fold.limit is not None:  # it had begun to end itself for one
        limit, why = fold.limit, fold.end_message
    events: list[Item] = []
    if fold.turn is not None:
        events.append(("turn_ended", _end_of_turn(why, limit), fold.turn))
    if goes_on:
        return events
    reason: dict[str, Any] = {"reason": state}
    if limit is not None and state != "stopped":
        reason = {"reason": "limit", "limit": limit}
    last = stopped(fold, {**reason, "message": why})
    return [*events, *undelivered(fold), last]


def _end_of_turn(why: str, limit: LimitName | None) -> dict[str, Any]:
    if limit is None:
        return {"stop_reason": "lost", "message": f"the pod ended: {why}"}
    stop_reason = "timeout" if limit == "turn_seconds" else "limit"
    return {"stop_reason": stop_reason, "limit": limit, "message": why}
