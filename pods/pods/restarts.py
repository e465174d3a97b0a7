"""When a pod that died is started again: the restart policy as a pure function.

Owns the pauses between attempts and what counts as a life that lasted. Knows no clock, process or
chance: how long the pod lived and a random number come in. `pods.supervisor.restart` performs it.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from pods_protocol.values import RestartPolicy

FIRST_PAUSE_SECONDS: Final = 1.0
"""Before the second attempt. The first has none: most crashes happen once, and somebody waits."""

PAUSE_FACTOR: Final = 2.0
"""What each further attempt multiplies it by: whatever was short gets twice the time."""

LONGEST_PAUSE_SECONDS: Final = 60.0
"""A pod that fails for long is tried once a minute: nobody waits longer once the cause is gone, and
a start a minute costs a machine nothing."""

JITTER: Final = 0.5
"""Up to this part of a pause is taken off by chance, so that pods that fell together, over one full
disk or one dead service, do not all come back in one instant."""

LASTING_SECONDS: Final = 60.0
"""A life this long has lasted: what ends it is a new trouble, and attempts are counted anew. Not
shorter than the longest pause, or a pod that fails slowly would be tried for ever."""

_MOST_DOUBLINGS: Final = 32
"""Past it every pause is the longest anyway; keeps the power from overflowing."""


@frozen
class Again:
    """Start it again after a pause, as this attempt in a row."""

    attempt: int
    pause_seconds: float


@frozen
class NoMore:
    """Leave it ended. `reason`: empty where its policy never asked for more."""

    reason: str = ""


def after_crash(
    policy: RestartPolicy, *, attempt: int, lived_seconds: float, chance: float
) -> Again | NoMore:
    """What follows from the death of a pod that nobody asked to end.

    Args:
        policy: the pod's.
        attempt: restarts in a row before this death; 0 in a first life.
        lived_seconds: how long the life that just ended was; 0 for one that never began.
        chance: a random number from 0 to 1.
    """
    if policy.when == "never":
        return NoMore()
    before = 0 if lived_seconds >= LASTING_SECONDS else attempt
    if before >= policy.limit:
        return NoMore(
            f"{before} restarts in a row did not last, and {policy.limit} is the limit"
            if before
            else "its restart limit is 0"
        )
    return Again(before + 1, pause_before(before + 1, chance))


def pause_before(attempt: int, chance: float) -> float:
    """The seconds before an attempt in a row, counted from 1."""
    if attempt <= 1:
        return 0.0
    doublings = min(attempt - 2, _MOST_DOUBLINGS)
    pause = min(FIRST_PAUSE_SECONDS * PAUSE_FACTOR**doublings, LONGEST_PAUSE_SECONDS)
    return pause * (1 - JITTER * chance)
