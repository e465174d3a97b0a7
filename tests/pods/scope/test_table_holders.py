"""Who holds a lease: adopting it, ending, and another process of the same pod that takes it."""

from __future__ import annotations

import attrs
import pytest

from pods.scope.table import Table
from pods_protocol.errors import NotAuthorized, ScopeConflict, UnknownPod
from pods_protocol.values import ProcessIdentity
from scope_support import lease, me, pending, rules, table_of


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
