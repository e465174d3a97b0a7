"""What every supervisor of the user has on record of its living pods' leases.

Owns the reading of their journals for a registry that has lost its newest writes: a pod is recorded
as reserved before its lease is taken, with its keeper before anybody is told that it runs, and as
ended after its lease went. Blocking, and slow where journals are long; asked only when something
was lost. Given to `ScopeRegistry` by `service` and by `checkup`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods.keeper.record import read_guard
from pods.keeper.system import LAUNCHER_NAME
from pods.lifecycle import Life
from pods.paths import JOURNAL_NAME, Places, SupervisorPlaces
from pods.records.record import PodRecord
from pods.records.table import PodTable
from pods.restarts import LONGEST_PAUSE_SECONDS
from pods.scope.identity import boot_id, identify, is_alive, parent_of
from pods.scope.leases import LEASE_PENDING_SECONDS, Lease
from pods.scope.recovery import Recorded, RecordedLease
from pods.supervisor.probes import directories_in, read_table
from pods_protocol.errors import PodsError
from pods_protocol.values import ProcessIdentity

_NONCE: Final = "recovered"
"""Of a lease that stands for a start under way, whose own nonce was lost: nothing adopts it."""


def leases_on_record(places: Places, own: SupervisorPlaces | None = None) -> Recorded:
    """What the journals say.

    Args:
        places: of the user.
        own: who asks. Directories are named for their supervisors, but for long names; so a lease
            of another supervisor with a long name is given to its directory's.

    Raises:
        CapacityReached: no descriptor is left to read with; they may say anything.
    """
    leases: list[RecordedLease] = []
    living: set[str] = set()
    read: set[str] = set()
    unread: list[str] = []
    for directory in directories_in(f"{places.state}/supervisors"):
        house = SupervisorPlaces(places=places, name=directory)
        if own is not None and own.directory_name == directory:
            house = own
        try:
            table = _table_of(house)
        except (PodsError, OSError, LookupError, TypeError) as error:
            if (lacking := _out_of_descriptors(error)) is not None:
                raise no_descriptors(f"read {house.state}", lacking) from error
            unread.append(house.state)  # `doctor` says what is wrong with it
            continue
        read.add(house.name)
        living.update(record.id for record in table.living())
        leases += _recorded(house, table)
    return Recorded(
        leases=leases, living=frozenset(living), supervisors=frozenset(read), unread=unread
    )


def _out_of_descriptors(error: Exception) -> OSError | None:
    """The system's word that none is left, where that is what an error comes from."""
    cause: BaseException | None = error
    while cause is not None:
        if is_out_of_descriptors(cause):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _table_of(house: SupervisorPlaces) -> PodTable:
    directory = f"{house.state}/{JOURNAL_NAME}"
    return read_table(directory) if os.path.isdir(directory) else PodTable()


def _recorded(house: SupervisorPlaces, table: PodTable) -> Iterator[RecordedLease]:
    for record in table.descendants(None):
        if not record.living or record.life is Life.RESERVED:
            continue  # a spawn may not have taken its lease yet; one that lost it fails
        if record.keeper is None or record.keeper.boot_id == boot_id():
            yield recorded_lease(house, table, record)


def recorded_lease(house: SupervisorPlaces, table: PodTable, record: PodRecord) -> RecordedLease:
    """What one living pod must hold, and of whom."""
    ancestors = map(table.get, table.ancestors(record.id))
    return RecordedLease(
        lease=_lease(house, record),
        below=[one.id for one in table.descendants(record.id) if one.living],
        above=[(one.id, one.grant) for one in ancestors if one is not None],
    )


def _lease(house: SupervisorPlaces, record: PodRecord) -> Lease:
    keeper = record.keeper
    if keeper is not None and not is_alive(keeper):
        keeper = None  # it is between two processes, or about to be buried
    pending = keeper is None
    # As `restart` takes it: for the pause before its next process, and for the start of that.
    pause = min(max(0.0, (record.restarts.due or 0.0) - time.time()), LONGEST_PAUSE_SECONDS)
    return Lease(
        pod_id=record.id,
        name=record.name,
        supervisor=house.name,
        parent_id=record.parent_id,
        grant=record.grant,
        holder=keeper,
        pending_nonce=_NONCE if pending else None,
        pending_deadline=time.time() + pause + LEASE_PENDING_SECONDS if pending else None,
        guardian=None if keeper is None else _guardian(house, record.id, keeper),
    )


def _guardian(
    house: SupervisorPlaces, pod_id: str, keeper: ProcessIdentity
) -> ProcessIdentity | None:
    """Who answers for what a killed keeper leaves: its launcher, or its guard."""
    guard = read_guard(house.pod_runtime(pod_id))
    if guard is not None and is_alive(guard):
        return guard
    with suppress(OSError):
        parent = parent_of(keeper.pid)
        if parent is not None and _name_of(parent) == LAUNCHER_NAME:
            return identify(parent)
    return None


def _name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
