"""The one writer of a journal.

Owns the lock that makes a second writer impossible, the numbering, the clock of events, the flush
of each append and what happens when the disk refuses. Knows nothing of subscribers: whoever wants
to hear of new events adds a callback to `on_append`. Not for several threads. Used by the pod while
it lives, and by the keeper or the supervisor to write the end of one that no longer does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeAlias, TypeVar

from pods.folds import Fold
from pods.journal.events import encode_parts
from pods.journal.files import FileOperations, SystemFiles
from pods.journal.fold import PodFold
from pods.journal.open_segment import OpenSegment
from pods.journal.opening import open_segments
from pods.journal.retention import KEEP_ALL, Retention
from pods.journal.segments import LOCK_NAME, Files, failed
from pods_protocol.errors import PodRunning, StorageFailed
from pods_protocol.events import Event, checked_event

if TYPE_CHECKING:
    from pods.journal.keeping import Keeper

SNAPSHOT_BYTES: Final = 1024 * 1024
"""Journal bytes between two snapshots, and so what opening replays: some 30 ms for a pod's usual
events. Most pods never write this much. Where a snapshot is larger than this, its own size:
writing them stays cheaper than writing the events."""

UPKEEP_RETRY_BYTES: Final = 1024 * 1024
"""Where the disk refuses a snapshot or a new segment, it is tried again after this much more."""

F = TypeVar("F", bound=Fold)

Item: TypeAlias = tuple[str, Mapping[str, Any], int | None]
"""Kind, data and turn of an event to be."""

OnAppend: TypeAlias = Callable[[Sequence[Event], Sequence[bytes]], None]
"""Told of each append, after it is in the file and in the fold: the events and their lines (without
newlines). It must not raise."""

_SYSTEM_FILES: Final = SystemFiles()


class JournalWriter(Generic[F]):
    """A journal opened for writing, with a fold of the caller's choice; make one with `open_with`.

    Attributes:
        directory: where it lies.
        fold: the state that follows from all of it.
        last_seq: the newest event; 0 in an empty journal.
        last_time: when that was written; 0.0 there.
        on_append: what is called after each append.
    """

    def __init__(
        self,
        directory: str,
        fold: F,
        clock: Callable[[], float],
        files: FileOperations,
        retention: Retention,
        snapshot_bytes: int,
        lock: int,
    ) -> None:
        self.directory = directory
        self.fold = fold
        self.last_seq = 0
        self.last_time = 0.0
        self.on_append: list[OnAppend] = []
        self._clock = clock
        self._files = files
        self._retention = retention
        self._snapshot_bytes = snapshot_bytes
        self._lock = lock
        self._segment = OpenSegment(f"{directory}/", -1, files, named=True)  # until it is loaded
        self._notes_to_self: list[Item] = []
        self._untold: list[tuple[list[Event], list[bytes]]] = []
        self._listed = Files([], [])
        self._keeper: Keeper | None = None
        self._upkeep_at = 0
        """A file of this size is due for a snapshot, or for the next segment."""
        self._upkeep_failed = False

    @classmethod
    def open_with(
        cls,
        fold: F,
        directory: str,
        *,
        clock: Callable[[], float] = time.time,
        file_operations: FileOperations = _SYSTEM_FILES,
        retention: Retention = KEEP_ALL,
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> Self:
        """Open the journal in `directory` for writing; both are made if they are not there.

        A last line that a crash tore is cut off, and a `warning` event says so.

        Args:
            fold: new; brought up to date here, and by each append.
            directory: made 0700; the files in it are 0600.
            clock: seconds since the epoch.
            file_operations: the system calls, for tests of failing disks.
            retention: what is kept of it; looked at whenever a segment is full.
            snapshot_bytes: of journal between two snapshots.

        Raises:
            PodRunning: another writer has it.
            StorageFailed: the disk refuses, or the journal is damaged before its last line.
        """
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(f"{directory}/{LOCK_NAME}", flags, 0o600)
        except OSError as error:
            raise failed("open", directory, error) from error
        journal = cls(directory, fold, clock, file_operations, retention, snapshot_bytes, lock)
        try:
            journal._take_lock()
            journal._load()
        except BaseException:
            journal.close()
            raise
        return journal

    def _take_lock(self) -> None:
        # flock and not filelock: every pod carries this import, and the lock must last as long as
        # the process, whatever becomes of the Python object. The file is never unlinked, because
        # that would let two writers each lock a file of that name.
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise failed("lock", self.directory, error) from error
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").partition("\n")[0]
            holder = holder.strip() or "unknown"
            raise PodRunning(
                f"cannot write the journal in {self.directory}: the process {holder} is its "
                "writer; stop that pod first",
                path=self.directory,
                holder=holder,
            ) from None
        with contextlib.suppress(OSError):  # it is for that message alone; the disk may be full
            # Not emptied first: what was empty and is written to goes to the disk as it is closed
            # (ext4, `auto_da_alloc`), which is when a pod ends.
            written = os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)
            if os.fstat(self._lock).st_size > written:
                os.ftruncate(self._lock, written)

    def _load(self) -> None:
        """Replay what the newest snapshot leaves, then stand at the end of the last segment."""
        opened = open_segments(self.directory, self.fold, self._files)
        segment = opened.files.segments[-1]
        self._listed = opened.files
        self._segment = OpenSegment(
            segment.path,
            opened.descriptor,
            self._files,
            size=opened.size,
            filled=opened.filled,
            named=not opened.created,
        )
        self.last_seq = opened.last_seq
        self.last_time = opened.last_time
        self._upkeep_at = min(
            self._retention.segment_bytes, opened.size - opened.replayed + self._snapshot_bytes
        )
        for complaint in opened.complaints:
            self._note("snapshot_unusable", complaint)
        if opened.torn:
            self._cut_torn_tail(opened.torn)

    def _note(self, code: str, message: str) -> None:
        """Have the next append begin with a warning."""
        self._notes_to_self.append(("warning", {"code": code, "message": message}, None))

    def _cut_torn_tail(self, torn: int) -> None:
        self._segment.cut()
        self._note(
            "torn_tail",
            f"the journal's last line was cut short by a crash: {torn} bytes after event "
            f"{self.last_seq} were dropped",
        )
        with contextlib.suppress(StorageFailed):  # a full disk: it goes before the next append
            self.append_many(())

    # Upkeep --------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        """Begin a new segment where this one is full, else write a snapshot.

        What the disk refuses is no reason not to append: the journal goes on in the old file, and
        it is tried again after some more of it.
        """
        segment = self._segment
        try:
            keeper = self._get_keeper()
            if segment.size < self._retention.segment_bytes:
                size = keeper.take_snapshot(self.last_seq, self.last_time)
            else:
                segment.cut()  # no reader finds anything behind the last line of an old file
                made, size = keeper.rotate(segment.descriptor, self.last_seq, self.last_time)
                self._segment = OpenSegment(
                    made.path, made.descriptor, self._files, named=made.synced
                )
                segment.close()  # last: where it fails the number is free all the same
        except Exception as error:
            # A bug in a shortcut for later must not end a pod either.
            self._upkeep_at = self._segment.size + UPKEEP_RETRY_BYTES
            if not self._upkeep_failed:
                self._note(
                    "journal_upkeep",
                    f"cannot begin a new file of the journal or a snapshot of it: {error}; it goes "
                    "on in the old file, and is tried again; free some space",
                )
            self._upkeep_failed = True
        else:
            self._upkeep_at = min(
                self._retention.segment_bytes, self._segment.size + max(self._snapshot_bytes, size)
            )
            self._upkeep_failed = False

    def _upkeep_is_due(self) -> bool:
        segment = self._segment
        return segment.size >= self._upkeep_at and not segment.dirty

    def _get_keeper(self) -> Keeper:
        if self._keeper is None:
            # Imported by the few pods that write this much.
            from pods.journal.keeping import Keeper

            self._keeper = Keeper(
                self.directory, self.fold, self._listed, self._files, self._clock, self._retention
            )
        return self._keeper

    def append(
        self,
        type: str,  # noqa: A002 - the field's name in the event, and nothing here needs the builtin
        data: Mapping[str, Any],
        *,
        turn: int | None = None,
        durable: bool = False,
    ) -> Event:
        """Write one event and flush it to the system.

        Args:
            type: its kind.
            data: what the kind carries; not to be changed afterwards.
            turn: the turn it belongs to.
            durable: wait until the disk has it, and everything before it.

        Raises:
            StorageFailed: the disk refuses; nothing was written, and a later append may succeed.
            InvalidParams: `data` cannot be JSON.
            TooLarge: over `MAX_EVENT_BYTES`.
        """
        return self.append_many(((type, data, turn),), durable=durable)[0]

    def append_many(
        self, items: Sequence[Item], *, durable: bool = False, tell: bool = True
    ) -> list[Event]:
        """Write events with one write (and one sync): all of them, or none.

        Args:
            items: the events.
            durable: wait until the disk has them, and everything before them.
            tell: bring `fold` up to date, call `on_append` and do what upkeep is due; False leaves
                all three to `tell`, which must follow before anything else runs: for who has
                somebody to answer first.

        Raises:
            StorageFailed: as `append`.
            InvalidParams: as `append`.
            TooLarge: as `append`.
        """
        if tell:
            if self._untold:
                self.tell()
            if items and self._upkeep_is_due():
                self._look_after()
        noted = len(self._notes_to_self)
        if noted:
            items = [*self._notes_to_self, *items]
        events: list[Event] = []
        lines: list[bytes] = []
        seq = self.last_seq
        now = max(self._clock(), self.last_time)  # a clock set back must not reorder events
        for kind, given, turn in items:
            seq += 1
            data = dict(given)
            lines.append(encode_parts(seq, now, turn, kind, data))
            events.append(checked_event(seq, now, turn, kind, data))
        if events:
            self._segment.append(
                lines[0] + b"\n" if len(lines) == 1 else b"\n".join((*lines, b"")), durable
            )
            self.last_seq = seq
            self.last_time = now
            if noted:
                self._notes_to_self.clear()
            if tell:
                self._tell_of(events, lines)
            else:
                self._untold.append((events, lines))
        elif durable:
            self.sync()
        return events[noted:] if noted else events

    def tell(self) -> None:
        """Do what `append_many` left to be done, if anything."""
        untold, self._untold = self._untold, []
        for events, lines in untold:
            self._tell_of(events, lines)
        if untold and self._upkeep_is_due():
            self._look_after()

    def _tell_of(self, events: list[Event], lines: list[bytes]) -> None:
        apply = self.fold.apply
        for event in events:
            apply(event)
        for callback in self.on_append:
            callback(events, lines)

    def sync(self) -> None:
        """Wait until the disk has everything that was appended.

        Raises:
            StorageFailed: it refuses.
        """
        self._segment.sync()

    def close(self) -> None:
        """Close the file, which then ends with its last line, and let go of the lock; idempotent.

        Nothing is synced.
        """
        self._segment.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Journal(JournalWriter[PodFold]):
    """The journal of a pod."""

    @classmethod
    def open(
        cls,
        directory: str,
        *,
        clock: Callable[[], float] = time.time,
        file_operations: FileOperations = _SYSTEM_FILES,
        retention: Retention = KEEP_ALL,
    ) -> Journal:
        """Open a pod's journal for writing: see `open_with`.

        Raises:
            PodRunning: as there.
            StorageFailed: as there.
        """
        journal = cls.open_with(
            PodFold(),
            directory,
            clock=clock,
            file_operations=file_operations,
            retention=retention,
        )
        journal.fold.last_seq = journal.last_seq  # also where all events before it are gone
        return journal
