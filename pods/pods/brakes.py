"""Brakes on what an agent does in a loop: so many of one thing in a window of time, then none.

Owns the counting. Pure: the time comes in. The supervisor counts the spawns of each pod with it, a
child pod the equal messages of each sender. What is refused is not counted, so that after the
window everything is as before.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final

WINDOW_SECONDS: Final = 60.0
"""The window of every brake. A loop without a pause is stopped within the second; whoever works
along needs no more than this to be let on."""

MAX_KEYS: Final = 1024
"""Things counted apart from each other. The one that was not seen for longest makes way: a loop is
seen all the time."""


class Brake:
    """Counts things in a sliding window.

    Args:
        most: of one thing within the window.
        seconds: the window.
        max_keys: different things that are remembered.
    """

    def __init__(
        self, most: int, *, seconds: float = WINDOW_SECONDS, max_keys: int = MAX_KEYS
    ) -> None:
        self.most = most
        self.seconds = seconds
        self._max_keys = max_keys
        self._seen: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def take(self, key: Hashable, now: float) -> float:
        """Count one more of a thing, or refuse it.

        Args:
            key: the thing.
            now: seconds of a clock that is not set back.

        Returns:
            0.0 where it was counted; else the seconds after which one more is free.
        """
        times = self._seen.setdefault(key, deque())
        self._seen.move_to_end(key)
        while len(self._seen) > self._max_keys:
            self._seen.popitem(last=False)
        while times and times[0] <= now - self.seconds:
            times.popleft()
        if len(times) < self.most:
            times.append(now)
            return 0.0
        return times[0] + self.seconds - now
