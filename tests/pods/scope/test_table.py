"""The table, example by example; `test_table_model` has the laws for every history."""

from __future__ import annotations

import attrs
import pytest

from pods.scope.leases import Lease
from pods.scope.table import Table
from pods_protocol.errors import (
    InvalidScope,
    NameTaken,
    NotAuthorized,
    ScopeConflict,
    ScopeNotDelegable,
    UnknownPod,
)
from pods_protocol.values import ProcessIdentity, ScopeGrant, ScopeRule
from scope_support import lease, me, pending, rules, table_of

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


# --- adopting and ending --------------------------------------------------------------------------


def test_a_pending_lease_holds_its_ground() -> None:
    table = table_of(pending("starting", ["w /p/**"]))
    with pytest.raises(ScopeConflict):
        table.lend(lease("other", ["w /p/**"]))


def test_the_holder_of_the_nonce_adopts() -> None:
    keeper = me()
    table = table_of(pending("pod", ["w /p/**"], nonce="secret"))
    adopted = table.adopt("pod", "secret", keeper)
    item = adopted.leases["pod"]
    assert (item.holder, item.pending_nonce, item.pending_deadline) == (keeper, None, None)
    assert not item.is_pending
    assert adopted.adopt("pod", "secret", keeper) is adopted


def test_nobody_else_adopts() -> None:
    table = table_of(pending("pod", nonce="secret"))
    with pytest.raises(NotAuthorized):
        table.adopt("pod", "guess", me())
    stranger = ProcessIdentity(pid=1, start_ticks=1, boot_id="boot")
    with pytest.raises(NotAuthorized):
        table.adopt("pod", "secret", me()).adopt("pod", "secret", stranger)


def test_a_spawner_that_is_named_as_holder_still_has_to_adopt() -> None:
    spawner = me()
    item = attrs.evolve(pending("pod", nonce="secret"), holder=spawner)
    adopted = table_of(item).adopt("pod", "secret", spawner)
    assert not adopted.leases["pod"].is_pending


def test_a_lease_that_has_lapsed_is_not_adopted() -> None:
    with pytest.raises(UnknownPod, match="its start took too long"):
        table_of().adopt("pod", "secret", me())


def test_releasing_is_idempotent() -> None:
    table = table_of(lease("pod", ["w /p/**"]))
    ended = table.release("pod")
    assert ended.leases == {}
    assert ended.release("pod") is ended


def test_children_of_several_that_died_go_to_the_nearest_that_lives() -> None:
    table = table_of(
        lease("a", delegable=["w /p/**"]),
        lease("b", delegable=["w /p/**"], parent="a"),
        lease("c", delegable=["w /p/**"], parent="b"),
        lease("d", ["w /p/**"], parent="c"),
    )
    assert table.reclaim(("b", "c", "unknown")).leases["d"].parent_id == "a"
    assert table.reclaim(("a", "b", "c")).leases["d"].parent_id is None


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


# --- another process of the same pod --------------------------------------------------------------


def test_a_lease_that_is_taken_again_is_never_free_and_keeps_what_was_lent() -> None:
    table = table_of(
        lease("a", ["w /p/**"], delegable=["w /p/**"]),
        lease("child", ["w /p/sub/**"], parent="a"),
    )
    again = table.retake(pending("a", ["w /p/**"], nonce="second"))
    taken = again.leases["a"]
    assert taken.is_pending
    assert taken.grant == table.leases["a"].grant
    assert again.leases["child"].parent_id == "a"
    with pytest.raises(ScopeConflict):
        again.lend(lease("thief", ["w /p/**"]))
    with pytest.raises(NotAuthorized):
        again.adopt("a", "first", me())
    assert not again.adopt("a", "second", me()).leases["a"].is_pending


