"""What a person sees of the demo, as plain lines.

Owns the looks: which lines an event makes, and the tree of the pods as a table. Is told of events
and rows; asks nobody. Called by `main`; a terminal gets `live_view`, which shows the same in place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from pods_protocol.errors import ExitCode
from pods_protocol.events import Event
from pods_protocol.values import PodInfo

PLAIN_WIDTH: Final = 110
"""Columns where there is no terminal to ask."""

Line: TypeAlias = "list[tuple[str, str]]"
"""Pieces of text, each with its style; plain lines have none."""

_HEADERS: Final = ("NAME", "STATE", "TURN", "WRITES", "LAST TURN")
_STATE_STYLES: Final = {"working": "green", "idle": "blue", "stopped": "dim", "failed": "red"}


class View:
    """One show.

    Args:
        root: the tree's path, which is cut from the paths shown.
        width: columns.
    """

    def __init__(self, root: str, width: int = PLAIN_WIDTH) -> None:
        self._root = root
        self._width = width
        self._pods: Sequence[PodInfo] = ()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what was taken: nothing here."""

    def event(self, event: Event) -> None:
        """Tell of something that the coordinator did."""
        line = self._line(event)
        if line is not None:
            self._print(line)

    def pods(self, pods: Sequence[PodInfo]) -> None:
        """Show these rows from now on."""
        self._pods = pods

    def overview(self) -> None:
        """Print the pods, where no live view shows them."""
        for line in self._table():
            self._print(line)

    def leave(self) -> None:
        """End a live view; what it showed stays on the screen."""

    def say(self, text: str, style: str = "") -> None:
        """One line.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        self._print([(text, style)])

    def _print(self, line: Line) -> None:
        sys.stdout.write("".join(text for text, _ in line).rstrip() + "\n")
        sys.stdout.flush()

    def _line(self, event: Event) -> Line | None:
        data = event.data
        match event.type:
            case "progress":
                return [
                    (f"{data.get('step')}/{data.get('of')} ", "dim"),
                    (str(data["message"]), "bold"),
                ]
            case "tool_result":
                style = "red" if data["is_error"] else ""
                return [("    ", ""), (self._short(str(data["summary"])), style)]
            case "warning":
                return [("    ", ""), (self._short(str(data["message"])), "yellow")]
            case _:
                return None

    def _short(self, text: str) -> str:
        line = text.strip().split("\n")[0].replace(self._root + "/", "").replace(self._root, ".")
        line = re.split(r"[.;] ", line)[0]  # the first clause says what happened
        width = self._width - 6
        return line if len(line) <= width else line[: width - 3] + "..."

    def _table(self) -> list[Line]:
        """The pods, each below its parent."""
        rows = list(_tree(self._pods))
        cells = [
            (
                name,
                pod.state,
                "" if pod.turn is None else str(pod.turn),
                " ".join(
                    self._short(rule.target)
                    for rule in pod.scope.allow
                    if rule.permission == "write"
                ),
                _last_turn(pod),
            )
            for name, pod in rows
        ]
        widths = [max(map(len, column)) for column in zip(_HEADERS, *cells, strict=True)]
        styles = [_STATE_STYLES.get(pod.state, "yellow") for _, pod in rows]
        lines: list[Line] = [[("  ".join(_columns(_HEADERS, widths)), "bold")]]
        for one, style in zip(cells, styles, strict=True):
            name, state, *rest = _columns(one, widths)
            lines.append([(f"{name}  ", ""), (state, style), ("  " + "  ".join(rest), "")])
        return lines


def _columns(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [text.ljust(width) for text, width in zip(cells, widths, strict=True)]


def _last_turn(pod: PodInfo) -> str:
    last = pod.last_turn
    if last is None:
        return ""
    if last.exit_status == ExitCode.REFUSED:
        return f"{last.stop_reason}: what it asked for was refused"
    return last.stop_reason


def _tree(pods: Sequence[PodInfo]) -> Iterator[tuple[str, PodInfo]]:
    """Each pod with its name as the tree has it; they come parents first."""
    known = {pod.id for pod in pods}
    below: dict[str | None, list[PodInfo]] = {}
    for pod in pods:
        below.setdefault(pod.parent_id if pod.parent_id in known else None, []).append(pod)
    todo = [(pod, "", "") for pod in reversed(below.get(None, []))]
    while todo:
        pod, first, rest = todo.pop()
        yield first + pod.name, pod
        for child in reversed(below.get(pod.id, [])):
            last = child is below[pod.id][-1]
            todo.append(
                (child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
            )
