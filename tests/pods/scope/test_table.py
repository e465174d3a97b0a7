"""The table, example by example; `test_table_model` has the laws for every history."""

from __future__ import annotations

import attrs
import pytest

from pods.scope.leases import Lease
from pods.scope.table import Table
from pods_protocol.errors import (
    InvalidScope,
    NameTaken,
    ScopeConflict,
    ScopeNotDelegable,
    UnknownPod,
)
from pods_protocol.values import ScopeGrant, ScopeRule
from scope_support import lease, pending, rules, table_of

# --- the faults of the origins, by their number in ORIGINS.md 3.1 ---------------------------------


def test_fault_1_siblings_under_a_parent_that_writes_nothing_do_not_share_a_place() -> None:
    table = table_of(
        lease("boss", ["r /p/**"], delegable=["w /p/**"]),
        lease("one", ["w /p/src/**"], parent="boss"),
    )
    with pytest.raises(ScopeConflict) as refused:
        table.lend(lease("two", ["w /p/src/lib/**"], parent="boss"))
    assert refused.value.data["owner_id"] == "one"


def test_fault_1_a_stranger_does_not_get_what_a_parent_that_writes_nothing_has_lent() -> None:
    table = table_of(
        lease("boss", ["r /p/**"], delegable=["w /p/**"]),
        lease("one", ["w /p/src/**"], parent="boss"),
    )
    with pytest.raises(ScopeConflict) as refused:
        table.lend(lease("stranger", ["w /p/src/**"]))
    assert refused.value.data["owner_id"] == "one"


def test_fault_1_a_parent_that_only_lends_keeps_its_ground() -> None:
    table = table_of(lease("boss", ["r /p/**"], delegable=["w /p/**"]))
    with pytest.raises(ScopeConflict) as refused:
        table.lend(lease("stranger", ["w /p/doc/**"]))
    assert refused.value.data["owner_id"] == "boss"


def test_fault_2_a_deny_on_the_parent_does_not_hide_its_children() -> None:
    # The deny came after the child was there, so the child holds what its parent is denied.
    child = lease("child", ["w /p/out/**"], parent="boss")
    boss = lease("boss", ["w /p/**"], deny=["w /p/out/**"], delegable=["w /p/**"])
    table = Table.of([boss, child])
    with pytest.raises(ScopeConflict) as refused:
        table.lend(lease("third", ["w /p/out/x/**"]))
    assert refused.value.data["owner_id"] == "child"


def test_fault_3_a_path_that_is_not_canonical_never_reaches_the_comparison() -> None:
    table = table_of(lease("boss", ["w /src/**"], delegable=["w /src/**"]))
    for sneaky in ("w /src/../etc/**", "w /src/b/../a/**", "w /src//a/**", "w /src/./a/**"):
        with pytest.raises(InvalidScope):
            table.lend(lease("child", [sneaky], parent="boss"))
        with pytest.raises(InvalidScope):
            table.lend(lease("child", ["r /src/**"], deny=[sneaky], parent="boss"))


def test_fault_4_denies_pass_down_to_children_and_to_theirs() -> None:
    table = table_of(
        lease(
            "boss",
            ["w /p/**"],
            deny=["r /p/keys/**", "w /p/vendor/**"],
            delegable=["w /p/**"],
        ),
        lease("child", ["w /p/**"], delegable=["w /p/**"], parent="boss"),
        lease("grandchild", ["w /p/**"], parent="child"),
    )
    for pod in ("child", "grandchild"):
        assert not table.may_read(pod, "/p/keys/id")
        assert table.may_read(pod, "/p/vendor/x")
        assert not table.may_write(pod, "/p/vendor/x")
    assert table.may_write("grandchild", "/p/src")


def test_fault_4_a_child_keeps_the_denies_of_a_parent_that_has_ended() -> None:
    table = table_of(
        lease("boss", ["w /p/**"], delegable=["w /p/**"]),
        lease("child", ["w /p/**"], deny=["r /p/keys/**"], delegable=["w /p/**"], parent="boss"),
        lease("grandchild", ["w /p/**"], parent="child"),
    ).release("child")
    assert table.leases["grandchild"].parent_id == "boss"
    assert not table.may_read("grandchild", "/p/keys/id")


def test_fault_4_what_a_deny_takes_whole_is_not_lent() -> None:
    table = table_of(lease("boss", ["w /p/**"], deny=["w /p/vendor/**"], delegable=["w /p/**"]))
    with pytest.raises(ScopeNotDelegable, match="a deny takes all of it"):
        table.lend(lease("child", ["w /p/vendor/lib/**"], parent="boss"))
    table.lend(lease("reader", ["r /p/vendor/lib/**"], parent="boss"))


