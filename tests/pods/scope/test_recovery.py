"""A registry whose newest writes were lost: no living pod loses its scope by it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.scope.leases import Lease
from pods.scope.recovery import Recorded, RecordedLease, recovered
from pods.scope.registry import ScopeRegistry
from pods.scope.table import Table
from pods_protocol.errors import RegistryBroken, ScopeConflict
from pods_protocol.values import ProcessIdentity
from scope_support import lease, lend, me, pending, release, table_of

DEAD = evolve(me(), start_ticks=1)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/scopes/registry.json"


class Records:
    """What the supervisors say; counts how often they are asked."""

    def __init__(self, *held: Lease, unread: tuple[str, ...] = ()) -> None:
        self.held = held
        self.unread = unread
        self.asked = 0

    def __call__(self) -> Recorded:
        self.asked += 1
        return Recorded(
            leases=[RecordedLease(lease=one) for one in self.held],
            living=frozenset(one.pod_id for one in self.held),
            supervisors=frozenset({"default"}),
            unread=self.unread,
        )


def is_gone(process: ProcessIdentity) -> bool:
    return process != me()


def adopt(pod_id: str) -> Callable[[Table], tuple[Table, None]]:
    return lambda table: (table.adopt(pod_id, "nonce", me(), me()), None)


def tear(path: str) -> None:
    Path(path).write_text("{torn")


def remove(path: str) -> None:
    for name in os.listdir(os.path.dirname(path)):
        os.unlink(f"{os.path.dirname(path)}/{name}")


def empty(path: str) -> None:
    Path(path).write_text("")


def tear_both(path: str) -> None:
    tear(path)
    tear(f"{path}.previous")


@pytest.mark.parametrize("lose", [tear, remove, empty, tear_both, os.unlink])
def test_a_pod_whose_adoption_was_lost_keeps_its_scope(
    path: str, lose: Callable[[str], None]
) -> None:
    mine = ScopeRegistry(path)
    mine.transact(lend(pending("b1", ["w /src/api/**"])))
    mine.transact(adopt("b1"))
    lose(path)
    held = lease("b1", ["w /src/api/**"])
    other = ScopeRegistry(path, on_record=Records(held))
    assert not other.read().leases["b1"].is_pending
    with pytest.raises(ScopeConflict, match="b1"):
        other.transact(lend(lease("b2", ["w /src/api/**"])))
    other.transact(lend(lease("b3", ["w /src/web/**"])))
    found = ScopeRegistry(path).read().leases
    assert found["b1"].holder == me()
    assert set(found) == {"b1", "b3"}


def test_a_file_that_is_older_than_what_was_read_is_completed(path: str, tmp_path: Path) -> None:
    records = Records()
    registry = ScopeRegistry(path, on_record=records)
    registry.transact(lend(lease("a", ["w /a/**"])))
    shutil.copy(path, tmp_path / "backup")
    registry.transact(lend(lease("b", ["w /b/**"])))
    records.held = (lease("a", ["w /a/**"]), lease("b", ["w /b/**"]))
    shutil.copy(tmp_path / "backup", path)
    asked = records.asked
    assert list(registry.read().leases) == ["a", "b"]
    with pytest.raises(ScopeConflict):
        registry.transact(lend(lease("c", ["w /b/**"])))
    assert records.asked == asked + 2


def test_nobody_is_asked_as_long_as_nothing_is_lost(path: str) -> None:
    records = Records()
    registry = ScopeRegistry(path, on_record=records)
    registry.transact(lend(lease("a", ["w /a/**"])))
    assert records.asked == 1, "where there is no file, one may have been lost"
    registry.transact(release("a"))
    registry.read()
    ScopeRegistry(path, on_record=records).transact(lend(lease("b")))
    assert records.asked == 1


def test_a_pending_lease_of_a_pod_that_is_on_record_as_running_does_not_lapse(path: str) -> None:
    late = pending("b1", ["w /src/**"], seconds=-1.0)
    ScopeRegistry(path).transact_many([lend(late), lend(lease("x"))])
    other = ScopeRegistry(path, on_record=Records(lease("b1", ["w /src/**"])))
    with pytest.raises(ScopeConflict):
        other.transact(lend(lease("b2", ["w /src/**"])))
    assert not other.read().leases["b1"].is_pending


def test_a_pending_lease_of_nobody_lapses_as_ever(path: str) -> None:
    ScopeRegistry(path).transact(lend(pending("b1", ["w /src/**"], seconds=-1.0)))
    other = ScopeRegistry(path, on_record=Records())
    other.transact(lend(lease("b2", ["w /src/**"])))
    assert list(other.read().leases) == ["b2"]


def test_what_was_released_by_the_lost_write_does_not_come_back(path: str) -> None:
    mine = ScopeRegistry(path)
    gone = evolve(lease("a", ["w /a/**"], holder=DEAD), guardian=me())
    mine.transact_many([lend(gone), lend(lease("b"))])
    mine.transact(release("a"))
    tear(path)
    other = ScopeRegistry(path, on_record=Records(lease("b")))
    other.transact(lend(lease("c", ["w /a/**"])))
    assert list(ScopeRegistry(path).read().leases) == ["b", "c"]


@pytest.mark.parametrize(
    ("lose", "why"),
    [
        (tear, "not JSON"),
        (tear_both, "not JSON.*beside it: it is not JSON"),
        (os.unlink, "it is missing"),
        (remove, "it is missing or empty"),
        (empty, "it is missing or empty"),
    ],
)
def test_where_the_file_may_be_behind_and_not_all_records_can_be_read_nothing_is_granted(
    path: str, lose: Callable[[str], None], why: str
) -> None:
    mine = ScopeRegistry(path)
    mine.transact(lend(lease("a")))
    mine.transact(lend(lease("b")))
    lose(path)
    left = sorted(os.listdir(os.path.dirname(path)))
    registry = ScopeRegistry(path, on_record=Records(lease("a"), unread=("/state/aa",)))
    for act in (registry.read, lambda: registry.transact(lend(lease("c")))):
        with pytest.raises(RegistryBroken, match=f"{why}.*cannot be read: /state/aa; end the pods"):
            act()
    assert set(os.listdir(os.path.dirname(path))) - set(left) <= {
        "registry.json.lock",
        "registry.json.queue",
    }
    registry = ScopeRegistry(path, on_record=Records(lease("a"), lease("b")))
    registry.transact(lend(lease("c")))
    assert set(ScopeRegistry(path).read().leases) == {"a", "b", "c"}


def test_nor_is_anything_where_the_file_is_older_than_what_was_read(
    path: str, tmp_path: Path
) -> None:
    records = Records()
    registry = ScopeRegistry(path, on_record=records)
    registry.transact(lend(lease("a")))
    shutil.copy(path, tmp_path / "backup")
    registry.transact(lend(lease("b")))
    shutil.copy(tmp_path / "backup", path)
    records.unread = ("/state/aa",)
    with pytest.raises(RegistryBroken, match="older than what was read of it"):
        registry.transact(lend(lease("c")))


# --- the rules ------------------------------------------------------------------------------------


def test_a_family_comes_back_in_its_order_with_its_denies() -> None:
    boss = lease("boss", ["w /p/**"], deny=["r /p/keys/**"], delegable=["w /p/**"])
    child = lease("child", ["w /p/src/**"], parent="boss")
    before = table_of(boss, child)
    recorded = Recorded(leases=[RecordedLease(lease=boss), RecordedLease(lease=child)])
    assert recovered(Table(), recorded, is_gone) == before
    assert recovered(table_of(boss), recorded, is_gone) == before
    assert recovered(before, recorded, is_gone) is before


def test_the_guardian_that_the_table_knows_stays_where_no_other_is_found() -> None:
    held = evolve(lease("a", holder=DEAD), guardian=me())
    known = Recorded(leases=[RecordedLease(lease=lease("a"))])
    found = recovered(Table.of([held]), known, is_gone).leases["a"]
    assert (found.holder, found.guardian) == (me(), me())


def test_a_pod_between_two_processes_gets_a_lease_that_waits_and_keeps_one_that_does() -> None:
    waits = pending("a", ["w /a/**"])
    known = Recorded(leases=[RecordedLease(lease=waits)])
    assert recovered(Table(), known, is_gone).leases == {"a": waits}
    own = pending("a", ["w /a/**"], nonce="its own")
    assert recovered(table_of(own), known, is_gone) == table_of(own)


def test_what_somebody_else_holds_by_now_stays_his() -> None:
    others = table_of(lease("new", ["w /src/**"]))
    known = Recorded(leases=[RecordedLease(lease=lease("old", ["w /src/**"]))])
    assert recovered(others, known, is_gone) == others


def test_only_pods_of_supervisors_whose_records_were_read_are_taken_for_ended() -> None:
    table = Table.of([lease("dead", holder=DEAD), lease("alive")])
    assert recovered(table, Recorded(), is_gone) == table
    read = Recorded(supervisors=frozenset({"default"}))
    assert list(recovered(table, read, is_gone).leases) == ["alive"]


# --- any history ----------------------------------------------------------------------------------

PLACES = {"boss": None, "kid": "boss", "grandkid": "kid", "twin": "boss", "rival": None}
"""Pods by their parents; `rival` wants what `boss` has, `twin` what `kid` has."""


def wanted(pod_id: str, process: ProcessIdentity) -> Lease:
    place = {"boss": "/p", "rival": "/p", "kid": "/p/a", "twin": "/p/a", "grandkid": "/p/a/b"}
    return lease(
        pod_id,
        [f"w {place[pod_id]}/**"],
        deny=[f"w {place[pod_id]}/keys/**"],
        delegable=[f"w {place[pod_id]}/**"],
        parent=PLACES[pod_id],
        holder=process,
    )


class History:
    """What several supervisors did, one write after the other, and what they have on record."""

    def __init__(self) -> None:
        self.tables = [Table()]
        self.recorded: dict[str, Lease] = {}
        self.processes = 0
        self.dead: set[ProcessIdentity] = set()

    def spawn(self, pod_id: str) -> None:
        """Take and adopt, in two writes, then put it on record; what is refused never was."""
        table = self.tables[-1]
        parent = PLACES[pod_id]
        if pod_id in table.leases or (parent is not None and parent not in table.leases):
            return
        self.processes += 1
        process = evolve(me(), pid=self.processes)
        asked = wanted(pod_id, process)
        taken = evolve(asked, holder=None, pending_nonce="n", pending_deadline=1.0)
        try:
            lent = table.lend(taken)
        except ScopeConflict:
            return
        self.tables += [lent, lent.adopt(pod_id, "n", process)]
        self.recorded[pod_id] = asked

    def end(self, pod_id: str) -> None:
        """Its tree is gone, its lease is released, its children are its parent's, and on record."""
        gone = self.recorded.pop(pod_id, None)
        if gone is None:
            return
        assert gone.holder is not None
        self.dead.add(gone.holder)
        self.tables.append(self.tables[-1].release(pod_id))
        for other, held in self.recorded.items():
            if held.parent_id == pod_id:
                self.recorded[other] = evolve(held, parent_id=gone.parent_id)

    def on_record(self) -> Recorded:
        """As the journals have it: parents first."""
        order = [one for one in PLACES if one in self.recorded]
        leases = [RecordedLease(lease=self.recorded[one]) for one in order]
        return Recorded(
            leases=leases,
            living=frozenset(self.recorded),
            supervisors=frozenset({"default"}),
        )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["spawn", "end"]), st.sampled_from(sorted(PLACES)))),
    st.integers(1, 4),
)
def test_whatever_was_lost_every_living_pod_has_its_own_and_nobody_elses(
    acts: list[tuple[str, str]], lost: int
) -> None:
    history = History()
    for act, pod_id in acts:
        (history.spawn if act == "spawn" else history.end)(pod_id)
    current = history.tables[-1]
    for before in (history.tables[max(0, len(history.tables) - 1 - lost)], Table()):
        found = recovered(before, history.on_record(), history.dead.__contains__)
        assert set(found.leases) == set(current.leases)
        for pod_id, held in current.leases.items():
            again = found.leases[pod_id]
            assert (again.holder, again.parent_id) == (held.holder, held.parent_id)
            assert again.grant.allow == held.grant.allow
            assert set(again.grant.deny) >= set(history.recorded[pod_id].grant.deny)
