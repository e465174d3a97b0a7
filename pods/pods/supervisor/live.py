"""What the supervisor holds of one living pod: its links, its state, who waits for it.

Owns the two links of a pod (its keeper's, its own), the fold of its state and the events that
tell waiters of it. Knows nothing of how pods are started, stopped or buried. Made by spawn and by
adoption, fed by `watch`, read by every method.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import trio

from pods.journal.fold import STATE_KINDS, PodFold
from pods.journal.reader import ReadSlice, read_events
from pods.journal.snapshots import restore_state
from pods.paths import JOURNAL_NAME
from pods.rpc.client import RpcClient, connect_within
from pods.supervisor.keeper_link import KeeperLink
from pods_protocol.api import POD_API
from pods_protocol.bounds import (
    DEFAULT_GRACE_SECONDS,
    HELLO_SECONDS,
    MAX_READ_BYTES,
    MAX_READ_LIMIT,
)
from pods_protocol.errors import StorageFailed
from pods_protocol.events import Event
from pods_protocol.pod_messages import HelloResult
from pods_protocol.values import ExitRecord, PodState, ProcessIdentity, StopMode, StopStep

STATE_KINDS_ASKED: Final = frozenset(STATE_KINDS)

MAX_AHEAD: Final = 256
"""Events of a pod read ahead of its own word and remembered: what its writer can take back is the
one write that it is at, which is shorter."""


class LivePod:
    """One pod that runs or is about to.

    Args:
        pod_id, name: its own.
        token: what commands it.
        directory: of what stays of it; its journal lies in there.
        on_change: called with each new state.
        on_news: called where it did something that its parent is told of.

    Attributes:
        fold: its state, by the events that state depends on.
        keeper_identity: its keeper's process, once there is one.
        launch_asked: there may be processes of it.
        started: its spawn is over, well or not.
        tree_gone: its processes are proven gone.
        ended: everything that follows from that is done and on disk.
        kill_asked: a stop wants no farewell (any more).
        stop_mode, grace, climbing, step: the stop that is under way, and its newest step.
        thawed: set when its processes go on that a pause has stopped; None while they run.
        holding: one pause, resume or message for a paused pod at a time.
        launcher: the one that gets what its keeper leaves, where that is known.
        env: the values of its variables, for its next process.
        vouched: seq up to which its journal stands for good. What is read from its file beyond may
            not be synced yet, and is taken back where that fails.
        spawning: the scope of the spawn or the restore that makes it, while it does.
        restarting: the scope in which it is started again, while it is.
        behind: its journal was longer than the last look at it.
        dead: its own process is known to have ended, and not yet that nothing of it is left.
        overdue: that takes longer than it should.
        last_word: how its process ended, where its keeper could say it and not write it.
        nursery: where its link lives, and what it reads unasked.
    """

    def __init__(
        self,
        *,
        pod_id: str,
        name: str,
        token: str,
        directory: str,
        on_change: Callable[[LivePod], None],
        on_news: Callable[[LivePod], None],
    ) -> None:
        self.id = pod_id
        self.name = name
        self.token = token
        self.directory = directory
        self.journal = f"{directory}/{JOURNAL_NAME}"
        self.fold = PodFold()
        self.keeper_identity: ProcessIdentity | None = None
        self.pod_pid: int | None = None
        self.keeper: KeeperLink | None = None
        self.pod: RpcClient | None = None
        self.tree_gone = trio.Event()
        self.ended = trio.Event()
        self.kill_asked = trio.Event()
        self.launch_asked = False
        self.started = trio.Event()
        self.stop_mode: StopMode | None = None
        self.grace = DEFAULT_GRACE_SECONDS
        self.climbing = False
        self.step: StopStep = "already_ended"
        self.thawed: trio.Event | None = None
        self.holding = trio.Lock()
        self.launcher: ProcessIdentity | None = None
        self.env: Mapping[str, str] = {}
        self.spawning: trio.CancelScope | None = None
        self.restarting: trio.CancelScope | None = None
        self.watchers: set[trio.Event] = set()
        self.behind = False
        self.dead = False
        self.overdue = False
        self.last_word: ExitRecord | None = None
        self.vouched = 0
        self._ahead: dict[int, Event] = {}
        """Of what was read beyond that, the newest, in order."""
        self._unchecked = 0
        """Up to here it was read ahead and is not remembered."""
        self._untold = False
        self.nursery: trio.Nursery | None = None
        self._anew: PodFold | None = None
        """While all that counts is read once more; `fold` stays as it was until that is done."""
        self._meanwhile: deque[Event] = deque(maxlen=MAX_AHEAD)
        """Told while that is read, the newest: it comes by them itself, unless it is damaged."""
        self._reading_on = False
        self._seen = 0
        self._shown: PodState | None = None
        self._on_change = on_change
        self._on_news = on_news
        self._newest_news = 0
        self._owner_token = ""

    def __repr__(self) -> str:
        return f"<LivePod {self.name} {self.id}>"

    def take(self, event: Event) -> None:
        """Take one event that the pod tells of, and tells of only once it is written.

        One that was read from its journal before changes nothing. Where something else was read in
        its place, or before it, its writer took that back: a disk refused to sync it.
        """
        if event.type not in STATE_KINDS_ASKED:
            return
        contradicted = bool(self._ahead) and self._contradicts(event)
        self.vouch(event.seq)
        if contradicted:
            self._read_anew()
        if self._anew is not None:
            self._meanwhile.append(event)
            return
        if event.seq <= self._seen:
            return
        self._seen = event.seq
        self.fold.apply(event)
        self.changed()

    def vouch(self, seq: int) -> None:
        """Its journal stands for good up to here, as its writer says."""
        if seq > self.vouched:
            had_news = self.vouched < self.fold.last_told
            self.vouched = seq
            while self._ahead and next(iter(self._ahead)) <= seq:
                del self._ahead[next(iter(self._ahead))]
            if had_news:
                self._on_news(self)

    def forget_state(self) -> None:
        """Its writer took back what was read here from its journal: `catch_up` reads all of it.

        Until then its state stays what it was: half of a journal would be one of long ago.
        """
        self._anew = PodFold()
        self.behind = True
        self._seen = self._unchecked = 0
        self._ahead.clear()

    def still_stands(self) -> bool:
        """Whether the newest of what was read ahead of its writer's word is there as it was.

        What is taken back goes from the end, so what is older is there, too.
        """
        if not self._ahead:
            return True
        seq, known = next(reversed(self._ahead.items()))
        try:
            piece = read_events(self.journal, seq - 1, limit=1)
        except StorageFailed:
            return True  # damaged: whoever reads on there is told
        return bool(piece.events) and _same(piece.events[0], known)

    def _contradicts(self, event: Event) -> bool:
        """Whether a line that its writer vouches for is not the one that was read here."""
        newest = next(reversed(self._ahead))
        known = self._ahead.pop(event.seq, None)
        if next(iter(self._ahead), event.seq) < event.seq:
            return True  # its writer passes over what was read before it
        if known is None:
            return self._unchecked < event.seq <= newest
        return not _same(known, event)

    def _read_anew(self) -> None:
        """Read all that counts once more: a slice here, which is all of it for most.

        What is longer is read by a task, so that nobody else waits for that.
        """
        self.forget_state()
        if self._reading_on:
            return
        with suppress(StorageFailed):  # damaged: what comes over its socket still counts
            if self.take_slice() and self.nursery is not None:
                self._reading_on = True
                self.nursery.start_soon(self._read_on)

    async def _read_on(self) -> None:
        with suppress(StorageFailed):
            await self.catch_up()
        self._reading_on = False

    def _settle(self) -> None:
        """Show what was read anew, as far as it could be, and what was told meanwhile."""
        if self._anew is None:
            return
        self.fold, self._anew = self._anew, None
        for event in self._meanwhile:
            if event.seq > self._seen:
                self._seen = event.seq
                self.fold.apply(event)
        self._meanwhile.clear()
        self.changed()

    def _note_ahead(self, event: Event) -> None:
        """Remember what was read before its writer vouched for it, within a bound."""
        self._ahead[event.seq] = event
        if len(self._ahead) > MAX_AHEAD:
            self._unchecked = next(iter(self._ahead))
            del self._ahead[self._unchecked]

    def changed(self) -> None:
        """Tell everybody who waits that it is worth looking again."""
        for watcher in self.watchers:
            watcher.set()
        state: PodState = "stopping" if self.dead else self.fold.state
        if state != self._shown:
            self._shown = state
            self._on_change(self)
        if self.fold.last_told != self._newest_news:
            self._newest_news = self.fold.last_told
            self._on_news(self)

    def found_dead(self) -> None:
        """Its own process has ended: whatever it was at, it does no more."""
        self.dead = True
        self.changed()

    async def wait_change(self) -> None:
        """Wait until it is worth looking again; call without a checkpoint since the last look."""
        event = trio.Event()
        self.watchers.add(event)
        try:
            await event.wait()
        finally:
            self.watchers.discard(event)

    async def catch_up(self) -> None:
        """Take what its journal has on disk: a pod writes before it tells anybody.

        A slice at a time, so that whoever else is served waits for none but the longest slice. The
        pod's own stream may go on in between: each of the two is whole from where it began, and
        whichever is ahead decides.

        Raises:
            StorageFailed: what comes next is damaged or cannot be read.
        """
        while self.take_slice():
            await trio.lowlevel.checkpoint()

    def take_slice(self) -> bool:
        """Take the next bounded piece of its journal; whether there is more.

        Raises:
            StorageFailed: as `catch_up`.
        """
        try:
            piece = self._next_piece()
        except StorageFailed:
            self._settle()
            raise
        if piece is None:
            return True
        fold = self._anew or self.fold
        for event in piece.events:
            if event.type in STATE_KINDS_ASKED:  # a `gap` comes whatever was asked for
                fold.apply(event)
                self._untold = True
                if event.seq > self.vouched:
                    self._note_ahead(event)
        self._seen = max(self._seen, piece.next)
        self.behind = piece.truncated
        if not self.behind:
            self._settle()
        if self._untold and not self.behind:  # what lay between is history
            self._untold = False
            self.changed()
        return self.behind

    def _next_piece(self) -> ReadSlice | None:
        """What comes next; None where a snapshot was taken in its place."""
        if not self._seen:
            self._leap()
        piece = read_events(
            self.journal,
            self._seen,
            kinds=STATE_KINDS_ASKED,
            limit=MAX_READ_LIMIT,
            max_bytes=MAX_READ_BYTES,
        )
        gap = piece.events and piece.events[0].type == "gap"
        return None if gap and self._leap() else piece

    def _leap(self) -> bool:
        """Take from its newest snapshot what needs no reading, or cannot be read any more."""
        reached = restore_state(self.journal, self._anew or self.fold, beyond=self._seen)
        if not reached:
            return False
        self._seen = reached
        self._untold = self.behind = True
        return True

    @property
    def seen(self) -> int:
        """The newest seq that the fold has taken account of."""
        return self._seen

    def _notified(self, method: str, params: Any) -> None:
        if method == "event" and isinstance(params, Event):
            self.take(params)

    def hold_keeper(
        self, nursery: trio.Nursery, identity: ProcessIdentity, path: str, owner_token: str
    ) -> None:
        """Watch the keeper's process from here on; `keeper.closed` tells of its end."""
        self.keeper_identity = identity
        self._owner_token = owner_token
        self.keeper = KeeperLink(identity, path, owner_token, self.name)
        nursery.start_soon(self.keeper.run)

    async def connect_pod(self, nursery: trio.Nursery, path: str) -> HelloResult:
        """Connect to the pod and say hello, as the supervisor: it alone tells of children.

        Raises:
            NotConnected, TimedOut: it is not there.
            AgentError: its agent cannot be loaded.
        """
        stream = await connect_within(path, f"pod {self.name}", HELLO_SECONDS)
        rpc = RpcClient(stream, POD_API, peer=f"pod {self.name}", on_notification=self._notified)
        self.nursery = nursery
        nursery.start_soon(rpc.run)
        try:
            greeting = await rpc.hello(self._owner_token, client="supervisor")
        except BaseException:
            rpc.close()
            raise
        # Not before: others ask over this link, and nothing can be asked until it was greeted.
        self.pod = rpc
        self.pod_pid = greeting.pid
        return greeting

    @property
    def reachable(self) -> bool:
        """Whether its link stands; it has been greeted over it."""
        return self.pod is not None and not self.pod.closed.is_set()

    def forget_processes(self) -> None:
        """Its processes are gone, and it is to have others."""
        self.close_links()
        self.keeper = self.pod = self.keeper_identity = self.pod_pid = self.launcher = None
        self.launch_asked = self.dead = self.overdue = False
        self.last_word = None
        self.let_go_on()

    def let_go_on(self) -> None:
        """Its processes are not stopped by a pause (any more)."""
        if self.thawed is not None:
            self.thawed.set()
            self.thawed = None

    def close_links(self) -> None:
        """Close both links; idempotent."""
        for link in (self.keeper, self.pod):
            if link is not None:
                link.close()


def _same(one: Event, other: Event) -> bool:
    """Whether two lines say the same; one that is written anew does so later."""
    return (one.type, one.turn, one.data) == (other.type, other.turn, other.data)