# --- lending --------------------------------------------------------------------------------------


def test_reads_never_conflict() -> None:
    table = table_of(lease("writer", ["w /p/**"]), lease("reader", ["r /p/**"]))
    assert table.may_read("reader", "/p/x")


def test_a_conflict_names_the_deepest_owner_its_rule_and_ours() -> None:
    table = table_of(
        lease("top", ["w /p/**"], delegable=["w /p/**"]),
        lease("middle", ["w /p/a/**"], delegable=["w /p/a/**"], parent="top"),
        lease("deep", ["w /p/a/b/**"], parent="middle"),
    )
    with pytest.raises(ScopeConflict) as refused:
        table.lend(lease("late", ["r /q/**", "w /p/a/b/*"]))
    assert refused.value.data == {
        "owner": "deep",
        "owner_id": "deep",
        "owner_supervisor": "default",
        "owner_rule": {"target": "/p/a/b", "permission": "write", "recursive": True},
        "requested": {"target": "/p/a/b", "permission": "write", "recursive": False},
    }
    assert refused.value.message == (
        "cannot lend write on /p/a/b/* to 'late': the pod 'deep' holds write on /p/a/b/**; choose "
        "another place, ask for read, or wait until 'deep' has ended"
    )


def test_a_deny_of_ones_own_keeps_two_writers_apart() -> None:
    table = table_of(lease("tests", ["w /p/tests/**"]))
    with pytest.raises(ScopeConflict):
        table.lend(lease("rest", ["w /p/**"]))
    table = table.lend(lease("rest", ["w /p/**"], deny=["w /p/tests/**"]))
    assert table.may_write("rest", "/p/src")
    assert not table.may_write("rest", "/p/tests/x")


def test_a_child_gets_only_what_its_parent_may_lend() -> None:
    table = table_of(lease("boss", ["w /p/**"], delegable=["w /p/src/**", "r /p/**"]))
    with pytest.raises(ScopeNotDelegable) as refused:
        table.lend(lease("child", ["w /p/doc/**"], parent="boss"))
    assert refused.value.data == {
        "parent": "boss",
        "requested": {"target": "/p/doc", "permission": "write", "recursive": True},
        "delegable": [
            {"target": "/p/src", "permission": "write", "recursive": True},
            {"target": "/p", "permission": "read", "recursive": True},
        ],
    }
    table.lend(lease("child", ["r /p/doc/**", "w /p/src/**"], parent="boss"))


def test_a_child_may_not_lend_more_than_its_parent_may() -> None:
    table = table_of(lease("boss", ["w /p/**"], delegable=["w /p/src/**"]))
    with pytest.raises(ScopeNotDelegable):
        table.lend(lease("child", ["w /p/src/**"], delegable=["w /p/**"], parent="boss"))


def test_a_parent_that_may_lend_nothing_says_so() -> None:
    table = table_of(lease("boss", ["w /p/**"]))
    with pytest.raises(ScopeNotDelegable, match="may lend nothing"):
        table.lend(lease("child", ["r /p/**"], parent="boss"))


def test_a_parent_that_has_ended_lends_nothing() -> None:
    with pytest.raises(ScopeNotDelegable, match="holds none any more"):
        table_of().lend(lease("child", ["r /p/**"], parent="gone"))


def test_an_id_is_lent_to_once() -> None:
    table = table_of(lease("pod"), pending("starting"))
    with pytest.raises(NameTaken) as refused:
        table.lend(lease("pod"))
    assert refused.value.data == {"name": "pod", "id": "pod", "state": "idle"}
    with pytest.raises(NameTaken) as refused:
        table.lend(lease("starting"))
    assert refused.value.data["state"] == "starting"


def test_a_lease_is_either_pending_or_held() -> None:
    item = pending("pod")
    for broken in (
        attrs.evolve(item, pending_deadline=None),
        attrs.evolve(item, pending_nonce=None),
        attrs.evolve(item, pending_nonce=None, pending_deadline=None),
    ):
        with pytest.raises(ValueError, match="pending"):
            Table().lend(broken)


