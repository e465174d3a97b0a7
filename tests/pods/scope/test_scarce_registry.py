"""No descriptor is left: the registry refuses, and takes nobody for dead, nothing for damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pods.scope import identity
from pods.scope.identity import identify, is_alive
from pods.scope.recovery import Recorded
from pods.scope.registry import ScopeRegistry
from pods.scope.table import Table
from pods_protocol.errors import CapacityReached, PodsError
from scarcity import make_scarce
from scope_support import lease, me

MOST_CALLS = 100
"""Far more than an act makes."""


def _lend(registry: ScopeRegistry, pod_id: str, target: str) -> None:
    def lend(table: Table) -> tuple[Table, None]:
        return table.lend(lease(pod_id, [target])), None

    registry.transact(lend)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("most", [None, 1])
def test_an_act_without_descriptors_is_refused_and_changes_nothing(
    code: int, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "scopes"
    path = str(directory / "registry.json")
    # Somebody else's, so that each of these reads the file as it is.
    _lend(ScopeRegistry(path), "holder", "w /held/**")
    _lend(ScopeRegistry(path), "other", "w /other/**")
    scarcity = make_scarce(monkeypatch, code)
    refusals = 0
    for calls in range(MOST_CALLS):
        registry = ScopeRegistry(path, on_record=Recorded)
        refusal: PodsError | None = None
        with scarcity.after(calls, most=most):
            try:
                _lend(registry, "late", "w /late/**")
            except PodsError as error:
                refusal = error
        held = ScopeRegistry(path).read().leases
        assert {"holder", "other"} <= held.keys()
        assert not list(directory.glob("*.broken-*"))
        assert not list(directory.glob("*.tmp"))
        if refusal is None:
            assert "late" in held
            if not scarcity.refused:
                break
            registry.transact(lambda table: (table.release("late"), None))
        else:
            assert isinstance(refusal, CapacityReached), refusal
            assert "late" not in held
            refusals += 1
    else:
        raise AssertionError("no act succeeded undisturbed")
    assert refusals > 3


def test_a_process_that_cannot_be_looked_at_counts_as_living(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = me()
    scarcity = make_scarce(monkeypatch)
    with scarcity.after(0):
        assert is_alive(own)
        with pytest.raises(CapacityReached, match="the machine has no open file left"):
            identify(os.getpid())
        with pytest.raises(CapacityReached):
            identity.parent_of(os.getpid())
        assert identity.memory_bytes(os.getpid()) is None
        assert scarcity.refused == 4
