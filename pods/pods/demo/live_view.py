"""The demo's view on a terminal: the pods in place, the newest lines of the story below them.

Owns what is redrawn, by rich; what the lines are is `view`. Imported only where there is a
terminal to show it on: it takes a tenth of a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pods.demo.view import Line, View
from pods_protocol.events import Event
from pods_protocol.values import PodInfo

KEPT_LINES: Final = 12
"""Lines of the story that stay in sight below the live table."""


class LiveView(View):
    """One show on a terminal; see `View`.

    Args:
        root: the tree's path, which is cut from the paths shown.
    """

    def __init__(self, root: str) -> None:
        self._console = Console()
        super().__init__(root, self._console.width)
        self._lines: deque[Line] = deque(maxlen=KEPT_LINES)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        self._live.stop()

    def event(self, event: Event) -> None:
        """Tell of something that the coordinator did."""
        line = self._line(event)
        if line is not None:
            self._lines.append(line)
            self._refresh()

    def pods(self, pods: Sequence[PodInfo]) -> None:
        """Show these rows from now on."""
        super().pods(pods)
        self._refresh()

    def overview(self) -> None:
        """Nothing: it is in sight all the time."""

    def leave(self) -> None:
        """End the live view; what it showed stays on the screen."""
        self._live.stop()
        for line in (*self._lines, *self._table()):
            self._print(line)

    def _refresh(self) -> None:
        shown = [_text(line) for line in (*self._table(), *self._lines)]
        self._live.update(Group(*shown), refresh=True)

    def _print(self, line: Line) -> None:
        self._console.print(_text(line))


def _text(line: Line) -> Text:
    made = Text(no_wrap=True, overflow="ellipsis")
    for piece, style in line:
        made.append(piece, style)
    return made
