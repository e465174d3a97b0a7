"""Tells every pod that has children what becomes of them, exactly once and in each child's order.

Owns who is told (`recipient`), the news that still have to be told, and the tasks that tell them.
Keeps nothing on disk: the child's journal is the outbox, the parent's journal has the cursor, and a
supervisor that comes up reads both. A parent with nothing to hear has no task here. Made by `core`;
woken by every pod's events, by each new link to a pod, and by ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from pods.journal.children import READ_KINDS, Teller, Told, wakes
from pods.journal.reader import read_events
from pods.journal.segments import failed
from pods.lifecycle import Life
from pods.records.record import PodRecord
from pods.supervisor.damaged import end_behind_damage
from pods_protocol.bounds import DEFAULT_READ_LIMIT, MAX_READ_BYTES
from pods_protocol.errors import NotConnected, PodEnded, PodsError, StorageFailed
from pods_protocol.pod_messages import TellOfChild

if TYPE_CHECKING:
    from pods.supervisor.core import Supervisor
    from pods.supervisor.live import LivePod

FIRST_PAUSE_SECONDS: Final = 0.5
LAST_PAUSE_SECONDS: Final = 30.0
"""Between attempts while a parent's disk refuses, each twice the one before. Nothing tells when
there is space again."""

TOLD_SECONDS: Final = 2.0
"""How long forgetting a pod waits for its parent to be told of its end: milliseconds, but for a
parent that does not answer."""


class Relay:
    """The news of children on their way to their parents.

    Args:
        supervisor: whose pods.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._news: dict[str, dict[str, None]] = {}
        """Parent's id -> children whose journals may hold more than it was told, in order."""
        self._telling: dict[str, str] = {}
        """Parent's id -> the child whose news it is being told; empty for none just now."""
        self._progress = trio.Event()

    # What there is to tell ------------------------------------------------------------------------

    def recipient(self, child: PodRecord) -> PodRecord | None:
        """Who is told of a pod: its nearest living ancestor; None where that is a person."""
        table = self._supervisor.table
        above = child.parent_id
        while above is not None:
            parent = table.get(above)
            if parent is None or parent.living:
                return parent
            above = parent.parent_id
        return None

    def has_news(self, pod_id: str) -> None:
        """A pod has done something that its parent is told of, or may have."""
        child = self._supervisor.table.get(pod_id)
        if child is None or child.life in (Life.RESERVED, Life.LAUNCHING):
            return  # one that never comes to run never was; `spawn` calls again where it does
        parent = self.recipient(child)
        if parent is not None:
            self._news.setdefault(parent.id, {})[pod_id] = None
            self.go_on(parent.id)

    def may_have_news(self, pods: Iterable[PodRecord]) -> None:
        """Look at these again: what was told of them, or to whom it has to be, is not known."""
        for record in pods:
            self.has_news(record.id)

    def pass_on(self, pod_id: str, below: Iterable[PodRecord]) -> None:
        """A pod has ended: what it was not told of those below goes to who is above it."""
        self._news.pop(pod_id, None)
        self.may_have_news(below)
        self._moved_on()

    def go_on(self, parent_id: str) -> None:
        """Tell a parent its news, if there are any and it can be reached."""
        live = self._supervisor.pods.get(parent_id)
        if (
            live is not None
            and live.reachable
            and parent_id not in self._telling
            and self._news.get(parent_id)
        ):
            self._telling[parent_id] = ""
            self._supervisor.nursery.start_soon(self._tell, live)

    async def wait_told(self, child: PodRecord, seconds: float = math.inf) -> bool:
        """Wait until all of a pod's events that concern its parent are in the parent's journal."""
        with trio.move_on_after(seconds):
            while not self.is_told(child):
                await self._progress.wait()
        return self.is_told(child)

    def is_told(self, child: PodRecord) -> bool:
        """Whether nothing is left to tell of a pod."""
        waiting = any(child.id in children for children in self._news.values())
        return not waiting and child.id not in self._telling.values()

    def _moved_on(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    # Telling --------------------------------------------------------------------------------------

    async def _tell(self, parent: LivePod) -> None:
        """Tell one parent its news, child by child, until there are none or it does not answer."""
        pause = FIRST_PAUSE_SECONDS
        gone = False
        try:
            with suppress(StorageFailed):  # damaged: what it has heard before has no effect again
                await parent.catch_up()  # what went over an earlier link is in there
            while news := self._news.get(parent.id):
                child_id = next(iter(news))
                del news[child_id]
                self._telling[parent.id] = child_id
                try:
                    done = await self._tell_of(parent, child_id)
                except StorageFailed as error:
                    self.has_news(child_id)
                    if pause == FIRST_PAUSE_SECONDS:
                        self._supervisor.log(f"cannot tell pod {parent.name}: {error.message}")
                    await trio.sleep(pause)
                    pause = min(pause * 2, LAST_PAUSE_SECONDS)
                    continue
                except (NotConnected, PodEnded) as error:
                    self.has_news(child_id)  # for a new link to it, or for who is above it
                    gone = isinstance(error, NotConnected)
                    return
                except PodsError as error:
                    done = True  # it would be refused again; the news of others are not held up
                    self._supervisor.log(f"cannot tell pod {parent.name}: {error.message}")
                pause = FIRST_PAUSE_SECONDS
                if not done:
                    self.has_news(child_id)
                self._telling[parent.id] = ""
                self._moved_on()
        finally:
            del self._telling[parent.id]
            if gone:
                self.go_on(parent.id)  # over a new link, if there is one by now

    async def _tell_of(self, parent: LivePod, child_id: str) -> bool:
        """Tell what a child's journal has after the parent's cursor; False where there is more.

        Raises:
            NotConnected, PodEnded: the parent is not there to be told.
            StorageFailed: its disk refuses, or the child's journal cannot be read just now.
        """
        supervisor = self._supervisor
        child = supervisor.table.get(child_id)
        if child is None:
            return True
        hears = self.recipient(child)
        if hears is None or hears.id != parent.id:
            self.has_news(child_id)
            return True
        link = supervisor.pod_link(parent)
        cursor = max(child.told, parent.fold.inbox.cursors.get(child_id, 0))
        living = supervisor.pods.get(child_id)
        # Not what is not surely synced yet: its writer may take it back. It is news again then.
        stands = math.inf if living is None else min(living.vouched, living.fold.last_told)
        if stands <= cursor:
            return True
        teller, since = Teller(cursor), cursor
        while True:
            try:
                piece = read_events(
                    supervisor.journal_of(child_id),
                    since,
                    kinds=READ_KINDS,
                    limit=DEFAULT_READ_LIMIT,
                    max_bytes=MAX_READ_BYTES,
                )
            except StorageFailed as error:
                if error.data.get("errno") is not None:
                    raise  # the system refuses to read it, and may not the next time
                if not child.living:
                    for event in end_behind_damage(supervisor.journal_of(child_id), since, child):
                        if (told := teller.take(event)) is not None:
                            await link.request(_message(child, parent.id, told))
                else:  # its end will tell of it
                    supervisor.log(f"cannot tell pod {parent.name} of {child.name}: {error}")
                return True
            except OSError as error:
                raise failed("read", supervisor.journal_of(child_id), error) from error
            told_any = False
            for event in piece.events:
                if event.seq > stands:
                    return True
                told = teller.take(event)
                if told is not None:
                    await link.request(_message(child, parent.id, told))
                    told_any = True
            since = piece.next
            if told_any or not piece.truncated:
                return not piece.truncated
            await trio.lowlevel.checkpoint()  # megabytes of text without an event to tell


def _message(child: PodRecord, hears: str, told: Told) -> TellOfChild:
    return TellOfChild(
        pod=child.name,
        id=child.id,
        seq=told.seq,
        type=told.type,
        turn=told.turn,
        data=told.data,
        since=told.since,
        text=told.text,
        omitted=told.omitted,
        # Who asked for the pod said whether to be woken; for another ancestor that means nothing.
        wake=child.asked_by == hears and wakes(child.wake_on, told),
    )
