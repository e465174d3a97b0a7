"""How far the parent has read each pod, kept so that nothing is skipped and nothing comes twice.

Owns the order of things: text is shown first, remembered in the same step that returns it, and the
supervisor's cursor is moved at the beginning of the next call. A call that is cancelled or dies
before it returns has remembered nothing, so its text comes again; a toolset that dies after it
returned leaves the supervisor's cursor behind, so the next one shows that text once more rather
than never. Within one toolset nothing repeats, also where calls run side by side.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final

from attrs import define, frozen

from pods_protocol.errors import PodsError
from pods_protocol.supervisor_messages import AdvanceCursor
from pods_tools.client import Plan, ask

MAX_REMEMBERED: Final = 1000
"""Pods; as many as a supervisor runs. A forgotten one is read from the supervisor's own cursor."""

_CURSOR: Final = re.compile(r"([0-9]+)(?:\+([0-9]+))?\Z")


@frozen(order=True)
class Cursor:
    """Everything up to event `seq` was shown, and `offset` characters of the next event's text."""

    seq: int
    offset: int = 0

    @property
    def written(self) -> int | str:
        """As it stands in `next` and `since`: a number, or `seq+offset` inside an event."""
        return f"{self.seq}+{self.offset}" if self.offset else self.seq

    @classmethod
    def read(cls, written: int | str) -> Cursor:
        """The cursor that was written; the schema has judged the form."""
        found = _CURSOR.match(str(written))
        return cls(0) if found is None else cls(int(found[1]), int(found[2] or 0))


@define
class _Mark:
    shown: Cursor
    told: int = 0
    """The `seq` that the supervisor's cursor was moved to."""


class Bookmarks:
    """The marks of one toolset.

    Args:
        reader: name of the cursor at the supervisor; None is the caller's own.
    """

    def __init__(self, reader: str | None = None) -> None:
        self.reader = reader
        self._marks: OrderedDict[str, _Mark] = OrderedDict()

    def __len__(self) -> int:
        return len(self._marks)

    def shown(self, pod_id: str) -> Cursor | None:
        """How far this toolset has shown that pod; None where it has not."""
        mark = self._marks.get(pod_id)
        return None if mark is None else mark.shown

    def remember(self, pod_id: str, cursor: Cursor) -> None:
        """Note that everything up to `cursor` is about to be returned; never goes back."""
        mark = self._marks.setdefault(pod_id, _Mark(shown=cursor))
        mark.shown = max(mark.shown, cursor)
        self._marks.move_to_end(pod_id)
        while len(self._marks) > MAX_REMEMBERED:
            self._marks.popitem(last=False)

    def forget(self, pod_id: str) -> None:
        """What was returned last of that pod was never shown: go by the supervisor's cursor again.

        That stands where it stood before: it is moved at the beginning of the next call.
        """
        self._marks.pop(pod_id, None)

    def settle(self) -> Plan[None]:
        """Move the supervisor's cursors to what was shown.

        A failure that may pass is tried again at the next call; one that will not is left alone,
        because the marks here already keep this toolset from repeating.
        """
        for pod_id, mark in list(self._marks.items()):
            seq = mark.shown.seq
            if seq <= mark.told:
                continue
            try:
                yield from ask(AdvanceCursor(pod=pod_id, seq=seq, reader=self.reader))
            except PodsError as error:
                if error.RETRYABLE:
                    continue
            mark.told = max(mark.told, seq)
