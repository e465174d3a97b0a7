"""What the turn machine knows of the pod's limits: whether a turn is left, and what an end says.

Owns the words of a pod that a limit ends. Pure. Used by `turns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pods.journal.ending import Item, stopped
from pods.journal.fold import PodFold
from pods.pod.stimuli import LimitReached
from pods_protocol.bounds import MAX_COUNTED_PROCESSES
from pods_protocol.errors import CapacityReached
from pods_protocol.values import LimitName, Limits

_OVER: Final[Mapping[LimitName, str]] = {
    "wall_seconds": "over the limit of {:g} s since it was spawned",
    "turn_seconds": "over the limit of {:g} s a turn",
    "idle_seconds": "over the limit of {:g} s without a turn",
    "memory_bytes": "over the limit of {} bytes of memory",
    "processes": "over the limit of {} processes",
    "output_bytes": "over the limit of {} bytes of output a turn",
}
"""The other two are never crossed: what is beyond them is refused."""


def over_limit(name: LimitName, value: float | None) -> str:
    """That a limit is crossed, in words.

    Args:
        name: which.
        value: its own.
    """
    return _OVER[name].format(value)


def too_many_for(memory_bytes: int) -> str:
    """That a limit on memory is crossed by processes that are too many to look at, in words."""
    return (
        f"{MAX_COUNTED_PROCESSES} processes or more, too many to count for the limit of "
        f"{memory_bytes} bytes of memory"
    )


def ended_by_keeper(name: LimitName, limits: Limits) -> str:
    """That a pod was ended for a limit by its keeper, or by the kernel, in words."""
    over = over_limit(name, getattr(limits, name))
    return f"{over}; the pod's own process did not see to it, so that the pod was ended"


def no_turn_left(fold: PodFold, max_turns: int | None) -> CapacityReached | None:
    """Why no further message can get a turn; None where one can.

    What runs and what waits for its turn counts: a message that is taken gets its turn.
    """
    used = fold.turns + fold.queue_length
    if max_turns is None or used < max_turns:
        return None
    return CapacityReached(
        f"cannot take the message: the pod may have {max_turns} turns, and all of them are used or "
        "promised to messages that wait; do not retry: read what it has done, and spawn another "
        "pod for more",
        limit_name="turns",
        limit=max_turns,
        in_use=used,
    )


def stopping_by(reached: LimitReached) -> Item:
    """The pod begins to end because of a limit; until it has, its journal knows why."""
    data = {"state": "stopping", "limit": reached.limit, "message": reached.message}
    return ("status", data, None)


def last_event(fold: PodFold) -> Item:
    """The end of a pod that is on its way to it: by a limit, or because it was asked to."""
    if fold.limit is None:
        return stopped(fold, {"reason": "stopped"})
    data = {"reason": "limit", "limit": fold.limit, "message": fold.end_message}
    return stopped(fold, data)


def ended_by(fold: PodFold, reached: LimitReached) -> Item:
    """The end of a pod that a limit ends at once."""
    data = {"reason": "limit", "limit": reached.limit, "message": reached.message}
    return stopped(fold, data)
