"""What a person sees of the demo: a live tree and table on a terminal, plain lines elsewhere.

Owns the looks. Is told of events and rows; asks nobody. Called by `main`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from pods_protocol.events import Event
from pods_protocol.values import PodInfo

KEPT_LINES: Final = 12
"""Lines of the story that stay in sight below the live table."""

PLAIN_WIDTH: Final = 110
"""Columns where there is no terminal to ask."""

_STATE_STYLES: Final = {"working": "green", "idle": "blue", "stopped": "dim", "failed": "red"}


class View:
    """One show.

    Args:
        console: where to; a terminal gets the live view.
        root: the tree's path, which is cut from the paths shown.
    """

    def __init__(self, console: Console, root: str) -> None:
        self._console = console
        self._root = root
        self._lines: deque[Text] = deque(maxlen=KEPT_LINES)
        self._pods: Sequence[PodInfo] = ()
        self._live = (
            Live(console=console, auto_refresh=False, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def event(self, event: Event) -> None:
        """Tell of something that the coordinator did."""
        line = self._line(event)
        if line is None:
            return
        if self._live is None:
            self._console.print(line)
        else:
            self._lines.append(line)
            self._refresh()

    def pods(self, pods: Sequence[PodInfo]) -> None:
        """Show these rows from now on."""
        self._pods = pods
        self._refresh()

    def overview(self) -> None:
        """Print tree and table where there is no live view to show them."""
        if self._live is None:
            self._console.print(self._tree_and_table())

    def leave(self) -> None:
        """End the live view; what it showed stays on the screen."""
        if self._live is None:
            return
        self._live.stop()
        for line in self._lines:
            self._console.print(line)
        self._console.print(self._tree_and_table())

    def say(self, text: str, style: str = "") -> None:
        """One line."""
        self._console.print(Text(text, style=style))

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(Group(self._tree_and_table(), *self._lines), refresh=True)

    def _line(self, event: Event) -> Text | None:
        data = event.data
        match event.type:
            case "progress":
                step = f"{data.get('step')}/{data.get('of')} "
                return Text(step, "dim").append(str(data["message"]), "bold")
            case "tool_result":
                refused = bool(data["is_error"])
                text = self._short(str(data["summary"]))
                return Text("    ").append(text, "red" if refused else "")
            case "warning":
                return Text("    ").append(self._short(str(data["message"])), "yellow")
            case _:
                return None

    def _short(self, text: str) -> str:
        line = text.strip().split("\n")[0].replace(self._root + "/", "").replace(self._root, ".")
        line = re.split(r"[.;] ", line)[0]  # the first clause says what happened
        width = self._console.width - 6
        return line if len(line) <= width else line[: width - 3] + "..."

    def _tree_and_table(self) -> RenderableType:
        return Group(self._tree(), self._table())

    def _tree(self) -> RenderableType:
        root = Tree(Text("supervisor", "bold"))
        branches: dict[str, Tree] = {}
        for pod in self._pods:
            above = branches.get(pod.parent_id or "", root)
            label = Text(pod.name).append(f" {pod.state}", _STATE_STYLES.get(pod.state, "yellow"))
            branches[pod.id] = above.add(label)
        return root

    def _table(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("NAME", "STATE", "TURN", "WRITES", "LAST TURN"):
            table.add_column(column, no_wrap=True)
        for pod in self._pods:
            writes = [
                self._short(rule.target) for rule in pod.scope.allow if rule.permission == "write"
            ]
            last = "" if pod.last_turn is None else pod.last_turn.stop_reason
            table.add_row(
                pod.name,
                Text(pod.state, _STATE_STYLES.get(pod.state, "yellow")),
                "" if pod.turn is None else str(pod.turn),
                " ".join(writes),
                last,
            )
        return table
