"""Single rules of a scope: which paths one covers, what two share, how they are told.

Pure. Owns what a permission means: write includes read, denied write leaves read. Paths are
canonical absolute strings (`normalise` makes them so). Must not know what a lease is. `leases`,
`table` and `refusals` call it, and agents that say what they may touch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pods.scope.regions import Region, contains, has_path, intersect, region_of
from pods_protocol.values import Permission, ScopeRule


def covers(rule: ScopeRule, path: str) -> bool:
    """Whether the path is one that the rule is about."""
    return has_path(region_of(rule), path)


def overlaps(first: ScopeRule, second: ScopeRule) -> bool:
    """Whether any path, made or not, is one of both rules."""
    return intersect(region_of(first), region_of(second)) is not None


def permits(outer: ScopeRule, inner: ScopeRule) -> bool:
    """Whether `outer` gives everything that `inner` asks for; write includes read."""
    if inner.permission == "write" and outer.permission != "write":
        return False
    return contains(region_of(outer), region_of(inner))


def holes_for(permission: Permission, deny: Iterable[ScopeRule]) -> list[Region]:
    """Where the denies leave no such permission: denied write leaves read, denied read nothing."""
    return [region_of(rule) for rule in deny if permission == "write" or rule.permission == "read"]


def rule_to_data(rule: ScopeRule) -> dict[str, Any]:
    """A rule as an error carries it."""
    return {"target": rule.target, "permission": rule.permission, "recursive": rule.recursive}


def describe(rule: ScopeRule) -> str:
    """A rule in a sentence: `write on /srv/site/**`."""
    base = "" if rule.target == "/" else rule.target
    return f"{rule.permission} on {base}/{'**' if rule.recursive else '*'}"


def widest(rules: Iterable[ScopeRule]) -> tuple[ScopeRule, ...]:
    """The rules that no other of them contains, each once."""
    kept: dict[Region, ScopeRule] = {}
    for rule in rules:
        region = region_of(rule)
        if not any(contains(other, region) for other in kept):
            for other in [other for other in kept if contains(region, other)]:
                del kept[other]
            kept[region] = rule
    return tuple(kept.values())
