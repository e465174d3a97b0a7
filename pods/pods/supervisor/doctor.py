"""`doctor`: looks for trouble in what this supervisor owns, says what to do, does it where asked.

Owns the answer: who may hear and do what, the order of the looks, and the mending. What can be
wrong is in `findings`; what belongs to no living supervisor is `checkup`'s.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial

import trio
from attrs import evolve

from pods import __version__
from pods.pod.cgroup import look, read
from pods.scope.leases import Lease
from pods.scope.table import Table
from pods.supervisor.authority import Caller, visible
from pods.supervisor.core import Supervisor
from pods.supervisor.enforcement import machine_doors, machine_enforcement
from pods.supervisor.findings import (
    Finding,
    find_in_configuration,
    find_in_directories,
    find_in_launcher,
    find_in_leases,
    find_in_links,
    find_in_records,
    find_missing_leases,
    find_strays,
    found,
    is_known,
    without_lease,
)
from pods.supervisor.strays import Carrier, find_carriers
from pods_protocol.errors import NotAuthorized, PodsError
from pods_protocol.supervisor_messages import (
    Doctor,
    DoctorResult,
    Problem,
    SettingsInForce,
    SupervisorInfo,
)


async def doctor(supervisor: Supervisor, caller: Caller, request: Doctor) -> DoctorResult:
    """The health of this supervisor and of what it shares with others.

    A pod hears of its own descendants alone: what is wrong with the rest is its owner's to know.

    Raises:
        NotAuthorized: a pod or a session asks to mend.
    """
    if request.fix and not caller.is_owner:
        raise NotAuthorized(
            "cannot mend anything for a pod or a session: only the supervisor's owner may; ask "
            "without `fix`"
        )
    places = supervisor.places
    table, problems = await _look(supervisor, caller, fix=request.fix)
    states: Counter[str] = Counter(
        supervisor.state_of(record) for record in visible(supervisor, caller)
    )
    return DoctorResult(
        supervisor=SupervisorInfo(
            pid=os.getpid(),
            version=__version__,
            socket=places.socket,
            name=places.name,
            started=supervisor.started,
            launcher_pid=supervisor.launcher.pid if supervisor.launcher.connected else None,
            runtime_directory=places.places.runtime,
            state_directory=places.places.state,
        ),
        pods=dict(states),
        scopes=sum(is_known(supervisor, caller, lease.pod_id) for lease in table.leases.values()),
        enforcement=await machine_enforcement(supervisor),
        doors=await machine_doors(supervisor),
        settings=_settings(supervisor),
        problems=tuple(problems),
        **_cgroups(supervisor),
    )


def _cgroups(supervisor: Supervisor) -> dict[str, str]:
    """Where pods get cgroups of their own, or why they get none."""
    home = read(supervisor.places.cgroup_note)
    if home:
        return {"cgroup": home}
    why = look()[1] or f"see what the launcher says in {supervisor.places.log}"
    return {"no_cgroup": why}


def _settings(supervisor: Supervisor) -> SettingsInForce:
    config = supervisor.options.config
    return SettingsInForce(
        file=supervisor.places.places.config,
        max_depth=config.max_depth,
        max_children=config.max_children,
        max_pods=config.max_pods,
        max_queue_length=config.max_queue_length,
        max_spawns=config.max_spawns,
        max_same_messages=config.max_same_messages,
        longest_wait_seconds=config.longest_wait_seconds,
        journal_max_bytes=config.retention.max_bytes,
        journal_max_age_seconds=config.retention.max_age_seconds,
        keep_ended_seconds=config.keep_ended_seconds,
    )


async def _look(
    supervisor: Supervisor, caller: Caller, *, fix: bool
) -> tuple[Table, list[Problem]]:
    findings: list[Finding] = []
    carriers: list[Carrier] = []
    if caller.is_owner:
        # Before the rows: a pod that is in them as ended has left nothing that was seen here.
        carriers = await trio.to_thread.run_sync(find_carriers, supervisor.places.places)
    suspicious: list[Finding] = []
    table, over = Table(), list[Lease]()
    try:
        table, over, whole = await trio.to_thread.run_sync(supervisor.registry.examine)
        suspicious = find_in_leases(supervisor, caller, table, over)
        # What a torn file lacks is completed by whoever acts next; `checkup` names it.
        lacking = without_lease(supervisor, table) if whole else set[str]()
        if suspicious or lacking:
            # A pod that ended since the file was read has given its lease back by now, and one that
            # started has taken its own.
            table, over, _ = await trio.to_thread.run_sync(supervisor.registry.examine)
            lacking &= without_lease(supervisor, table)
            suspicious = find_in_leases(supervisor, caller, table, over)
            suspicious += find_missing_leases(supervisor, caller, lacking)
    except PodsError as error:
        remedy = "the next spawn builds it anew from the supervisors' journals"
        findings.append(found(error.CODE, error.message, remedy, partial(_build_anew, supervisor)))
    if caller.is_owner:
        findings += [
            *find_in_configuration(supervisor),
            *find_in_directories(supervisor),
            *find_in_launcher(supervisor),
            *find_in_records(supervisor, table),
            *find_strays(supervisor, carriers),
        ]
    findings += suspicious
    findings += find_in_links(supervisor, caller)
    problems = [await _mend(finding) if fix else finding.problem for finding in findings]
    return table.reclaim([lease.pod_id for lease in over]), problems


async def _build_anew(supervisor: Supervisor) -> str:
    await supervisor.registry_worker.submit(lambda table: (table, None))
    return "built it anew from the supervisors' journals"


async def _mend(finding: Finding) -> Problem:
    if finding.mend is None:
        return finding.problem
    try:
        return evolve(finding.problem, fix=await finding.mend(), fixed=True)
    except (PodsError, OSError) as error:
        return evolve(finding.problem, fix=f"{finding.problem.fix}; it was tried: {error}")
