"""The order in which people and agents are shown pods: each below its parent.

Owns that order alone. `list` answers oldest first, an order that holds still while pages are
fetched; whoever shows a whole list puts it in this order. Imports nothing: `pods ls` pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def tree_order(rows: Iterable[T], ids: Callable[[T], tuple[str, str | None]]) -> list[T]:
    """The rows, parents before children and siblings in the order they came.

    Args:
        rows: in any order; each stays in, also where its parents lead in a circle.
        ids: a row's own id and its parent's; a parent that is not among the rows counts as none.
    """
    given = list(rows)
    known = {ids(row)[0] for row in given}
    below: dict[str | None, list[T]] = {}
    for row in given:
        parent = ids(row)[1]
        below.setdefault(parent if parent in known else None, []).append(row)
    found: list[T] = []
    waiting = list(reversed(below.pop(None, [])))
    while waiting:
        row = waiting.pop()
        found.append(row)
        waiting.extend(reversed(below.pop(ids(row)[0], [])))
    for circle in below.values():  # pages of different moments may disagree about a move
        found.extend(circle)
    return found
