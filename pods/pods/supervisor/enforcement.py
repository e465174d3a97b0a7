"""Who holds pods to their scopes, as spawn, list, inspect and doctor tell it.

Owns the asking of the launcher what the kernel would do, by a trial and never by a version. What
was done, the pod's own process has written down (`pods.keeper.confined`) and spawn put into the
journal. Used by spawn, list and doctor.
"""

from __future__ import annotations

from typing import Final

import trio
from attrs import evolve

from pods.records.record import PodRecord
from pods.scope.confine import shortfall, unenforced
from pods.scope.doors import CLOSABLE, closes, unmet
from pods.supervisor.core import Supervisor
from pods_protocol.errors import NotEnforceable, PodsError
from pods_protocol.values import Doors, Enforcement, ScopeGrant, ScopeRule

UNKNOWN: Final = unenforced("the pod has not come up, or left no word of it")


def has_to_be_tried(doors: Doors, *, exactly: bool) -> bool:
    """Whether such a pod may only start where the kernel is known to hold it."""
    return exactly or closes(doors)


async def require_enforcement(
    supervisor: Supervisor,
    name: str,
    grant: ScopeGrant,
    python: str | None,
    *,
    doors: Doors,
    exactly: bool,
    parent_id: str | None,
) -> None:
    """Refuse a pod that the kernel would not hold as it has to.

    Args:
        supervisor, name, grant, python: of the pod to be.
        doors: what else is to be open to it; the rest must be closed.
        exactly: it must be held to exactly its scope.
        parent_id: whose denies, and those of its own ancestors, the pod will get as well.

    Raises:
        NotEnforceable: with what is missing.
        StartFailed: the trial itself failed.
        PodsError: the registry cannot be read.
    """
    inherited = await _denies_of(supervisor, parent_id)
    tried = evolve(grant, deny=tuple(dict.fromkeys((*grant.deny, *inherited))))
    found = await supervisor.launcher.probe(tried, python, doors)
    still_open = unmet(doors, found)
    if still_open:
        raise NotEnforceable(
            f"cannot close to pod {name} what was asked: {still_open}; spawn it without, or run "
            "pods where `pods doctor` says that it can be had",
            enforcement=found.backend,
            reason=still_open,
        )
    missing = shortfall(found) if exactly else ""
    if missing:
        raise NotEnforceable(
            f"cannot enforce the scope of pod {name}: {missing}; change the rule, spawn without "
            "requiring enforcement, or run pods in a container of their own",
            enforcement=found.backend,
            reason=missing,
        )


async def _denies_of(supervisor: Supervisor, pod_id: str | None) -> tuple[ScopeRule, ...]:
    """What a pod is denied, its ancestors' denies included: as its lease has it."""
    if pod_id is None:
        return ()
    table = await trio.to_thread.run_sync(supervisor.registry.read)
    lease = table.leases.get(pod_id)
    return () if lease is None else lease.grant.deny


async def machine_enforcement(supervisor: Supervisor) -> Enforcement:
    """What this machine can do for a pod, by a trial."""
    if not supervisor.launcher.connected:
        return unenforced("the launcher does not answer, and nobody else can try")
    try:
        return await supervisor.launcher.probe(ScopeGrant(), None)
    except PodsError as error:
        return unenforced(error.message)


async def machine_doors(supervisor: Supervisor) -> dict[str, str]:
    """What can be closed to a pod here -> why not, by trials; empty where it can."""
    found: dict[str, str] = {}
    for name, doors in CLOSABLE.items():
        try:
            held = await supervisor.launcher.probe(ScopeGrant(), None, doors)
        except PodsError as error:
            found[name] = error.message
        else:
            found[name] = held.reason if unmet(doors, held) else ""
    return found


def enforcement_of(record: PodRecord) -> Enforcement:
    """What a pod is, or was, held to."""
    return record.enforcement or UNKNOWN


def in_short(enforcement: Enforcement) -> Enforcement:
    """The same for one row of many: of its rules those that are not exact."""
    return evolve(
        enforcement,
        rules=tuple(rule for rule in enforcement.rules if not rule.exact),
        besides=(),
    )
