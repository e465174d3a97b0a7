"""What a hostile pod tries, and what becomes of it at each level of enforcement.

Each attempt is a function that does one thing against its ground and lets the system's error out.
The table of attempts is the promise of `pods/README.md`: `tests/hostile` tries it row by row, and
it is written from here. A row whose outcome is `ok` under Landlock is a gap that the record names.
"""

from __future__ import annotations

import hostile_files
import hostile_kernel
import hostile_processes
from confined import in_child, outcome
from hostile_ground import OK, Attempt, Ground

ATTEMPTS: tuple[Attempt, ...] = (
    *hostile_files.FILES,
    *hostile_processes.PROCESSES,
    *hostile_kernel.KERNEL,
    *hostile_kernel.GAPS,
    *hostile_processes.MOVED,
    *hostile_files.WORKING,
    *hostile_processes.WORKING,
    *hostile_kernel.WORKING,
)

COLUMNS = {"Landlock 6 and later": 6, "3 to 5": 4, "1 and 2": 2, "`none`": 0}
"""The levels of the table, each with the version of Landlock that stands for it."""


def _try(attempt: Attempt, ground: Ground) -> str:
    return str(in_child(lambda: outcome(lambda: attempt.act(ground))))


def try_all(ground: Ground, *, abi: int) -> dict[str, str]:
    """Every attempt that belongs to the level, each in a child of its own: name -> answer.

    Args:
        abi: the version of Landlock; 0 for none.
    """
    return {
        attempt.name: _try(attempt, ground._replace(name=attempt.name))
        for attempt in ATTEMPTS
        if attempt.promised(abi)
    }


def table() -> str:
    """The promise, as Markdown."""

    def words(answers: tuple[str, ...]) -> str:
        if not answers:
            return "not tried"
        return "works" if answers == OK else " or ".join(answers)

    lines = [f"| | a process of a pod tries to | {' | '.join(COLUMNS)} |"]
    lines.append("|---|---|" + "---|" * len(COLUMNS))
    group = ""
    for attempt in ATTEMPTS:
        shown = attempt.group if attempt.group != group else ""
        group = attempt.group
        cells = " | ".join(words(attempt.promised(abi)) for abi in COLUMNS.values())
        lines.append(f"| {shown} | {attempt.what} | {cells} |")
    return "\n".join(lines) + "\n"
