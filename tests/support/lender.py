"""An agent that lends a part of its scope to a child, for tests of lending and for its measure."""

from __future__ import annotations

from pods.agents.turn import Turn


class Lender:
    """Lends what its message names to a child, or takes it back, or runs a command line."""

    async def run_turn(self, turn: Turn) -> None:
        """Do what the message says."""
        verb, _, rest = turn.input.partition(" ")
        client = await turn.client()
        if verb == "lend":
            await client.spawn("child", agent="echo", write=[rest])
        elif verb == "end":
            await client.stop("child")
        elif verb == "may":
            await turn.text(f"may: {turn.may_write(rest)}\n")
        else:
            end = await turn.run_to_end(rest)
            await turn.text(f"{end.describe()}\n")
