"""Leases and tables for tests of scopes: short to write, plain to read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from pods.scope.identity import identify
from pods.scope.leases import Lease
from pods.scope.registry import ScopeRegistry
from pods.scope.table import Table
from pods_protocol.values import ProcessIdentity, ScopeGrant, ScopeRule

Operation = Callable[[Table], tuple[Table, Any]]


def rule(text: str) -> ScopeRule:
    """`w /a/**`, `r /a/*`: permission, target, `**` for the tree and `*` for direct entries."""
    letter, _, pattern = text.partition(" ")
    target, _, stars = pattern.rpartition("/")
    assert stars in ("*", "**"), text
    return ScopeRule(
        target=target or "/",
        permission={"r": "read", "w": "write"}[letter],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a dict of literals loses them
        recursive=stars == "**",
    )


def rules(texts: Sequence[str]) -> tuple[ScopeRule, ...]:
    """Several of them."""
    return tuple(rule(text) for text in texts)


def me() -> ProcessIdentity:
    """This process: a holder that lives as long as the test."""
    return identify(os.getpid())


def lease(
    pod_id: str,
    allow: Sequence[str] = (),
    *,
    deny: Sequence[str] = (),
    delegable: Sequence[str] = (),
    parent: str | None = None,
    holder: ProcessIdentity | None = None,
) -> Lease:
    """A held lease; the pod is called as its id."""
    return Lease(
        pod_id=pod_id,
        name=pod_id,
        supervisor="default",
        parent_id=parent,
        grant=ScopeGrant(allow=rules(allow), deny=rules(deny), delegable=rules(delegable)),
        holder=holder or me(),
        pending_nonce=None,
        pending_deadline=None,
    )


def pending(
    pod_id: str,
    allow: Sequence[str] = (),
    *,
    deny: Sequence[str] = (),
    delegable: Sequence[str] = (),
    seconds: float = 60.0,
    nonce: str = "nonce",
    spawner: ProcessIdentity | None = None,
    parent: str | None = None,
) -> Lease:
    """A lease that waits to be adopted for so many seconds."""
    return attrs.evolve(
        lease(pod_id, allow, deny=deny, delegable=delegable, parent=parent),
        holder=None,
        pending_nonce=nonce,
        pending_deadline=time.time() + seconds,
        spawner=spawner or me(),
    )


def table_of(*leases: Lease) -> Table:
    """Lend them in order."""
    table = Table()
    for item in leases:
        table = table.lend(item)
    return table


def lend(item: Lease) -> Operation:
    """The operation that lends."""
    return lambda table: (table.lend(item), item.pod_id)


def release(pod_id: str) -> Operation:
    """The operation that releases."""
    return lambda table: (table.release(pod_id), pod_id)


def ids(path: str) -> list[str]:
    """What a process that has never seen the file finds."""
    return list(ScopeRegistry(path).read().leases)


def look(table: Table) -> tuple[Table, list[str]]:
    """The operation that only asks who is in the table."""
    return table, list(table.leases)
