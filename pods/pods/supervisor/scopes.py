"""`scope.show` and `scope.check`: who holds what, and whether something would be granted."""

from __future__ import annotations

import time

import trio

from pods.scope.leases import Lease
from pods.scope.registry import normalise_rules
from pods.scope.table import Table
from pods.supervisor.authority import Caller, find_pod, sees
from pods.supervisor.core import Supervisor
from pods_protocol.errors import PodsError
from pods_protocol.supervisor_messages import (
    CheckScope,
    CheckScopeResult,
    ScopeHolder,
    ShowScopes,
    ShowScopesResult,
)
from pods_protocol.values import ScopeGrant

_PROBE = "scope-check"
"""Stands for the pod that a check imagines; never written."""


async def show(supervisor: Supervisor, caller: Caller, request: ShowScopes) -> ShowScopesResult:
    """The leases of the caller's pods; for the owner also those of other supervisors.

    Raises:
        UnknownPod: the caller has no such pod.
    """
    wanted = None if request.pod is None else find_pod(supervisor, caller, request.pod).id
    table = await trio.to_thread.run_sync(supervisor.registry.read)
    return ShowScopesResult(
        holders=tuple(
            _holder(table, lease)
            for lease in table.leases.values()
            if (wanted is None or lease.pod_id == wanted)
            and _is_known(supervisor, caller, lease.pod_id)
        )
    )


def _is_known(supervisor: Supervisor, caller: Caller, pod_id: str) -> bool:
    if caller.is_owner:
        return True  # those of other supervisors, too
    record = supervisor.table.get(pod_id)
    return record is not None and sees(supervisor, caller, record)


def _holder(table: Table, lease: Lease) -> ScopeHolder:
    return ScopeHolder(
        pod=lease.name,
        id=lease.pod_id,
        supervisor=lease.supervisor,
        parent_id=lease.parent_id,
        grant=lease.grant,
        effective_write=tuple(table.effective_write(lease.pod_id)),
        lent=tuple(table.lent(lease.pod_id)),
        pending=lease.pending_nonce is not None,
    )


async def check(supervisor: Supervisor, caller: Caller, request: CheckScope) -> CheckScopeResult:
    """Whether a spawn with these rules would be granted now; changes nothing."""
    places = supervisor.places.places
    try:
        allow = normalise_rules(
            request.allow, forbidden_roots=(places.runtime, places.state), what="allow"
        )
    except PodsError as error:
        return CheckScopeResult(
            granted=False, normalised=(), code=error.CODE, message=error.message
        )
    table = await trio.to_thread.run_sync(supervisor.registry.read)
    probe = Lease(
        pod_id=_PROBE,
        name=_PROBE,
        supervisor=supervisor.places.name,
        parent_id=caller.pod_id,
        grant=ScopeGrant(allow=allow, delegable=allow),
        holder=None,
        pending_nonce=_PROBE,
        pending_deadline=time.time(),
        spawner=supervisor.identity,
    )
    try:
        table.lend(probe)
    except PodsError as error:
        owner = error.data.get("owner")
        return CheckScopeResult(
            granted=False,
            normalised=allow,
            code=error.CODE,
            message=error.message,
            owner=owner if isinstance(owner, str) else None,
        )
    return CheckScopeResult(granted=True, normalised=allow)
