"""The `echo` agent: answers each message with itself. For tests, benchmarks and a first look."""

from __future__ import annotations

from pods.agents.turn import Turn


class EchoAgent:
    """Says what it is told, notes first."""

    async def run_turn(self, turn: Turn) -> None:
        """Answer the message with itself."""
        for note in turn.notes:
            await turn.text(f"{note}\n")
        await turn.text(turn.input)
