"""Histories of leases for property tests: what is asked for, and what must hold after each act."""

from __future__ import annotations

import itertools

import attrs
from hypothesis import strategies as st

from pods.scope.leases import Lease
from pods.scope.table import Table
from pods_protocol.values import ScopeGrant, ScopeRule
from scope_model import PATHS, TARGETS, Model, paths_of
from scope_support import lease

scope_rules = st.builds(
    ScopeRule,
    target=st.sampled_from(TARGETS),
    permission=st.sampled_from(["read", "write"]),
    recursive=st.booleans(),
)
wide_rules = st.builds(ScopeRule, target=st.sampled_from(TARGETS[:3]), permission=st.just("write"))
grants = st.builds(
    ScopeGrant,
    allow=st.lists(scope_rules, max_size=2).map(tuple),
    deny=st.lists(scope_rules, max_size=1).map(tuple),
    delegable=st.lists(st.one_of(wide_rules, scope_rules), max_size=2).map(tuple),
)


def fitted(rule: ScopeRule, offers: tuple[ScopeRule, ...]) -> ScopeRule:
    """The rule moved into one of the offers: chance alone rarely asks for what may be lent."""
    if not offers:
        return rule
    offer = offers[len(rule.target) % len(offers)]
    name = rule.target.rpartition("/")[2]
    deeper = offer.target.rstrip("/") + "/" + name
    target = deeper if offer.recursive and name and deeper in TARGETS else offer.target
    return ScopeRule(
        target=target,
        permission=rule.permission if offer.permission == "write" else "read",
        recursive=rule.recursive and offer.recursive,
    )


def request(
    choice: int, known: list[str], grant: ScopeGrant, above: dict[str, ScopeGrant]
) -> tuple[str | None, ScopeGrant]:
    """Who asks, and for what: a person, or a pod for its child, mostly for what it may lend."""
    if not known or choice % 4 == 0:
        return None, grant
    parent = known[-1] if choice % 4 == 2 else known[choice // 4 % len(known)]
    if choice % 4 == 1:
        return parent, grant
    offers = above[parent].delegable
    return parent, ScopeGrant(
        allow=tuple(fitted(rule, offers) for rule in grant.allow),
        deny=tuple(fitted(rule, offers) for rule in grant.deny),
        delegable=tuple(fitted(rule, offers) for rule in grant.delegable),
    )


def lease_of(pod_id: str, parent: str | None, grant: ScopeGrant) -> Lease:
    return attrs.evolve(lease(pod_id, parent=parent), grant=grant)


def check_laws(table: Table, model: Model) -> None:
    may_write = {
        pod_id: frozenset(path for path in PATHS if table.may_write(pod_id, path))
        for pod_id in model.pods
    }
    for pod_id, pod in model.pods.items():
        assert table.leases[pod_id].parent_id == pod.parent
        # Law 2: what it may write is its own, less everything that is lent.
        assert may_write[pod_id] == model.writable(pod_id)
        assert {path for path in PATHS if table.may_read(pod_id, path)} == pod.allowed("read")
        if pod.parent is not None:
            above = model.pods[pod.parent]
            assert pod.allowed("write") <= above.lendable("write")
            assert pod.allowed("read") <= above.lendable("read")
        # The summaries say no more and no less than the paths do.
        lent = {path for path in PATHS for r in table.lent(pod_id) if path in paths_of(r)}
        shown = {path for r in table.effective_write(pod_id) for path in paths_of(r)}
        assert may_write[pod_id] <= shown
        assert pod.allowed("write") - may_write[pod_id] <= lent
        assert table.depth(pod_id) == 1 + len(model.ancestors(pod_id))
    # Law 1: nobody writes where anybody else does, kin or not.
    for first, second in itertools.combinations(model.pods, 2):
        assert not may_write[first] & may_write[second]
