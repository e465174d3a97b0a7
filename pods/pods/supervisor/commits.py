"""Records that must be on disk before they are answered for, written together where many wait.

A sync takes as long for a hundred lines as for one, and nobody else is served meanwhile. So whoever
needs one while others are about to lets these write first: one write, one sync, all or none. Knows
nothing of what is written. Used by `acts` for the spawns of many pods at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import trio
from attrs import define

from pods_protocol.errors import PodsError

Item = tuple[str, Mapping[str, Any]]
"""Kind and data of an event."""

Write = Callable[[Sequence[Item]], None]
"""Writes events, all or none, and returns once the disk has them."""


@define(eq=False)
class _Waiting:
    """One who waits.

    Attributes:
        item: what is to be written.
        then: what follows at once.
        error: why it is not written, or what failed after it.
    """

    item: Final[Item]
    then: Final[Callable[[], None]]
    error: Exception | None = None

    def settle(self, write: Write) -> None:
        """Write it by itself."""
        try:
            write((self.item,))
        except Exception as error:
            self.error = error
        else:
            self.follow()

    def follow(self) -> None:
        """Do what follows; where that fails, its own task hears of it and all others go on."""
        try:
            self.then()
        except Exception as error:
            self.error = error


class Commits:
    """The records that wait for the next sync.

    Args:
        write: as `Write`.
        nursery: lives as long as anybody may wait.
    """

    def __init__(self, write: Write, nursery: trio.Nursery) -> None:
        self._write = write
        self._nursery = nursery
        self._waiting: dict[trio.lowlevel.Task, _Waiting] = {}

    async def record(
        self, kind: str, data: Mapping[str, Any], *, then: Callable[[], None], alone: bool
    ) -> None:
        """Write an event, and do `then` before anything else runs.

        A task that is cancelled while it waits has written nothing; one whose event is written goes
        on as if nothing had happened, and hears of it at its next checkpoint.

        Args:
            kind, data: the event.
            then: what follows from it; it waits for nothing.
            alone: nobody else is about to write: there is no checkpoint then.

        Raises:
            StorageFailed: it is not written, and `then` not done.
        """
        waiting = _Waiting((kind, data), then)
        if alone:
            waiting.settle(self._write)
        else:
            task = trio.lowlevel.current_task()

            def give_up(_: object) -> trio.lowlevel.Abort:
                if self._waiting.pop(task, None) is None:
                    return trio.lowlevel.Abort.FAILED  # it is being written
                return trio.lowlevel.Abort.SUCCEEDED

            if not self._waiting:
                self._nursery.start_soon(self._commit)
            self._waiting[task] = waiting
            await trio.lowlevel.wait_task_rescheduled(give_up)
        if waiting.error is not None:
            raise waiting.error

    async def _commit(self) -> None:
        """Write what has come together: everybody who could run has, since the first one came."""
        together, self._waiting = self._waiting, {}
        if not together:
            return  # they have given up
        try:
            self._write([one.item for one in together.values()])
        except PodsError:
            # Each for itself: what one of them is refused for is none of the others' business.
            for one in together.values():
                one.settle(self._write)
        except Exception as error:
            # A bug of ours, and the disk may have them all: nothing is written twice.
            for one in together.values():
                one.error = error
        else:
            for one in together.values():
                one.follow()
        for task in together:
            trio.lowlevel.reschedule(task)
