"""What a registry that lost its newest write is completed by: what supervisors have on record.

Pure. Owns the rules by which the records of living pods and a table that may be behind them become
one. Must not know where the records are: `registry` asks for them, and the supervisor reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from attrs import evolve, frozen

from pods.scope.leases import Lease
from pods.scope.table import Table
from pods_protocol.errors import PodsError
from pods_protocol.values import ProcessIdentity, ScopeGrant

_NONCE: Final = "recovered"
"""Adopts within the one act that has taken it; on disk it is never seen."""


@frozen(kw_only=True)
class RecordedLease:
    """What one pod must hold, by the journal of its supervisor.

    Attributes:
        lease: with its keeper as holder; pending where the pod is between two processes.
        below, above: its kin, as `Table.retake` takes them.
    """

    lease: Lease
    below: Sequence[str] = ()
    above: Sequence[tuple[str, ScopeGrant]] = ()


@frozen(kw_only=True)
class Recorded:
    """What the supervisors of a user have on record.

    Attributes:
        leases: of the pods that live, parents before children.
        living: the ids of all pods that are not recorded as ended.
        supervisors: whose records were read. Of the others nothing is known.
        unread: where the records of the others are, which cannot be read.
    """

    leases: Sequence[RecordedLease] = ()
    living: frozenset[str] = frozenset()
    supervisors: frozenset[str] = frozenset()
    unread: Sequence[str] = ()


def recovered(
    table: Table, recorded: Recorded, is_gone: Callable[[ProcessIdentity], bool]
) -> Table:
    """The table with what its lost writes had taken, adopted and released.

    Nobody else loses anything by it: where somebody was granted meanwhile what a pod held, both
    have it on record, and `doctor` says whose lease is missing.

    Args:
        table: a generation that may be behind.
        recorded: what the supervisors know.
        is_gone: says of a process whether it has ended.
    """
    ended = [
        lease.pod_id
        for lease in table.leases.values()
        if lease.supervisor in recorded.supervisors
        and lease.pod_id not in recorded.living
        and (lease.holder is None or is_gone(lease.holder))
    ]
    table = table.reclaim(ended)
    for one in recorded.leases:
        held = table.leases.get(one.lease.pod_id)
        if held is None or (one.lease.holder is not None and one.lease.holder != held.holder):
            with suppress(PodsError):  # it is another's by now
                table = given_back(table, one)
    return table


def given_back(table: Table, one: RecordedLease) -> Table:
    """The table with a lease as it is on record.

    Raises:
        ScopeConflict, ScopeNotDelegable: somebody else has it by now.
    """
    lease = one.lease
    if lease.holder is None:
        return table.retake(lease, one.below, one.above)
    # Its deadline is of no matter: it is adopted before anybody looks.
    taken = evolve(lease, holder=None, pending_nonce=_NONCE, pending_deadline=0.0)
    table = table.retake(taken, one.below, one.above)
    guardian = lease.guardian or table.leases[lease.pod_id].guardian
    return table.adopt(lease.pod_id, _NONCE, lease.holder, guardian)
