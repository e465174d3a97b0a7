"""The laws of scopes once more, by brute force: every path of a small tree is written out.

Independent of `pods.scope`: it knows components and sets, no regions and no clever cases. Rules
name `a` and `b` down to depth two; the paths go down to depth four and have a third name, `z`,
that no rule mentions. So the finite tree tells apart what the infinite one does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import cache
from typing import Literal

import attrs

from pods_protocol.values import Permission, ScopeGrant, ScopeRule

TARGETS = ["/"] + ["/" + "/".join(p) for n in (1, 2) for p in itertools.product("ab", repeat=n)]
PATHS = ["/"] + [
    "/" + "/".join(parts)
    for depth in range(1, 5)
    for parts in itertools.product("abz", repeat=depth)
]
Verdict = Literal["granted", "not delegable", "conflict"]


def parts_of(path: str) -> tuple[str, ...]:
    """`/a/b` as `("a", "b")`."""
    return tuple(part for part in path.split("/") if part)


@cache
def paths_of(rule: ScopeRule) -> frozenset[str]:
    """Every path that the rule is about, whatever it permits."""
    target = parts_of(rule.target)
    found: set[str] = set()
    for path in PATHS:
        parts = parts_of(path)
        if parts[: len(target)] == target and (rule.recursive or len(parts) - len(target) <= 1):
            found.add(path)
    return frozenset(found)


def union(rules: Iterable[ScopeRule], permission: Permission) -> frozenset[str]:
    """Every path on which one of the rules gives the permission."""
    return frozenset[str]().union(
        *(paths_of(r) for r in rules if permission == "read" or r.permission == "write")
    )


def denied(rules: Iterable[ScopeRule], permission: Permission) -> frozenset[str]:
    """Every path on which one of the denies takes the permission away."""
    return frozenset[str]().union(
        *(paths_of(r) for r in rules if permission == "write" or r.permission == "read")
    )


@attrs.define
class Holder:
    """One pod of the model."""

    parent: str | None
    grant: ScopeGrant

    def territory(self) -> frozenset[str]:
        """Where no stranger may write."""
        return union((*self.grant.allow, *self.grant.delegable), "write") - denied(
            self.grant.deny, "write"
        )

    def allowed(self, permission: Permission) -> frozenset[str]:
        """What it was granted, lent or not."""
        return union(self.grant.allow, permission) - denied(self.grant.deny, permission)

    def lendable(self, permission: Permission) -> frozenset[str]:
        """What its children may be given."""
        return union(self.grant.delegable, permission) - denied(self.grant.deny, permission)


class Model:
    """The table, as sets of paths."""

    def __init__(self) -> None:
        self.pods: dict[str, Holder] = {}

    def ancestors(self, pod_id: str) -> list[str]:
        """Parent first."""
        found: list[str] = []
        at = self.pods[pod_id].parent
        while at is not None:
            found.append(at)
            at = self.pods[at].parent
        return found

    def descendants(self, pod_id: str) -> list[str]:
        """All, in any order."""
        return [other for other in self.pods if pod_id in self.ancestors(other)]

    def in_the_way(self, pod_id: str) -> set[str]:
        """Who holds some of the same ground without being an ancestor."""
        mine = self.pods[pod_id].territory()
        kin = {pod_id, *self.ancestors(pod_id), *self.descendants(pod_id)}
        return {o for o in self.pods if o not in kin and self.pods[o].territory() & mine}

    def lend(self, pod_id: str, parent: str | None, grant: ScopeGrant) -> Verdict:
        """What must happen; the model changes only if it is granted."""
        if parent is not None:
            above = self.pods[parent].grant
            for rule in (*grant.allow, *grant.delegable):
                offer = union(above.delegable, rule.permission)
                if not paths_of(rule) <= offer:
                    return "not delegable"
                if not paths_of(rule) - denied(above.deny, rule.permission):
                    return "not delegable"
            grant = attrs.evolve(grant, deny=(*grant.deny, *above.deny))
        self.pods[pod_id] = Holder(parent, grant)
        if self.in_the_way(pod_id):
            del self.pods[pod_id]
            return "conflict"
        return "granted"

    def release(self, pod_id: str) -> None:
        """Children go to the parent."""
        gone = self.pods.pop(pod_id)
        for pod in self.pods.values():
            if pod.parent == pod_id:
                pod.parent = gone.parent

    def writable(self, pod_id: str) -> frozenset[str]:
        """What the pod may write now."""
        lent = [self.pods[o].territory() for o in self.descendants(pod_id)]
        return self.pods[pod_id].allowed("write").difference(*lent)
