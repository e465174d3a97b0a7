"""An agent of your own: counts the words of the files that a message names.

Put it where the pod works and spawn it by module and attribute:

    pods spawn counter --agent own_agent:WordCounter --write . --prompt "README.md"
    pods read counter
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pods.agents.turn import Turn


class WordCounter:
    """Each message is a list of paths; files outside the pod's scope are not opened."""

    async def run_turn(self, turn: Turn) -> None:
        """Count, say the numbers, hand them over as a result."""
        counts: dict[str, int] = {}
        names = turn.input.split()
        for step, name in enumerate(names, 1):
            await turn.progress(name, step=step, of=len(names))
            if not turn.may_read(name):
                await turn.text(f"{name}: outside my scope\n")
                continue
            try:
                text = Path(turn.cwd, name).read_text(errors="replace")  # noqa: ASYNC240 - small
            except OSError as error:
                await turn.text(f"{name}: {error.strerror}\n")
                continue
            counts[name] = len(text.split())
            await turn.text(f"{name}: {counts[name]} words\n")
        await turn.artifact("counts.txt", "".join(f"{n} {c}\n" for n, c in counts.items()))
