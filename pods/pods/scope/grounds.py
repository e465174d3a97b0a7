"""An index of who has ground where: target of a territory's rule to the pods that have one there.

Pure. Owns how the index is kept, and who can be in a lease's way by it: it makes `lend` one look
around the requested paths instead of a comparison with every rule of every lease. `table` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pods.scope.leases import Lease
from pods.scope.regions import ancestors_of, tree_prefix


def enter(index: dict[str, tuple[str, ...]], lease: Lease) -> None:
    """Note the ground of a lease."""
    for target in {rule.target for rule in lease.territory}:
        index[target] = (*index.get(target, ()), lease.pod_id)


def strike(index: dict[str, tuple[str, ...]], lease: Lease) -> None:
    """Forget the ground of a lease that was entered."""
    for target in {rule.target for rule in lease.territory}:
        left = tuple(pod_id for pod_id in index[target] if pod_id != lease.pod_id)
        if left:
            index[target] = left
        else:
            del index[target]


def neighbours(index: Mapping[str, tuple[str, ...]], lease: Lease) -> set[str]:
    """Every pod with a rule on the way up from, or below, what the lease asks for.

    Two regions share a path only if one target is the other or above it, so nobody else needs
    to be looked at.
    """
    found: set[str] = set()
    for rule in lease.territory:
        for target in ancestors_of(rule.target):
            found.update(index.get(target, ()))
        prefix = tree_prefix(rule.target)
        below = [ids for at, ids in index.items() if at.startswith(prefix)]
        found.update(*below)
    return found
