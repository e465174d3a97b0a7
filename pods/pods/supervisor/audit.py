"""The audit: a journal of who was allowed what, what was refused, what was lent and came back.

Owns the file, its bounds, and that a flood of refusals does not push everything else out of it. It
is written and never read here; `pods audit` reads the files. It lies in the supervisor's state
directory, which no pod's scope can hold. What stands in it is `audited`'s to choose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from pods.brakes import Brake
from pods.journal.retention import Retention
from pods.journal.store import JournalWriter
from pods_protocol.errors import PodsError
from pods_protocol.events import Event

RETENTION: Final = Retention(max_bytes=64 * 1024 * 1024)
"""Some 200,000 acts, the lives of 50,000 pods: far longer ago than anybody asks who did something,
and no more of the disk than the supervisor's own journal."""

MAX_SAME_REFUSALS: Final = 10
"""Equal refusals of one asker that are written in a minute; then only their number."""

MAX_REFUSALS: Final = 600
"""Refusals that are written in a minute, whoever asks: an asker can be a new process each time. A
minute's worth of them is a three-hundredth of what is kept."""


class _Nothing:
    """The state that follows from an audit: none."""

    MEANING: ClassVar[int] = 1
    DERIVED: ClassVar[frozenset[str]] = frozenset()
    FORMERLY: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    def apply(self, event: Event, /) -> None:
        """There is nothing to remember."""


class Audit:
    """One supervisor's audit; opened by its first line.

    Args:
        directory: the journal's.
        log: takes what could not be written.
    """

    def __init__(self, directory: str, log: Callable[[str], None]) -> None:
        self._directory = directory
        self._log = log
        self._journal: JournalWriter[_Nothing] | None = None
        self._same = Brake(MAX_SAME_REFUSALS)
        self._all = Brake(MAX_REFUSALS)
        self._unwritten = 0
        self._failing = False

    def note(self, kind: str, data: Mapping[str, Any], *, durable: bool = False) -> None:
        """Write one line. A disk that refuses costs the line, never the act.

        Args:
            kind: `allowed`, `refused`, `failed`, `token_refused`, `lent`, `reclaimed` or `ended`.
            data: what the kind carries.
            durable: wait for the disk: where the act removes the other traces of itself.
        """
        try:
            if self._journal is None:
                self._journal = JournalWriter[_Nothing].open_with(
                    _Nothing(), self._directory, retention=RETENTION
                )
            self._journal.append(kind, data, durable=durable)
        except PodsError as error:
            if not self._failing:
                self._log(f"cannot write the audit: {error.message}")
            self._failing = True
        else:
            self._failing = False

    def note_refusal(self, kind: str, asker: object, data: Mapping[str, Any]) -> None:
        """Write a refusal, unless there are too many; the next one written says how many were not.

        Args:
            kind: as in `note`.
            asker: who, for telling askers apart.
            data: what the kind carries.
        """
        now = time.monotonic()
        key = (kind, asker, data.get("method"), data.get("code"))
        if self._same.take(key, now) or self._all.take("", now):
            self._unwritten += 1
            return
        more = {"unwritten": self._unwritten} if self._unwritten else {}
        self._unwritten = 0
        self.note(kind, {**data, **more})

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._journal is not None:
            if self._unwritten:
                self.note("refused", {"unwritten": self._unwritten})
            self._journal.close()
            self._journal = None