def test_a_pod_that_asks_for_what_its_sibling_holds_learns_who_holds_it() -> None:
    tree = ScopeRule(target="/tree", permission="write")
    left = ScopeRule(target="/tree/left", permission="write")
    right = ScopeRule(target="/tree/right", permission="write")

    def lease(pod_id: str, parent_id: str | None, rule: ScopeRule) -> Lease:
        return Lease(
            pod_id=pod_id,
            name=pod_id,
            supervisor="test",
            parent_id=parent_id,
            grant=ScopeGrant(allow=(rule,), delegable=(rule,)),
            holder=None,
            pending_nonce="n",
            pending_deadline=1.0,
        )

    table = Table().lend(lease("parent", None, tree))
    table = table.lend(lease("left", "parent", left)).lend(lease("right", "parent", right))
    with pytest.raises(ScopeNotDelegable, match="'right' holds it") as refused:
        table.lend(lease("intruder", "left", right))
    assert refused.value.data["owner"] == "right"
    assert refused.value.data["owner_rule"]["target"] == "/tree/right"


# --- what is lent ---------------------------------------------------------------------------------


def test_a_parent_does_not_write_what_it_has_lent_until_it_comes_back() -> None:
    table = table_of(lease("boss", ["w /p/**"], delegable=["w /p/**"]))
    lent = table.lend(lease("child", ["w /p/src/**"], parent="boss"))
    assert table.may_write("boss", "/p/src/x")
    assert not lent.may_write("boss", "/p/src/x")
    assert lent.may_read("boss", "/p/src/x")
    assert lent.may_write("boss", "/p/doc")
    assert lent.lent("boss") == rules(["w /p/src/**"])
    assert lent.effective_write("boss") == rules(["w /p/**"])
    assert lent.release("child").may_write("boss", "/p/src/x")


def test_what_a_child_may_only_lend_on_is_lent_too() -> None:
    table = table_of(
        lease("boss", ["w /p/**"], delegable=["w /p/**"]),
        lease("child", ["r /p/**"], delegable=["w /p/src/**"], parent="boss"),
    )
    assert not table.may_write("boss", "/p/src/x")
    assert not table.may_write("child", "/p/src/x")


def test_a_rule_that_is_lent_whole_is_not_effective() -> None:
    table = table_of(
        lease("boss", ["w /p/src/**", "w /p/doc/**", "r /q/**"], delegable=["w /p/src/**"]),
        lease("child", ["w /p/src/**"], parent="boss"),
    )
    assert table.effective_write("boss") == rules(["w /p/doc/**"])


def test_a_rule_of_which_the_child_denies_itself_a_part_stays_effective() -> None:
    table = table_of(
        lease("boss", ["w /p/**"], delegable=["w /p/**"]),
        lease("child", ["w /p/**"], deny=["w /p/doc/**"], parent="boss"),
    )
    assert table.effective_write("boss") == rules(["w /p/**"])
    assert table.may_write("boss", "/p/doc/x")


def test_a_deny_of_the_child_that_lies_elsewhere_leaves_nothing_of_a_rule_that_is_lent() -> None:
    table = table_of(
        lease("boss", ["w /p/**"], delegable=["w /p/**"]),
        lease("child", ["w /p/**"], deny=["w /q/**"], parent="boss"),
    )
    assert table.effective_write("boss") == ()


def test_a_rule_that_the_pod_is_denied_is_not_effective() -> None:
    table = table_of(lease("pod", ["w /p/**"], deny=["w /p/**"]))
    assert table.effective_write("pod") == ()
    assert table.may_read("pod", "/p/x")


def test_what_is_lent_is_told_in_its_widest_rules() -> None:
    table = table_of(
        lease("boss", delegable=["w /p/**", "w /q/**"]),
        lease("one", ["w /p/a/*", "w /q/**"], delegable=["w /p/a/**"], parent="boss"),
        lease("two", ["w /p/a/x/**"], parent="one"),
    )
    assert table.lent("boss") == rules(["w /q/**", "w /p/a/**"])


def test_questions_about_a_pod_without_a_lease_are_refused() -> None:
    table = table_of()
    for ask in (table.lent, table.effective_write, table.depth):
        with pytest.raises(UnknownPod):
            ask("gone")
    for may in (table.may_read, table.may_write):
        with pytest.raises(UnknownPod):
            may("gone", "/p")


# --- tables from disk -----------------------------------------------------------------------------


def test_a_table_with_one_id_twice_is_no_table() -> None:
    with pytest.raises(ValueError, match="two leases"):
        Table.of([lease("pod"), lease("pod")])


def test_a_table_with_a_missing_parent_is_no_table() -> None:
    with pytest.raises(ValueError, match="missing"):
        Table.of([lease("pod", parent="gone")])
    with pytest.raises(ValueError, match="missing"):
        table_of(lease("boss"), lease("child", parent="boss")).patched(["boss"], [])


def test_a_table_whose_parents_go_in_a_circle_is_no_table() -> None:
    with pytest.raises(ValueError, match="circle"):
        Table.of([lease("a", parent="b"), lease("b", parent="a")])
