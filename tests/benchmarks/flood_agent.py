"""An agent that says a number of lines, one event each, as fast as its pod takes them.

Used by `bench_follow`, in the pod that is followed there.
"""

from __future__ import annotations

from pods.agents.turn import Turn

TEXT = "." * 120
"""With what is around it, a line of some 200 bytes in the journal."""


class Flood:
    """Takes the number from its message."""

    async def run_turn(self, turn: Turn) -> None:
        """Say so many lines."""
        for _ in range(int(turn.input)):
            await turn.text(TEXT)
