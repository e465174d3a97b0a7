"""What can be wrong with one living supervisor, and how each of it is mended.

Owns the looks of `doctor`: at its directories, launcher, links, records and leases. A finding is a
problem and, where that is safe without touching a living pod, the act that mends it. A look has no
checkpoint, so that what it compares is of one moment; an act looks again before it acts.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

import trio
from attrs import frozen

from pods.config import load_config
from pods.lifecycle import Life
from pods.private import is_own_directory
from pods.records.record import PodRecord
from pods.scope.identity import is_alive
from pods.scope.leases import Lease
from pods.scope.recovery import given_back
from pods.scope.table import Table
from pods.supervisor import audited
from pods.supervisor.adopt import adopt_pod
from pods.supervisor.authority import Caller, sees
from pods.supervisor.core import Supervisor
from pods.supervisor.leftovers import remove_stale, stale_cgroups, stale_directories
from pods.supervisor.live import LivePod
from pods.supervisor.on_record import recorded_lease
from pods.supervisor.orphans import end_keeper
from pods.supervisor.overdue import wake_keeper
from pods.supervisor.probes import judge_directory
from pods.supervisor.remove import remove_record
from pods.supervisor.strays import Carrier, describe_strays, end_carriers, fix_for_strays
from pods_protocol.errors import InvalidParams, TimedOut
from pods_protocol.supervisor_messages import Problem
from pods_protocol.values import ProcessIdentity

MEND_SECONDS: Final = 5.0
"""A tree ends within milliseconds of whoever is to end it, unless it waits for a device."""

Mend = Callable[[], Awaitable[str]]
"""Does what is to be done and says so, in the past tense."""


@frozen
class Finding:
    """A problem, and how this supervisor can mend it, if it can."""

    problem: Problem
    mend: Mend | None = None


def found(code: str, message: str, fix: str, mend: Mend | None = None) -> Finding:
    """A finding from its parts."""
    return Finding(Problem(code=code, message=message, fix=fix), mend)


def is_known(supervisor: Supervisor, caller: Caller, pod_id: str) -> bool:
    """Whether the caller may hear of that pod, which may be another supervisor's."""
    if caller.is_owner:
        return True
    record = supervisor.table.get(pod_id)
    return record is not None and sees(supervisor, caller, record)


def find_in_configuration(supervisor: Supervisor) -> list[Finding]:
    """A file that is wrong now, whatever this supervisor goes by."""
    try:
        load_config(supervisor.places.places.config)
    except InvalidParams as error:
        return [
            found(
                "invalid_config",
                error.message,
                "the supervisor goes by what it read when it started, and the next one does not "
                "start; correct the file",
            )
        ]
    return []


def find_in_directories(supervisor: Supervisor) -> list[Finding]:
    """Directories that are missing, open to others, or nobody's."""
    places = supervisor.places
    findings: list[Finding] = []
    for path, variable in (
        (places.places.runtime, "PODS_RUNTIME_DIR"),
        (places.runtime, ""),
        (places.places.state, "PODS_STATE_DIR"),
        (places.state, ""),
    ):
        try:
            seen = os.lstat(path)
        except OSError as error:
            message = f"{path}: {error.strerror}"
            findings.append(
                found("missing_directory", message, "stop the supervisor and start it again")
            )
            continue
        judged = judge_directory(path, seen, variable)
        if judged is not None:
            mend = partial(_close_to_others, path) if is_own_directory(seen) else None
            findings.append(found("unsafe_directory", *judged, mend))
    findings += [
        found(
            "stale_runtime_directory",
            f"{places.runtime}/{name} belongs to no living pod",
            f"remove it: rm -r {places.runtime}/{name}",
            partial(_remove, supervisor, name),
        )
        for name in stale_directories(supervisor)
    ]
    findings += [
        found(
            "stale_cgroup",
            f"the cgroup {path} is of no living pod, and empty",
            f"remove it: rmdir {path}",
            partial(_remove_cgroup, path),
        )
        for path in stale_cgroups(supervisor)
    ]
    return findings


async def _remove_cgroup(path: str) -> str:
    os.rmdir(path)
    return f"rmdir {path}"


async def _close_to_others(path: str) -> str:
    os.chmod(path, 0o700)
    return f"chmod 0700 {path}"


async def _remove(supervisor: Supervisor, name: str) -> str:
    path = f"{supervisor.places.runtime}/{name}"
    removed = await remove_stale(supervisor, name)
    return f"removed {path}" if removed else f"left {path}: it is a living pod's by now"


