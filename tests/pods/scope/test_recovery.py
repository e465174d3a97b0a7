"""A registry whose newest writes were lost: no living pod loses its scope by it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

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

    def __init__(self, *held: Lease, whole: bool = True) -> None:
        self.held = held
        self.whole = whole
        self.asked = 0

    def __call__(self) -> Recorded:
        self.asked += 1
        return Recorded(
            leases=[RecordedLease(lease=one) for one in self.held],
            living=frozenset(one.pod_id for one in self.held),
            supervisors=frozenset({"default"}),
            whole=self.whole,
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
    mine.transact(lend(pending("b1", ["w /src/api/**"], seconds=0.5)))
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


def test_where_neither_generation_nor_all_records_can_be_read_nothing_is_granted(
    path: str,
) -> None:
    ScopeRegistry(path).transact(lend(lease("a")))
    tear_both(path)
    registry = ScopeRegistry(path, on_record=Records(whole=False))
    with pytest.raises(RegistryBroken, match="not JSON"):
        registry.transact(lend(lease("b")))
    with pytest.raises(RegistryBroken, match="not JSON"):
        registry.read()
    assert Path(path).read_text() == "{torn"


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
