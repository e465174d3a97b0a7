"""Leases of the dead and of those who never came: gone at the next act, and no others."""

from __future__ import annotations

import os
import subprocess

import attrs
import pytest

from pods.scope import registry as registry_module
from pods.scope.identity import identify
from pods.scope.registry import ScopeRegistry
from pods.scope.table import Table
from pods_protocol.errors import ScopeConflict, UnknownPod
from scope_support import ids, lease, lend, look, me, pending


def test_a_dead_holders_lease_is_gone_at_the_next_act(
    registry: ScopeRegistry, path: str, sleeper: subprocess.Popen[bytes]
) -> None:
    holder = identify(sleeper.pid)
    registry.transact(lend(lease("dead", ["w /p/**"], delegable=["w /p/**"], holder=holder)))
    registry.transact(lend(lease("child", ["w /p/x/**"], parent="dead")))
    assert registry.transact(look) == ["dead", "child"]
    sleeper.kill()
    sleeper.wait()
    assert list(registry.read().leases) == ["child"]
    assert registry.transact(look) == ["child"]
    assert ScopeRegistry(path).read().leases["child"].parent_id is None


def test_fault_16_a_zombie_keeps_nobody_out(
    registry: ScopeRegistry, sleeper: subprocess.Popen[bytes]
) -> None:
    holder = identify(sleeper.pid)
    registry.transact(lend(lease("dead", ["w /p/**"], holder=holder)))
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    registry.transact(lend(lease("next", ["w /p/**"])))


def test_a_dead_holders_lease_stays_while_its_guardian_lives(
    registry: ScopeRegistry, path: str, sleeper: subprocess.Popen[bytes]
) -> None:
    dead = attrs.evolve(me(), start_ticks=1)
    guarded = attrs.evolve(
        lease("guarded", ["w /p/**"], holder=dead), guardian=identify(sleeper.pid)
    )
    registry.transact(lend(guarded))
    with pytest.raises(ScopeConflict):
        ScopeRegistry(path).transact(lend(lease("next", ["w /p/**"])))
    sleeper.kill()
    sleeper.wait()
    ScopeRegistry(path).transact(lend(lease("next", ["w /p/**"])))
    assert ids(path) == ["next"]


def test_a_guardian_of_another_boot_keeps_nobody_out(registry: ScopeRegistry) -> None:
    dead = attrs.evolve(me(), start_ticks=1)
    rebooted = attrs.evolve(me(), boot_id="the boot before")
    registry.transact(lend(attrs.evolve(lease("pod", holder=dead), guardian=rebooted)))
    assert registry.transact(look) == []


def test_fault_16_a_reused_pid_or_an_old_boot_keeps_nobody_out(registry: ScopeRegistry) -> None:
    reused = attrs.evolve(me(), start_ticks=1)
    rebooted = attrs.evolve(me(), boot_id="the boot before")
    registry.transact_many(
        [
            lend(lease("reused", ["w /p/**"], holder=reused)),
            lend(lease("rebooted", ["w /q/**"], holder=rebooted)),
        ]
    )
    registry.transact(lend(lease("next", ["w /p/**", "w /q/**"])))


def test_nobody_is_refused_for_the_sake_of_the_dead_however_many_live(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither the cheap look nor those whose turn it is would find this one.
    monkeypatch.setattr(registry_module, "THOROUGH_CHECKS", 0)
    registry = ScopeRegistry(path)
    reused = attrs.evolve(me(), start_ticks=1)
    registry.transact_many(
        [lend(lease("dead", ["w /p/**"], holder=reused)), lend(lease("live", ["w /q/**"]))]
    )
    outcomes = registry.transact_many(
        [
            lend(lease("next", ["w /p/**"])),
            lend(lease("other", ["w /q/**"])),
            lend(lease("third", ["w /q/x/**"])),
        ]
    )
    assert outcomes[0] == "next"
    assert isinstance(outcomes[1], ScopeConflict)
    assert isinstance(outcomes[2], ScopeConflict)
    assert registry.transact(look) == ["live", "next"]


def test_what_is_refused_even_without_the_dead_stays_refused(registry: ScopeRegistry) -> None:
    reused = attrs.evolve(me(), start_ticks=1)
    outcomes = registry.transact_many(
        [
            lend(lease("dead", ["w /p/**"], holder=reused)),
            lend(lease("live", ["w /q/**"])),
            lend(lease("next", ["w /q/**"])),
        ]
    )
    assert isinstance(outcomes[2], ScopeConflict)
    assert registry.transact(look) == ["live"]


def test_a_thousand_leases_are_looked_at_in_turn(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "THOROUGH_CHECKS", 2)
    registry = ScopeRegistry(path)
    reused = attrs.evolve(me(), start_ticks=1)
    registry.transact_many(
        [lend(lease(f"pod{n}", holder=reused if n == 4 else None)) for n in range(6)]
    )
    found = [registry.transact(look) for _ in range(3)]
    assert "pod4" in found[0]
    assert "pod4" not in found[2]


def test_fault_14_a_pending_lease_ends_with_its_deadline_though_its_spawner_lives(
    registry: ScopeRegistry,
) -> None:
    registry.transact(lend(pending("slow", ["w /p/**"], seconds=-0.001)))
    registry.transact(lend(lease("next", ["w /p/**"])))
    assert registry.transact(look) == ["next"]


def test_a_spawner_that_is_named_as_holder_does_not_outlive_the_deadline(
    registry: ScopeRegistry,
) -> None:
    item = attrs.evolve(pending("slow", ["w /p/**"], seconds=-0.001), holder=me())
    registry.transact(lend(item))
    assert registry.transact(look) == []


def test_fault_15_a_child_that_comes_too_late_is_not_let_in(registry: ScopeRegistry) -> None:
    registry.transact(lend(pending("slow", ["w /p/**"], seconds=-0.001, nonce="n")))
    with pytest.raises(UnknownPod):
        registry.transact(lambda table: (table.adopt("slow", "n", me()), None))


def test_a_pending_lease_outlives_its_spawner_until_the_deadline(
    registry: ScopeRegistry, sleeper: subprocess.Popen[bytes]
) -> None:
    """The pod may be launched already: the next supervisor adopts it."""
    spawner = identify(sleeper.pid)
    registry.transact(lend(pending("pod", ["w /p/**"], spawner=spawner, nonce="n")))
    sleeper.kill()
    sleeper.wait()
    assert registry.transact(look) == ["pod"]
    registry.transact(lambda table: (table.adopt("pod", "n", me()), None))
    assert not registry.read().leases["pod"].is_pending


def test_a_lease_that_was_adopted_meanwhile_is_not_taken_for_the_one_that_lapsed(path: str) -> None:
    one, two = ScopeRegistry(path), ScopeRegistry(path)
    two.transact(lend(lease("other")))
    one.transact(lend(pending("pod", seconds=-0.001, nonce="n")))
    two.transact(lambda table: (table.adopt("pod", "n", me()), None))
    assert one.transact(look) == ["other", "pod"]


def test_a_pending_lease_of_another_boot_is_over(registry: ScopeRegistry) -> None:
    spawner = attrs.evolve(me(), boot_id="the boot before")
    registry.transact(lend(pending("pod", spawner=spawner)))
    assert registry.transact(look) == []


def test_a_lease_without_anybody_behind_it_is_over(registry: ScopeRegistry) -> None:
    def forge(table: Table) -> tuple[Table, None]:
        return Table.of([attrs.evolve(lease("nobody"), holder=None)]), None

    registry.transact(forge)
    assert registry.transact(look) == []
