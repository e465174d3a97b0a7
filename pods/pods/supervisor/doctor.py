"""`doctor`: looks for trouble and says what to do about it."""

from __future__ import annotations

import os
import stat
from collections import Counter

import trio

from pods import __version__
from pods.lifecycle import Life
from pods.scope.identity import is_alive
from pods.scope.rules import Table
from pods.supervisor.authority import Caller, visible
from pods.supervisor.core import Supervisor
from pods.supervisor.enforcement import machine_enforcement
from pods_protocol.errors import PodsError
from pods_protocol.supervisor_messages import Doctor, DoctorResult, Problem, SupervisorInfo


async def doctor(supervisor: Supervisor, caller: Caller, request: Doctor) -> DoctorResult:
    """The health of this supervisor and of what it shares with others.

    A pod hears of its own descendants alone: what is wrong with the rest is its owner's to know.
    """
    del request  # it has no fields
    places = supervisor.places
    problems = _links(supervisor, caller)
    if caller.pod_id is None:
        problems = [*_directories(supervisor), *_launcher(supervisor), *problems]
    table = Table()
    try:
        table = await trio.to_thread.run_sync(supervisor.registry.read)
    except PodsError as error:
        problems.append(
            Problem(
                code=error.CODE,
                message=error.message,
                remedy=f"stop every supervisor, then look at {places.places.registry}",
            )
        )
    problems += _leases(supervisor, caller, table)
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
        scopes=sum(_is_known(supervisor, caller, lease.pod_id) for lease in table.leases.values()),
        enforcement=await machine_enforcement(supervisor),
        problems=tuple(problems),
    )


def _directories(supervisor: Supervisor) -> list[Problem]:
    places = supervisor.places
    problems: list[Problem] = []
    for path in (places.places.runtime, places.runtime, places.places.state, places.state):
        try:
            found = os.lstat(path)
        except OSError as error:
            problems.append(
                Problem(
                    code="missing_directory",
                    message=f"{path}: {error.strerror}",
                    remedy="stop the supervisor and start it again",
                )
            )
            continue
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            problems.append(
                Problem(
                    code="unsafe_directory",
                    message=f"{path} lets others in or is not yours",
                    remedy=f"chown it to yourself and chmod 0700 {path}",
                )
            )
    # Of an ended pod nothing is left there, unless it could not be removed.
    known = {record.id for record in supervisor.table.living()} | supervisor.pods.keys()
    with os.scandir(places.runtime) as entries:
        stale = sorted(e.name for e in entries if e.is_dir() and e.name not in known)
    problems += [
        Problem(
            code="stale_runtime_directory",
            message=f"{places.runtime}/{name} belongs to no living pod",
            remedy=f"remove it: rm -r {places.runtime}/{name}",
        )
        for name in stale
    ]
    return problems


def _launcher(supervisor: Supervisor) -> list[Problem]:
    if supervisor.launcher.connected:
        return []
    return [
        Problem(
            code="launcher_unreachable",
            message="the launcher does not answer",
            remedy=f"the next spawn starts another; {supervisor.places.log} says why it ended",
        )
    ]


def _is_known(supervisor: Supervisor, caller: Caller, pod_id: str) -> bool:
    """Whether the caller may hear of that pod, which may be another supervisor's."""
    return caller.pod_id is None or caller.pod_id in supervisor.table.ancestors(pod_id)


def _links(supervisor: Supervisor, caller: Caller) -> list[Problem]:
    problems: list[Problem] = []
    for live in supervisor.pods.values():
        record = supervisor.table.get(live.id)
        if record is None or record.life is not Life.RUNNING:
            continue
        if not _is_known(supervisor, caller, live.id):
            continue
        if live.pod is None or live.pod.closed.is_set():
            problems.append(
                Problem(
                    code="pod_unreachable",
                    message=f"pod {live.name} runs and is not connected",
                    remedy=f"stop it: pods stop {live.name}",
                )
            )
    return problems


def _leases(supervisor: Supervisor, caller: Caller, table: Table) -> list[Problem]:
    ours = supervisor.places.name
    return [
        Problem(
            code="dead_lease",
            message=f"the lease of pod {lease.name} ({lease.pod_id}) has no living holder",
            remedy="the next spawn reclaims it",
        )
        for lease in table.leases.values()
        if _is_known(supervisor, caller, lease.pod_id)
        and (
            (lease.holder is not None and not is_alive(lease.holder))
            or (lease.supervisor == ours and supervisor.table.get(lease.pod_id) is None)
        )
    ]
