"""The table against the brute-force model: all five laws, on any history of leases."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.scope.leases import Lease
from pods.scope.table import Table
from pods_protocol.errors import PodsError, ScopeConflict, ScopeNotDelegable
from pods_protocol.values import ScopeGrant, ScopeRule
from scope_histories import check_laws, grants, lease_of, request, scope_rules
from scope_model import PATHS, TARGETS, Holder, Model, paths_of

acts = st.one_of(
    st.tuples(st.integers(0, 23), grants),
    st.tuples(st.integers(0, 23), grants),
    st.tuples(st.integers(0, 23), st.none()),
)
"""Lend the grant, or release; the number chooses the pod or the parent."""


def rule_in(data: dict[str, Any]) -> ScopeRule:
    return ScopeRule(**data)


def check_refusal(error: PodsError, model: Model, probe: Model, pod_id: str) -> None:
    """The error names the deepest owner, a rule of its, a rule of ours, and they do clash."""
    owners = probe.in_the_way(pod_id)
    depth = max(len(model.ancestors(owner)) for owner in owners)
    named = error.data["owner_id"]
    assert named in owners
    assert len(model.ancestors(named)) == depth
    owned, requested = rule_in(error.data["owner_rule"]), rule_in(error.data["requested"])
    theirs, ours = model.pods[named].grant, probe.pods[pod_id].grant
    assert owned in (*theirs.allow, *theirs.delegable)
    assert requested in (*ours.allow, *ours.delegable)
    assert owned.permission == requested.permission == "write"
    assert paths_of(owned) & paths_of(requested)


@settings(max_examples=300, deadline=None)
@given(grants, grants)
def test_two_strangers_are_kept_apart_exactly(first: ScopeGrant, second: ScopeGrant) -> None:
    model = Model()
    model.lend("first", None, first)
    table = Table().lend(lease_of("first", None, first))
    try:
        table.lend(lease_of("second", None, second))
    except ScopeConflict:
        assert model.lend("second", None, second) == "conflict"
    else:
        assert model.lend("second", None, second) == "granted"


@settings(max_examples=100, deadline=None)
@given(st.lists(acts, min_size=1, max_size=9))
def test_any_history_keeps_the_five_laws(history: list[tuple[int, ScopeGrant | None]]) -> None:
    run(history)


@settings(max_examples=80, deadline=None)
@given(st.lists(scope_rules, max_size=2), st.lists(acts, min_size=2, max_size=8))
def test_any_history_below_one_pod_that_may_lend_everything_keeps_them_too(
    deny: list[ScopeRule], history: list[tuple[int, ScopeGrant | None]]
) -> None:
    everything = (ScopeRule(target="/", permission="write"),)
    boss = ScopeGrant(allow=everything, deny=tuple(deny), delegable=everything)
    run([(0, boss), *history])


def run(history: list[tuple[int, ScopeGrant | None]]) -> None:
    table, model = Table(), Model()
    for number, (choice, grant) in enumerate(history):
        known = list(model.pods)
        if grant is not None:
            pod_id = f"pod{number}"
            parent, grant = request(
                choice, known, grant, {pod: item.grant for pod, item in model.pods.items()}
            )
            before = dict(table.leases)
            # The same request against a model that takes it whatever is in the way.
            probe = Model()
            probe.pods = dict(model.pods)
            verdict = model.lend(pod_id, parent, grant)
            try:
                table = table.lend(lease_of(pod_id, parent, grant))
            except ScopeNotDelegable:
                assert verdict == "not delegable"
            except ScopeConflict as error:
                assert verdict == "conflict"
                inherited = () if parent is None else model.pods[parent].grant.deny
                probe.pods[pod_id] = Holder(
                    parent, attrs.evolve(grant, deny=(*grant.deny, *inherited))
                )
                check_refusal(error, model, probe, pod_id)
            else:
                assert verdict == "granted"
            if verdict != "granted":
                # Law 3: a refused request changes nothing.
                assert table.leases == before
        elif known:
            pod_id = known[choice % len(known)]
            rights = {
                other: {path for path in PATHS if table.may_write(other, path)}
                for other in model.descendants(pod_id)
            }
            model.release(pod_id)
            table = table.release(pod_id)
            # Law 5: re-parented, with the same rights as before.
            for other, paths in rights.items():
                assert {path for path in PATHS if table.may_write(other, path)} == paths
        assert set(table.leases) == set(model.pods)
        check_laws(table, model)


@settings(max_examples=100, deadline=None)
@given(st.lists(acts, min_size=1, max_size=12))
def test_a_table_built_anew_from_its_leases_is_the_same(
    history: list[tuple[int, ScopeGrant | None]],
) -> None:
    table = Table()
    for number, (choice, grant) in enumerate(history):
        known = list(table.leases)
        if grant is None:
            table = table.reclaim(known[choice % 3 :: 3])
            continue
        parent, grant = request(
            choice, known, grant, {pod: item.grant for pod, item in table.leases.items()}
        )
        try:
            table = table.lend(lease_of(f"pod{number}", parent, grant))
        except PodsError:
            continue
    again = Table.of(table.leases.values())
    assert again == table
    # What both answer depends on the index too, which equality leaves out.
    for pod_id in table.leases:
        assert again.effective_write(pod_id) == table.effective_write(pod_id)
    for target in TARGETS:
        probe = lease_of(
            "probe", None, ScopeGrant(allow=(ScopeRule(target=target, permission="write"),))
        )
        assert outcome(again, probe) == outcome(table, probe)


def outcome(table: Table, probe: Lease) -> object:
    try:
        return len(table.lend(probe).leases)
    except ScopeConflict as error:
        return error.data
