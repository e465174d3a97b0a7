"""How often the connection under one request may break before that is given up.

Owns the bound, for the verbs (`cli.again`) and for the clients (`supervisor_link`) alike. Pure:
whoever asks brings the time.
"""

from __future__ import annotations

import math
from typing import Final

MAX_BREAKS: Final = 3
WITHIN_SECONDS: Final = 60.0
"""A supervisor that dies so many times and once more in a minute will not last the next time
either. A wait that has no end outlives more of them, one every now and then."""


class Breaks:
    """The breaks under one request.

    Args:
        most: so many are gone on after.
        within_seconds: those that are longer ago count no more; infinite is to count them all.
        until: from this time on none is gone on after.
    """

    def __init__(
        self,
        most: int = MAX_BREAKS,
        *,
        within_seconds: float = WITHIN_SECONDS,
        until: float = math.inf,
    ) -> None:
        self._most = most
        self._within_seconds = within_seconds
        self._until = until
        self._times: list[float] = []

    def another(self, now: float) -> bool:
        """Count one more; whether to ask again all the same."""
        self._times = [one for one in self._times if now - one < self._within_seconds]
        self._times.append(now)
        return now < self._until and len(self._times) <= self._most


def once_more() -> Breaks:
    """For a request that the supervisor itself may die of: asked twice in all, however late."""
    return Breaks(1, within_seconds=math.inf)
