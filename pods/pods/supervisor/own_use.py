"""What a pod has used up of its limits: by itself, which its keeper knows, and by its children.

Owns that question. Asked before a child is judged, so that the child gets of what is left.
"""

from __future__ import annotations

import time

from attrs import evolve, frozen

from pods.records.record import PodRecord
from pods.supervisor.ceilings import Used
from pods.supervisor.core import Supervisor
from pods_protocol.errors import PodsError
from pods_protocol.process_messages import GetKeeperStatus
from pods_protocol.values import Limits


@frozen(kw_only=True)
class OwnUse:
    """What a pod's own processes take, without those of its children.

    Attributes:
        memory_bytes: beside what the pod's own process took at first.
        processes: beside the pod's own.
    """

    memory_bytes: int = 0
    processes: int = 0


async def own_use_of(supervisor: Supervisor, pod_id: str | None) -> OwnUse:
    """What a pod takes now; nothing where it has no limit on that, or where nobody knows.

    Args:
        supervisor: whose pod.
        pod_id: which; None is a person, who has no limits.
    """
    live = None if pod_id is None else supervisor.pods.get(pod_id)
    if live is None or live.keeper is None:
        return OwnUse()
    limits = supervisor.known(live.id).limits
    if limits.memory_bytes is None and limits.processes is None:
        return OwnUse()
    try:
        seen = await live.keeper.request(GetKeeperStatus())
    except PodsError as error:
        supervisor.log(f"what pod {live.name} takes of its limits is not known: {error.message}")
        return OwnUse()
    return OwnUse(memory_bytes=seen.memory_bytes or 0, processes=max(0, seen.processes - 1))


def used_by(supervisor: Supervisor, record: PodRecord, own: OwnUse) -> Used:
    """What a pod has used of its limits.

    Args:
        supervisor: whose pod.
        record: which.
        own: what its own processes take.
    """
    live = supervisor.pods.get(record.id)
    return Used(
        seconds=time.time() - record.created,
        turns=record.turns_below + (0 if live is None else live.fold.turns),
        memory_bytes=own.memory_bytes,
        processes=own.processes,
        lent=tuple(map(_held_by, supervisor.table.living_below(record.id))),
    )


def _held_by(child: PodRecord) -> Limits:
    """What a child may still take. One that was restored had turns that are counted already."""
    turns = child.limits.turns
    if turns is None or not child.turns_counted:
        return child.limits
    return evolve(child.limits, turns=max(0, turns - child.turns_counted))