def find_in_launcher(supervisor: Supervisor) -> list[Finding]:
    """A launcher that is not there."""
    if supervisor.launcher.connected:
        return []

    async def start() -> str:
        await supervisor.launcher.ensure()
        return f"reached or started one: process {supervisor.launcher.pid}"

    return [
        found(
            "launcher_unreachable",
            "the launcher does not answer",
            f"the next spawn starts another; {supervisor.places.log} says why it ended",
            start,
        )
    ]


def find_in_records(supervisor: Supervisor, table: Table) -> list[Finding]:
    """Rows that do not agree with what is there."""
    findings: list[Finding] = []
    for record in supervisor.table:
        if record.living and record.id not in supervisor.pods:
            findings.append(
                found(
                    "unsettled_pod",
                    f"pod {record.name} ({record.id}) is recorded as {record.life.value} and "
                    "nobody holds it: its start or its end could not be written",
                    "the next start of the supervisor settles it",
                    partial(_settle, supervisor, record, table.leases.get(record.id)),
                )
            )
        if record.life is not Life.ENDED or record.id in supervisor.removing:
            continue
        if record.keeper is not None and is_alive(record.keeper):
            findings.append(_orphan(record.name, record.id, record.keeper))
        if not os.path.isdir(supervisor.places.places.pod_state(record.id)):
            findings.append(
                found(
                    "missing_state",
                    f"pod {record.name} has ended, and its journal is gone",
                    f"forget it: pods rm {record.name}",
                    partial(_forget, supervisor, record),
                )
            )
    return findings


def _orphan(name: str, pod_id: str, keeper: ProcessIdentity) -> Finding:
    return found(
        "orphaned_process",
        f"process {keeper.pid} is the keeper of pod {name} ({pod_id}), which is not a living pod",
        f"end it: kill {keeper.pid}, twice if need be",
        partial(_end, keeper),
    )


async def _end(keeper: ProcessIdentity) -> str:
    if not await trio.to_thread.run_sync(end_keeper, keeper):
        raise TimedOut(f"process {keeper.pid} does not go", timeout_seconds=0.0)
    return f"ended process {keeper.pid} and what was below it"


def find_strays(supervisor: Supervisor, carriers: list[Carrier]) -> list[Finding]:
    """Processes of pods of ours that have ended.

    Args:
        carriers: what was found before; a pod that has come back since is not what they are of.
    """
    strays: dict[str, list[Carrier]] = {}
    for one in carriers:
        record = supervisor.table.get(one.pod_id)
        if record is not None and record.life is Life.ENDED and record.id not in supervisor.pods:
            strays.setdefault(one.pod_id, []).append(one)
    return [
        found(
            "stray_process",
            describe_strays(supervisor.known(pod_id).name, seen),
            fix_for_strays(seen),
            partial(_end_strays, supervisor, seen),
        )
        for pod_id, seen in strays.items()
    ]


async def _end_strays(supervisor: Supervisor, seen: list[Carrier]) -> str:
    return await trio.to_thread.run_sync(end_carriers, supervisor.places.places, seen)


async def _settle(supervisor: Supervisor, record: PodRecord, lease: Lease | None) -> str:
    if record.id not in supervisor.pods:
        await adopt_pod(supervisor, record, lease)
    now = supervisor.table.get(record.id)
    if now is not None and now.living and now.id not in supervisor.pods:
        raise TimedOut(f"{supervisor.places.log} says why not", timeout_seconds=0.0)
    return f"{record.name} is {'forgotten' if now is None else supervisor.state_of(now)} now"


async def _forget(supervisor: Supervisor, record: PodRecord) -> str:
    await remove_record(supervisor, record)
    return f"forgot pod {record.name}"


def find_in_links(supervisor: Supervisor, caller: Caller) -> list[Finding]:
    """Pods that run and are not heard of."""
    findings: list[Finding] = []
    for live in supervisor.pods.values():
        record = supervisor.table.get(live.id)
        if record is None or record.life not in (Life.RUNNING, Life.PAUSED, Life.STOPPING):
            continue
        if not is_known(supervisor, caller, live.id):
            continue
        if live.overdue:
            findings.append(_overdue(supervisor, live))
        elif not live.dead and (live.pod is None or live.pod.closed.is_set()):
            findings.append(
                found(
                    "pod_unreachable",
                    f"pod {live.name} runs and is not connected",
                    f"stop it: pods stop {live.name}",
                )
            )
    return findings


def _overdue(supervisor: Supervisor, live: LivePod) -> Finding:
    pid = 0 if live.keeper_identity is None else live.keeper_identity.pid
    return found(
        "end_overdue",
        f"the process of pod {live.name} is gone and its keeper, process {pid}, does not end: it "
        "may be stopped, or something of the pod waits for a device",
        f"continue it: kill -CONT {pid}",
        partial(_see_to_end, supervisor, live),
    )


