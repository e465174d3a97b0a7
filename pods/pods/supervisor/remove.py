"""`remove` and `prune`: forget pods that have ended, with their journals.

Owns what may be forgotten: only pods whose end is on disk. Everything else is refused or reported.
"""

from __future__ import annotations

import time

from pods.lifecycle import Life, PodRecord, Trigger
from pods.supervisor.acts import Facts, perform
from pods.supervisor.authority import Caller, find_pod, visible
from pods.supervisor.checks import check_seconds
from pods.supervisor.core import Supervisor
from pods_protocol.errors import PodRunning
from pods_protocol.supervisor_messages import (
    PrunePods,
    PrunePodsResult,
    RemovePod,
    RemovePodResult,
)

LONGEST_AGE_SECONDS = 100 * 365 * 86400.0
"""An age to prune by; above it somebody has mixed up units."""


async def remove(supervisor: Supervisor, caller: Caller, request: RemovePod) -> RemovePodResult:
    """Forget an ended pod and delete its journal.

    Raises:
        UnknownPod: the caller has no such pod.
        PodRunning: it has not ended.
    """
    record = find_pod(supervisor, caller, request.pod)
    if record.life is not Life.ENDED:
        state = supervisor.state_of(record)
        raise PodRunning(
            f"cannot remove pod {record.name}: it is {state}; stop it first: "
            f"`pods stop {record.name}`",
            pod=record.name,
            state=state,
        )
    await remove_record(supervisor, record)
    return RemovePodResult(pod=record.name, id=record.id)


async def remove_record(supervisor: Supervisor, record: PodRecord) -> None:
    """Remove one ended pod; one that another has removed meanwhile is fine."""
    if supervisor.table.get(record.id) is None or record.id in supervisor.removing:
        return
    supervisor.removing.add(record.id)
    try:
        await perform(supervisor, record.id, Trigger.REMOVE_ASKED, Facts())
    finally:
        supervisor.removing.discard(record.id)


async def prune(supervisor: Supervisor, caller: Caller, request: PrunePods) -> PrunePodsResult:
    """Remove, or with `force` unset name, the pods that ended long enough ago.

    Raises:
        InvalidParams: an age below zero.
    """
    age = check_seconds(
        request.older_than_seconds, "older_than_seconds", longest=LONGEST_AGE_SECONDS
    )
    before = time.time() - age
    old = [
        record
        for record in visible(supervisor, caller)
        if record.life is Life.ENDED and record.ended is not None and record.ended <= before
    ]
    # `lost` is a judgement without a witness: it is told apart, never removed in bulk.
    sure = [record for record in old if record.state != "lost"]
    uncertain = tuple(record.name for record in old if record.state == "lost")
    names = tuple(record.name for record in sure)
    if not request.force:
        return PrunePodsResult(removed=(), would_remove=names, uncertain=uncertain)
    for record in sure:
        await remove_record(supervisor, record)
    return PrunePodsResult(removed=names, would_remove=(), uncertain=uncertain)
