"""What an agent's task beside its turns may do to its pod: nothing.

Owns the wall around such a task: a fault in it is a line in the log, never the end of the pod.
Called by `server`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from pods.agents.host import Beside


async def run_beside(
    run: Beside, log: Callable[[str], None], *, task_status: trio.TaskStatus[None]
) -> None:
    """Run the task; what it raises once it has begun is written to the log."""
    begun = _Begun(task_status)
    try:
        await run(task_status=begun)
    except Exception as error:
        if not begun.told:
            raise
        log("a task of the agent raised\n" + "".join(traceback.format_exception(error)))


class _Begun(trio.TaskStatus[None]):
    """Passes the word on, and remembers it."""

    def __init__(self, inner: trio.TaskStatus[None]) -> None:
        self._inner = inner
        self.told = False

    def started(self, value: None = None) -> None:
        """The task has begun."""
        self.told = True
        self._inner.started(value)
