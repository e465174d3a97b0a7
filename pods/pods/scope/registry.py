"""The scope registry: the one table on disk of who holds which scope, shared by all supervisors.

Owns the order of an act: lock, read, reclaim the dead, operate, write. Blocking: call it from a
thread, or through `RegistryWorker`. The laws are `table`, the file is `storage`, the lock is
`locking`. Must not know pods or sockets. The supervisor calls it.

When a lease dies by itself:

- One with a holder dies with that process (pid, start time and boot), and not before its guardian,
  where it has one: the launcher, which kills what a killed keeper leaves. A keeper that was killed
  proves nothing while its launcher may still be at work; the supervisor that owns the pod hears the
  launcher's word and releases the lease. Where the launcher was killed as well, what is left of a
  pod falls to the init process and runs on until it ends by itself: nobody can find it any more,
  and its lease is over. The kernel goes on holding it to its scope.
- A pending one dies when its deadline has passed, or at once if its spawner was of another boot.
  The spawner's death alone does not free it before the deadline: it may have launched the pod
  already, and the next supervisor adopts that with the nonce from its record.

Every act looks for leases that are over before it takes the lock: thoroughly (zombies and reused
pids) at a few in turn, and, unless that was done a moment ago, cheaply at all (deadline, boot, is
the pid free). If an operation is refused, all are looked at thoroughly and it is tried once more.
So nobody is ever refused for the sake of the proven dead.

Nor does anybody who lives lose a lease because a write was lost. Where the file cannot be read, is
gone, was emptied or is older than what was read of it before, and before a pending lease lapses,
the act asks what the supervisors have on record of their pods (`recovery`), and goes on from that.
Where the file may be behind and a supervisor's records cannot be read either, nobody knows what its
pods hold, and the act is refused.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar, cast

from attrs import evolve, frozen

from pods.scope import storage
from pods.scope.identity import boot_id, is_alive, is_pid_free
from pods.scope.leases import Lease
from pods.scope.locking import RegistryLock
from pods.scope.normalise import normalise_rules
from pods.scope.recovery import Recorded, recovered
from pods.scope.table import Table
from pods.scope.worker import RegistryWorker
from pods_protocol.errors import InternalError, PodsError, RegistryBroken
from pods_protocol.values import ProcessIdentity

__all__ = [
    "LOCK_TIMEOUT_SECONDS",
    "Operation",
    "RegistryWorker",
    "ScopeRegistry",
    "normalise_rules",
]

T = TypeVar("T")
Operation = Callable[[Table], tuple[Table, T]]

LOCK_TIMEOUT_SECONDS: Final = 10.0
"""An act takes milliseconds; whoever waits this long waits for a process that hangs."""

THOROUGH_CHECKS: Final = 16
"""Holders looked up in /proc by each act, in turn: a thousand leases are through after sixty-three
acts, and one act spends a quarter of a millisecond on it."""


SWEEP_SECONDS: Final = 0.1
"""Between two cheap looks at all leases; a thousand of them cost a third of a millisecond, which a
burst of acts should pay once."""


MAX_RECLAIMED: Final = 1000
"""Leases of the dead that are remembered until somebody takes them: as many as there may be pods.
Who takes none, because it audits nothing, forgets the oldest."""


@frozen
class _Refused:
    error: Exception


class ScopeRegistry:
    """The table on disk.

    Args:
        path: of the registry file; its directory is made with mode 0700.
        lock_timeout_seconds: how long an act waits for the lock.
        on_record: tells what supervisors have on record of their pods, where writes were lost.
            Called with the lock held. Without it nobody knows more than the file.
    """

    def __init__(
        self,
        path: str,
        *,
        lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
        on_record: Callable[[], Recorded] | None = None,
    ) -> None:
        self.path = path
        self._on_record = on_record
        self._lock = RegistryLock(path, lock_timeout_seconds)
        self._known = storage.EMPTY
        self._turn = 0
        self._swept = float("-inf")
        self._reclaimed: deque[Lease] = deque(maxlen=MAX_RECLAIMED)

    def transact(self, operation: Operation[T]) -> T:
        """Run one operation on the table under the lock, and write what it makes of it.

        Args:
            operation: takes the table, returns the next one and a value. It must be pure: it may
                be called twice. If it returns the same table, nothing is written.

        Returns:
            The operation's value; the table is on disk by then.

        Raises:
            TimedOut: the lock was not free in time.
            RegistryBroken: the file can neither be read nor repaired, or may be behind, and what
                a supervisor has on record cannot be read.
            StorageFailed, UnsafeDirectory: the system or the directory refuses.
            Exception: whatever the operation raises; nothing is changed then.
        """
        outcome = self._run((operation,))[0]
        if isinstance(outcome, _Refused):
            raise outcome.error
        return cast("T", outcome)

    def take_reclaimed(self) -> tuple[Lease, ...]:
        """The leases of the dead that acts have dropped in passing since the last call."""
        taken = tuple(self._reclaimed)
        self._reclaimed.clear()
        return taken

    def transact_many(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Run several operations, one after the other, with one locked write for all.

        Returns:
            For each its value, or the `PodsError` that refused it; the others are not touched by
            it. A bug in an operation is an `InternalError` in its place.

        Raises:
            PodsError: as `transact`, for all of them: none is in force then.
        """
        return [_as_value(outcome) for outcome in self._run(operations)]

    @property
    def known(self) -> Table:
        """The table after the newest act here; a reference, so it never waits for one."""
        return self._known.table

    def read(self) -> Table:
        """The living leases, without the lock and without writing.

        Raises:
            RegistryBroken, StorageFailed: as `transact`.
        """
        known = self._known
        table = self._completed(self._load(known), known)
        return self._without(table, _over(table.leases.values(), thorough=True))[0]

    def examine(self) -> tuple[Table, list[Lease], bool]:
        """What the file says, without the lock and without writing.

        Returns:
            Every lease that is written there, those of them that are over, and whether the file
            itself could be read; if not, this is the generation before.

        Raises:
            RegistryBroken, StorageFailed: as `transact`.
        """
        found = storage.load(self.path, storage.EMPTY)
        return found.table, _over(found.table.leases.values(), thorough=True), found.whole

    def tidy(self) -> None:
        """Drop all leases that are over, mend a torn file, take away what torn writes left.

        Raises:
            PodsError: as `transact`.
        """
        if not os.path.isdir(os.path.dirname(self.path)):
            return
        self.transact(self._without_the_dead)
        with self._lock.held():
            storage.remove_temporaries(self.path)

    def start_anew(self) -> None:
        """Set a file aside that can neither be read nor repaired, and its older generation too.

        Only for who has made sure that no pod lives: every lease is forgotten.

        Raises:
            TimedOut, StorageFailed: the lock is taken, or the system refuses.
        """
        with self._lock.held():
            storage.set_all_aside(self.path)
            self._known = storage.EMPTY

    def _run(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        storage.ensure_directory(os.path.dirname(self.path))
        if self._known is storage.EMPTY:
            # The first reading decodes every lease; nobody should have to wait for that.
            self._known = self._load(self._known)
        # Nor for this: whoever is dead stays dead, so the looking is done in front of the lock.
        over = self._over_in_turn()
        with self._lock.held():
            base = self._load(self._known)
            table, dropped = self._without(self._completed(base, self._known), over)
            swept = False
            outcomes: list[Any] = []
            for operation in operations:
                try:
                    table, value = operation(table)
                except PodsError as error:
                    if not swept:
                        swept = True
                        dead = _over(table.leases.values(), thorough=True)
                        if dead:
                            table, buried = self._without(table, dead)
                            dropped += buried
                            table, value = _attempt(operation, table)
                            outcomes.append(value)
                            continue
                    outcomes.append(_Refused(error))
                except Exception as error:
                    outcomes.append(_Refused(error))
                else:
                    outcomes.append(value)
            if table is not base.table or not base.whole:
                base = storage.write(self.path, table, base)
            self._known = base
            self._reclaimed.extend(dropped)
            return outcomes

    def _load(self, known: storage.Snapshot) -> storage.Snapshot:
        return storage.load(self.path, known, or_nothing=self._on_record is not None)

    def _completed(self, base: storage.Snapshot, known: storage.Snapshot) -> Table:
        """The table of a generation; where that may be behind, with what is on record beside it.

        Raises:
            RegistryBroken: it may be behind, and not all that is on record can be read.
        """
        if base.whole and 0 < base.generation >= known.generation:
            return base.table
        recorded = Recorded() if self._on_record is None else self._on_record()
        if recorded.unread:
            raise _unknown(self.path, base, recorded.unread)
        return recovered(base.table, recorded, _is_dead)

    def _without(self, table: Table, over: Sequence[Lease]) -> tuple[Table, list[Lease]]:
        """The table without leases that were over when they were looked at, and which went.

        One that was adopted meanwhile is another lease. So is one that should have been: its
        adoption may have been lost.
        """
        if self._on_record is not None and any(lease.is_pending for lease in over):
            recorded = self._on_record()
            firm = [one for one in recorded.leases if one.lease.holder is not None]
            table = recovered(table, evolve(recorded, leases=firm), _is_dead)
        # Whoever looks at all and at some in turn finds one twice.
        gone = {one.pod_id: one for one in over if table.leases.get(one.pod_id) is one}
        return table.reclaim(gone), list(gone.values())

    def _without_the_dead(self, table: Table) -> tuple[Table, None]:
        return self._without(table, _over(table.leases.values(), thorough=True))[0], None

    def _over_in_turn(self) -> list[Lease]:
        """The leases that are over, as far as this act looks."""
        leases = list(self._known.table.leases.values())
        over: list[Lease] = []
        now = time.monotonic()
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            over += _over(leases, thorough=False)
        if leases:
            start = self._turn % len(leases)
            self._turn = start + THOROUGH_CHECKS
            over += _over(leases[start : start + THOROUGH_CHECKS], thorough=True)
        return over


def _unknown(path: str, base: storage.Snapshot, unread: Sequence[str]) -> RegistryBroken:
    fault = base.fault or (
        "it is older than what was read of it" if base.generation else "it is missing or empty"
    )
    return RegistryBroken(
        f"cannot tell from the scope registry {path} who holds what: {fault}, and what would "
        f"complete it cannot be read: {', '.join(unread)}; end the pods of that supervisor (each "
        "has a process `pods-keeper`), move this directory away, and try again; `pods doctor` says "
        "what is wrong with it",
        path=path,
        detail=fault,
    )


def _attempt(operation: Operation[Any], table: Table) -> tuple[Table, Any]:
    try:
        return operation(table)
    except Exception as error:
        return table, _Refused(error)


def _over(leases: Iterable[Lease], *, thorough: bool) -> list[Lease]:
    """Which of them have lost their holder, or were not adopted in time."""
    now = time.time()
    boot = boot_id()
    is_gone = _is_dead if thorough else _is_surely_dead
    return [lease for lease in leases if lease.is_over(now, boot, is_gone)]


def _is_dead(process: ProcessIdentity) -> bool:
    return not is_alive(process)


def _is_surely_dead(process: ProcessIdentity) -> bool:
    return is_pid_free(process.pid)


def _as_value(outcome: Any) -> Any:
    if not isinstance(outcome, _Refused):
        return outcome
    if isinstance(outcome.error, PodsError):
        return outcome.error
    bug = InternalError(
        f"cannot change the scope registry: {type(outcome.error).__name__}: {outcome.error}; this "
        "is a bug of pods, please report it"
    )
    bug.__cause__ = outcome.error
    return bug
