"""The `shell` agent: each message is a command line. No model, no key.

Owns nothing but the way from a message to a process. bash runs it where there is one, else
`/bin/sh`; each message gets a shell of its own, so nothing but files goes from one turn to the
next. Notes are in `PODS_NOTES`, one a line.
"""

from __future__ import annotations

from typing import Final

from pods.agents.base import TurnEnd
from pods.agents.text import shorten
from pods.agents.turn import Turn

MAX_NOTES_BYTES: Final = 16 * 1024
"""Of notes in the environment: the kernel takes 128 KiB in one variable, and less is sensible."""


class ShellAgent:
    """Runs each message in a shell, in the pod's working directory."""

    async def run_turn(self, turn: Turn) -> TurnEnd:
        """Run the message; exit status 0 is success."""
        env: dict[str, str] = {}
        if turn.notes:
            env["PODS_NOTES"] = shorten("\n".join(turn.notes), MAX_NOTES_BYTES).replace("\0", "")
        end = await turn.run_to_end(turn.input, env=env)
        return TurnEnd(
            stop_reason="end_turn" if end.status == 0 else "error",
            message=end.describe(),
            exit_status=end.status,
        )