def test_what_was_lent_from_a_lease_that_lapsed_is_below_it_again_where_it_is_retaken() -> None:
    boss = pending("boss", ["w /p/**"])
    boss = attrs.evolve(boss, grant=attrs.evolve(boss.grant, delegable=rules(["w /p/**"])))
    table = table_of(
        lease("top", delegable=["w /p/**"]),
        attrs.evolve(boss, parent_id="top"),
        lease("child", ["w /p/a/**"], delegable=["w /p/a/**"], parent="boss"),
        lease("grandchild", ["w /p/a/b/**"], parent="child"),
    )
    lapsed = table.reclaim(["boss"])
    assert lapsed.leases["child"].parent_id == "top"
    again = lapsed.retake(attrs.evolve(boss, parent_id="top"), ["child", "never was"])
    assert {one.pod_id: one.parent_id for one in again.leases.values()} == {
        "top": None, "boss": "top", "child": "boss", "grandchild": "child",
    }  # fmt: skip
    assert again.lent("boss") == rules(["w /p/a/**"])
    Table.of(again.leases.values())
    with pytest.raises(ScopeConflict):
        lapsed.retake(attrs.evolve(boss, parent_id="top"))
    # Nor does anybody come below it who could not have been lent that, or who is above it.
    taken = table_of(lease("other", ["w /p/x/**", "w /q/**"]))
    with pytest.raises(ScopeConflict):
        taken.retake(boss, ["other"])
    assert (
        lapsed.retake(attrs.evolve(boss, parent_id="top"), ["child", "top"]).leases["top"].parent_id
        is None
    )


@pytest.mark.parametrize("order", [("boss", "kid"), ("kid", "boss")])
def test_leases_that_lapsed_one_above_the_other_are_retaken_in_any_order(
    order: tuple[str, str],
) -> None:
    table = table_of(
        lease("top", delegable=["w /p/**"], deny=["w /p/top/**"]),
        lease("boss", delegable=["w /p/**"], deny=["w /p/secret/**"], parent="top"),
        lease("kid", ["w /p/a/**"], delegable=["w /p/a/**"], parent="boss"),
        lease("grandkid", ["w /p/a/b/**"], parent="kid"),
    )
    mine = {
        "boss": pending("boss", delegable=["w /p/**"], deny=["w /p/secret/**"], parent="top"),
        "kid": pending("kid", ["w /p/a/**"], delegable=["w /p/a/**"], parent="boss"),
    }
    below = {"boss": ("kid", "grandkid"), "kid": ("grandkid",)}
    chain = [("boss", mine["boss"].grant), ("top", lease("top").grant)]
    above = {"boss": chain[1:], "kid": chain}
    again = table.reclaim(["boss", "kid"])
    assert again.leases["grandkid"].parent_id == "top"
    for name in order:
        again = again.retake(mine[name], below[name], above[name])
        # What the one in between denies holds also while that one has no lease.
        assert set(again.leases[name].grant.deny) == set(table.leases[name].grant.deny)
        Table.of(again.leases.values())
    assert {one.pod_id: one.parent_id for one in again.leases.values()} == {
        "top": None, "boss": "top", "kid": "boss", "grandkid": "kid",
    }  # fmt: skip
    # With nobody above, it is lent from a person until its parent is there.
    alone = Table().retake(mine["kid"], (), chain)
    assert alone.leases["kid"].parent_id is None
    assert alone.leases["kid"].grant.deny == rules(["w /p/secret/**"])


def test_another_may_answer_for_what_a_killed_holder_leaves_and_only_for_that_holder() -> None:
    guard = attrs.evolve(me(), pid=4_000_000)
    table = table_of(lease("a", ["w /p/**"]))
    assert table.guarded("a", me(), guard).leases["a"].guardian == guard
    assert table.guarded("a", guard, guard) is table
    assert table.guarded("gone", me(), guard) is table
    waiting = table.retake(pending("a", ["w /p/**"]))
    assert waiting.guarded("a", me(), guard) is waiting


def test_a_lease_that_is_gone_is_lent_anew_or_refused_with_the_owner() -> None:
    mine = pending("a", ["w /p/**"])
    assert "a" in Table().retake(mine).leases
    with pytest.raises(ScopeConflict) as refused:
        table_of(lease("heir", ["w /p/x/**"])).retake(mine)
    assert refused.value.data["owner_id"] == "heir"


def test_a_lease_is_held_as_before_until_somebody_takes_or_adopts_it() -> None:
    table = table_of(lease("up", delegable=["w /p/**"]), lease("a", ["w /p/a/**"], parent="up"))
    before = table.leases["a"]
    assert table.release("up").leases["a"].is_held_as(before)
    waiting = table.retake(pending("a", nonce="one")).leases["a"]
    assert not waiting.is_held_as(before)
    assert not table.retake(pending("a", nonce="two")).leases["a"].is_held_as(waiting)
