"""`remove` and `prune`: forget pods that have ended, with their journals.

Owns what may be forgotten: only pods whose end is on disk. Everything else is refused or reported.
What is forgotten without being named (`prune`, the configured retention) must be surely dead, too.
Retention has no clock of its own: it is applied when a supervisor starts and when a pod ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from pods.lifecycle import Life, Trigger
from pods.records.record import PodRecord
from pods.scope.identity import boot_id, is_alive
from pods.supervisor.acts import Facts, perform
from pods.supervisor.authority import Caller, find_pod, visible
from pods.supervisor.checks import check_seconds
from pods.supervisor.core import Supervisor
from pods.supervisor.relay import TOLD_SECONDS
from pods_protocol.errors import PodRunning, PodsError, TimedOut
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
        PodRunning: it has not ended, or a process of it lives though its end is recorded.
        TimedOut: its parent has not been told of its end.
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
    if record.keeper is not None and is_alive(record.keeper):
        raise PodRunning(
            f"cannot remove pod {record.name}: its end is recorded, and its keeper, process "
            f"{record.keeper.pid}, lives; `pods doctor --fix` ends it",
            pod=record.name,
            state=supervisor.state_of(record),
        )
    if not await supervisor.relay.wait_told(record, TOLD_SECONDS):
        raise _untold(supervisor, record)
    await remove_record(supervisor, record)
    return RemovePodResult(pod=record.name, id=record.id)


def _untold(supervisor: Supervisor, record: PodRecord) -> TimedOut:
    hears = supervisor.relay.recipient(record)
    name = "?" if hears is None else hears.name
    return TimedOut(
        f"cannot remove pod {record.name}: pod {name}, which answers for it, has not been told of "
        f"its end, and the journal of {record.name} is what it is told from; {name} does not "
        "answer: try again when it does, or stop it",
        timeout_seconds=TOLD_SECONDS,
        pod=record.name,
        parent=name,
    )


async def remove_record(supervisor: Supervisor, record: PodRecord) -> None:
    """Remove one ended pod; one that another has removed or restored meanwhile is left alone."""
    now = supervisor.table.get(record.id)
    if now is None or now.living or record.id in supervisor.removing:
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
    old = ended_before(visible(supervisor, caller), time.time() - age)
    kept = {record.id for record in old if must_stay(supervisor, record)}
    sure = [record for record in old if record.id not in kept]
    uncertain = tuple(record.name for record in old if record.id in kept)
    names = tuple(record.name for record in sure)
    if not request.force:
        return PrunePodsResult(removed=(), would_remove=names, uncertain=uncertain)
    for record in sure:
        await remove_record(supervisor, record)
    return PrunePodsResult(removed=names, would_remove=(), uncertain=uncertain)


async def apply_retention(supervisor: Supervisor) -> None:
    """Forget what ended longer ago than the configuration keeps, where it keeps not everything."""
    keep = supervisor.options.config.keep_ended_seconds
    if keep is None:
        return
    for record in ended_before(supervisor.table, time.time() - keep):
        if must_stay(supervisor, record):
            continue
        try:
            await remove_record(supervisor, record)
        except PodsError as error:  # it stays for the next time
            supervisor.log(f"cannot forget pod {record.name}: {error.message}")


def ended_before(records: Iterable[PodRecord], moment: float) -> list[PodRecord]:
    """Those that ended at that moment or before it; seconds since the epoch."""
    return [
        record
        for record in records
        if record.life is Life.ENDED and record.ended is not None and record.ended <= moment
    ]


def must_stay(supervisor: Supervisor, record: PodRecord) -> bool:
    """Whether an ended pod is not forgotten unasked.

    It may live, or its parent is still to be told of its end.
    """
    return may_live(record) or not supervisor.relay.is_told(record)


def may_live(record: PodRecord) -> bool:
    """Whether something of a pod whose end is recorded may still be alive.

    `lost` says that nobody saw how it ended. That nothing of it is left is sure where the launcher
    said so (its record has a time then), or once the machine was started anew.
    """
    keeper = record.keeper
    if keeper is not None and keeper.boot_id != boot_id():
        return False
    unproven = record.state == "lost" and (record.exit is None or not record.exit.time)
    return unproven or (keeper is not None and is_alive(keeper))