async def _see_to_end(supervisor: Supervisor, live: LivePod) -> str:
    await wake_keeper(supervisor, live)
    with trio.move_on_after(MEND_SECONDS):
        await live.tree_gone.wait()
        return f"continued or killed its keeper; nothing of pod {live.name} is left"
    raise TimedOut(f"{supervisor.places.log} says more", timeout_seconds=MEND_SECONDS)


def find_in_leases(
    supervisor: Supervisor, caller: Caller, table: Table, over: list[Lease]
) -> list[Finding]:
    """Leases of the dead, and of pods that this supervisor does not know."""
    dead = {lease.pod_id for lease in over}
    findings: list[Finding] = []
    for lease in table.leases.values():
        if not is_known(supervisor, caller, lease.pod_id):
            continue
        known = supervisor.table.get(lease.pod_id)
        ours = lease.supervisor == supervisor.places.name and lease.pod_id not in supervisor.pods
        unknown = ours and (known is None or not known.living)
        if lease.pod_id not in dead and not unknown:
            continue
        if known is None and lease.holder is not None and is_alive(lease.holder):
            findings.append(_orphan(lease.name, lease.pod_id, lease.holder))
        findings.append(
            found(
                "dead_lease",
                f"the lease of pod {lease.name} ({lease.pod_id}) has no living pod",
                "the next spawn reclaims it" if lease.pod_id in dead else "pods doctor --fix",
                partial(_release, supervisor, lease),
            )
        )
    return findings


def without_lease(supervisor: Supervisor, table: Table) -> set[str]:
    """The ids of pods that run and do not hold their lease in this table."""
    lacking: set[str] = set()
    for live in supervisor.pods.values():
        record = supervisor.table.get(live.id)
        lease = table.leases.get(live.id)
        runs = record is not None and record.life in (Life.RUNNING, Life.PAUSED)
        if runs and (lease is None or lease.holder != live.keeper_identity) and _is_kept(live):
            lacking.add(live.id)
    return lacking


def _is_kept(live: LivePod) -> bool:
    """Whether its keeper lives.

    Where that has ended a pod is on its way to its next life or its grave, however long a disk
    refuses to have that on record, and who brings it there sees to its lease.
    """
    return live.keeper_identity is not None and is_alive(live.keeper_identity)


def find_missing_leases(
    supervisor: Supervisor, caller: Caller, lacking: Iterable[str]
) -> list[Finding]:
    """Pods that run on ground which the registry may give to others."""
    return [
        found(
            "missing_lease",
            f"pod {supervisor.known(pod_id).name} ({pod_id}) runs and the scope registry has not "
            "its lease: others may be given its scope",
            "pods doctor --fix, which takes it anew; where another pod has it by now, stop one",
            partial(_take_anew, supervisor, pod_id),
        )
        for pod_id in sorted(lacking)
        if is_known(supervisor, caller, pod_id)
    ]


async def _take_anew(supervisor: Supervisor, pod_id: str) -> str:
    record, live = supervisor.table.get(pod_id), supervisor.pods.get(pod_id)
    if record is None or live is None:
        return f"left pod {pod_id}: it has ended"
    lost, keeper = recorded_lease(supervisor.places, supervisor.table, record), live.keeper_identity

    def take(table: Table) -> tuple[Table, bool]:
        # The lease that is on record must be that of the life it is in, and of no other: its next
        # one takes a lease by itself, and only once this keeper has ended.
        holds = keeper is not None and lost.lease.holder == keeper and is_alive(keeper)
        return (given_back(table, lost), True) if holds else (table, False)

    if await supervisor.registry_worker.submit(take):
        return f"pod {record.name} holds its scope again"
    return f"left pod {record.name}: it is between two lives or has ended"


async def _release(supervisor: Supervisor, lease: Lease) -> str:
    if lease.holder is not None and is_alive(lease.holder):
        raise TimedOut(f"process {lease.holder.pid} still holds it", timeout_seconds=0.0)

    def release(table: Table) -> tuple[Table, Lease | None]:
        held = table.leases.get(lease.pod_id)
        if held is None or not held.is_held_as(lease):
            return table, held
        return table.release(lease.pod_id), held

    held = await supervisor.registry_worker.submit(release)
    if held is not None and not held.is_held_as(lease):
        return f"left the lease of pod {lease.name}: it is another's by now"
    if held is not None:
        audited.reclaimed_from_the_dead(supervisor.audit, [held])
    return f"released the lease of pod {lease.name}"
