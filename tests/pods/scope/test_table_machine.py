"""Leases taken, adopted, lent on, lost, guarded and retaken, against the brute-force model.

`test_table_model` has the laws of lending; here are the lives of leases: pending ones lapse,
holders and guardians die, a pod takes its scope back after its lease lapsed, and what was lent goes
up to the next above and down again.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from effort import examples
from pods.scope.leases import Lease
from pods.scope.table import Table
from pods_protocol.errors import NotAuthorized, ScopeConflict, ScopeNotDelegable, UnknownPod
from pods_protocol.values import ProcessIdentity, ScopeGrant, ScopeRule
from scope_histories import check_laws, grants, lease_of, request
from scope_model import Holder, Model, paths_of, union

BOOT = "boot"
PENDING_SECONDS = 60.0
CHOICE = st.integers(0, 23)


@attrs.define
class Kept:
    """What the model knows of one lease beside its rules.

    Attributes:
        nonce: what adopts it; None once adopted.
        deadline: when it lapses while it is pending.
        holder, guardian: pids; a lease is over by itself when both have ended.
    """

    nonce: str | None
    deadline: float
    holder: int | None = None
    guardian: int | None = None


@attrs.frozen
class Lost:
    """A pod whose lease is gone though it lives: what it would take back."""

    parent: str | None
    grant: ScopeGrant
    children: tuple[str, ...]


def process(pid: int) -> ProcessIdentity:
    """A process of this boot."""
    return ProcessIdentity(pid=pid, start_ticks=pid, boot_id=BOOT)


class Scopes(RuleBasedStateMachine):
    """A registry without a file, a lock or a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.model = Model()
        self.kept: dict[str, Kept] = {}
        self.lost: dict[str, Lost] = {}
        self.dead: set[int] = set()
        self.now = 1000.0
        self.count = 0

    def number(self) -> int:
        self.count += 1
        return self.count

    def known(self, choice: int) -> str | None:
        names = list(self.model.pods)
        return names[choice % len(names)] if names else None

    def forget(self, pod_id: str) -> None:
        """The model's side of a lease that goes; its children go to the next above."""
        pod = self.model.pods[pod_id]
        below = tuple(one for one, other in self.model.pods.items() if other.parent == pod_id)
        self.lost[pod_id] = Lost(pod.parent, pod.grant, below)
        self.model.release(pod_id)
        del self.kept[pod_id]

    # Acts ---------------------------------------------------------------------------------------

    @initialize(deep=st.booleans())
    def begin_with_three_below_each_other(self, deep: bool) -> None:
        """Chance alone rarely lends what was lent."""
        above: str | None = None
        for target in ("/", "/a", "/a/b") if deep else ():
            rules = (ScopeRule(target=target, permission="write"),)
            grant = ScopeGrant(allow=rules, delegable=rules)
            pod_id, nonce = f"pod{self.number()}", f"nonce{self.count}"
            self.table = self.table.lend(self.pending(pod_id, above, grant, nonce))
            assert self.model.lend(pod_id, above, grant) == "granted"
            self.kept[pod_id] = Kept(nonce, self.now + PENDING_SECONDS)
            above = pod_id

    @rule(choice=CHOICE, grant=grants)
    def take(self, choice: int, grant: ScopeGrant) -> None:
        pod_id, nonce = f"pod{self.number()}", f"nonce{self.count}"
        above = {one: pod.grant for one, pod in self.model.pods.items()}
        parent, grant = request(choice, list(self.model.pods), grant, above)
        before = dict(self.table.leases)
        verdict = self.model.lend(pod_id, parent, grant)
        try:
            self.table = self.table.lend(self.pending(pod_id, parent, grant, nonce))
        except ScopeNotDelegable:
            assert verdict == "not delegable"
        except ScopeConflict:
            assert verdict == "conflict"
        else:
            assert verdict == "granted"
            self.kept[pod_id] = Kept(nonce, self.now + PENDING_SECONDS)
        if verdict != "granted":
            assert self.table.leases == before

    def pending(self, pod_id: str, parent: str | None, grant: ScopeGrant, nonce: str) -> Lease:
        return attrs.evolve(
            lease_of(pod_id, parent, grant),
            holder=None,
            pending_nonce=nonce,
            pending_deadline=self.now + PENDING_SECONDS,
            spawner=process(1),
        )

    @rule(choice=CHOICE, right=st.booleans(), again=st.booleans())
    def adopt(self, choice: int, right: bool, again: bool) -> None:
        pod_id = self.known(choice)
        if pod_id is None:
            with pytest.raises(UnknownPod):
                self.table.adopt("nobody", "nonce", process(2))
            return
        kept = self.kept[pod_id]
        holder, guardian = self.number() + 100, self.number() + 100
        nonce = kept.nonce if right and kept.nonce else "another"
        if kept.nonce is None and kept.holder is not None and again:
            assert self.table.adopt(pod_id, nonce, process(kept.holder)) is self.table
        elif nonce != kept.nonce:
            with pytest.raises(NotAuthorized):
                self.table.adopt(pod_id, nonce, process(holder))
        else:
            self.table = self.table.adopt(pod_id, nonce, process(holder), process(guardian))
            self.kept[pod_id] = Kept(None, 0.0, holder, guardian)

    @rule(choice=CHOICE, right=st.booleans())
    def guard(self, choice: int, right: bool) -> None:
        pod_id = self.known(choice)
        if pod_id is None:
            return
        kept, guardian = self.kept[pod_id], self.number() + 100
        holder = kept.holder if right and kept.holder is not None else 99
        table = self.table.guarded(pod_id, process(holder), process(guardian))
        if holder == kept.holder:
            kept.guardian = guardian
            self.table = table
        else:
            assert table is self.table

    @rule(choice=CHOICE)
    def release(self, choice: int) -> None:
        pod_id = self.known(choice)
        if pod_id is None:
            assert self.table.release("nobody") is self.table
            return
        self.forget(pod_id)
        self.table = self.table.release(pod_id)

    @rule(choice=CHOICE)
    def retake_what_is_held(self, choice: int) -> None:
        """Another process of the same pod: the scope is never free in between."""
        pod_id = self.known(choice)
        if pod_id is None:
            return
        pod, nonce = self.model.pods[pod_id], f"nonce{self.number()}"
        self.table = self.table.retake(self.pending(pod_id, pod.parent, pod.grant, nonce))
        self.kept[pod_id] = Kept(nonce, self.now + PENDING_SECONDS)

    @rule(choice=CHOICE, with_children=st.booleans())
    def retake_what_was_lost(self, choice: int, with_children: bool) -> None:
        if not self.lost:
            return
        pod_id = list(self.lost)[choice % len(self.lost)]
        lost, nonce = self.lost[pod_id], f"nonce{self.number()}"
        parent = lost.parent if lost.parent in self.model.pods else None
        children = lost.children if with_children else ()
        before = dict(self.table.leases)
        verdict = self.lend_over(pod_id, parent, lost.grant, children)
        try:
            self.table = self.table.retake(
                self.pending(pod_id, parent, lost.grant, nonce), children
            )
        except ScopeNotDelegable:
            assert verdict == "not delegable"
        except ScopeConflict:
            assert verdict == "conflict"
        else:
            assert verdict == "granted"
            del self.lost[pod_id]
            self.kept[pod_id] = Kept(nonce, self.now + PENDING_SECONDS)
        if verdict != "granted":
            assert self.table.leases == before

    @rule(choice=CHOICE)
    def lose_and_retake(self, choice: int) -> None:
        """What a minute without a supervisor does to a pod that is being started again."""
        pod_id = self.known(choice)
        if pod_id is not None:
            self.release(choice)
            self.retake_what_was_lost(list(self.lost).index(pod_id), with_children=True)

    @rule(choice=CHOICE, order=st.permutations(range(4)), count=st.integers(2, 4))
    def lose_a_line_and_retake_it(self, choice: int, order: list[int], count: int) -> None:
        """Several of a line of pods start again side by side: who is first changes nothing."""
        last = self.known(choice)
        if last is None:
            return
        line = [last, *self.model.ancestors(last)]
        lost = [line[place] for place in order[:count] if place < len(line)]
        before = dict(self.table.leases)
        self.table = self.table.reclaim(lost)
        for pod_id in lost:
            pod, nonce = self.model.pods[pod_id], f"nonce{self.number()}"
            above = [(one, self.model.pods[one].grant) for one in self.model.ancestors(pod_id)]
            lease = self.pending(pod_id, pod.parent, pod.grant, nonce)
            self.table = self.table.retake(lease, self.model.descendants(pod_id), above)
            self.kept[pod_id] = Kept(nonce, self.now + PENDING_SECONDS)
            Table.of(self.table.leases.values())
        assert self.table.leases.keys() == before.keys()
        for pod_id, was in before.items():
            lease = self.table.leases[pod_id]
            assert lease.parent_id == was.parent_id
            assert set(lease.grant.deny) == set(was.grant.deny)

    def lend_over(
        self, pod_id: str, parent: str | None, grant: ScopeGrant, children: tuple[str, ...]
    ) -> str:
        """The model's lending to a pod that has children already, by sets of paths."""
        pods = self.model.pods
        above: set[str] = set() if parent is None else {parent, *self.model.ancestors(parent)}
        own = [
            child
            for child in children
            if child in pods
            and child not in above
            and all(
                paths_of(one) <= union(grant.delegable, one.permission)
                for one in (*pods[child].grant.allow, *pods[child].grant.delegable)
            )
        ]
        before = {child: pods[child].parent for child in own}
        pods[pod_id] = Holder(parent, grant)
        for child in own:
            pods[child].parent = pod_id
        aside = {one: pods.pop(one) for one in self.model.descendants(pod_id)}
        del pods[pod_id]
        verdict = self.model.lend(pod_id, parent, grant)
        pods.update(aside)
        if verdict != "granted":
            for child, old in before.items():
                pods[child].parent = old
        return verdict

    # What happens by itself ---------------------------------------------------------------------

    @rule(choice=CHOICE, who=st.sampled_from(["holder", "guardian", "both"]))
    def die(self, choice: int, who: str) -> None:
        pod_id = self.known(choice)
        if pod_id is not None:
            kept = self.kept[pod_id]
            gone = {"holder": [kept.holder], "guardian": [kept.guardian]}
            self.dead |= {pid for pid in gone.get(who, [kept.holder, kept.guardian]) if pid}

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def sweep(self, seconds: float) -> None:
        """Time goes by, and somebody looks for leases that are over."""
        self.now += seconds
        over = [one.pod_id for one in self.table.leases.values() if self.is_over(one)]
        expected = {
            pod_id
            for pod_id, kept in self.kept.items()
            if (kept.nonce is not None and kept.deadline <= self.now)
            or (kept.nonce is None and {kept.holder, kept.guardian} <= self.dead)
        }
        assert set(over) == expected
        self.table = self.table.reclaim(over)
        for pod_id in over:
            self.forget(pod_id)

    def is_over(self, lease: Lease) -> bool:
        return lease.is_over(self.now, BOOT, lambda one: one.pid in self.dead)

    # What must hold -----------------------------------------------------------------------------

    @invariant()
    def the_laws_hold(self) -> None:
        assert set(self.table.leases) == set(self.model.pods)
        check_laws(self.table, self.model)

    @invariant()
    def each_lease_says_whose_it_is(self) -> None:
        for pod_id, kept in self.kept.items():
            lease = self.table.leases[pod_id]
            assert lease.pending_nonce == kept.nonce
            assert lease.is_pending == (kept.nonce is not None)
            held: Any = None if kept.holder is None else process(kept.holder)
            assert lease.holder == held
            if held is not None:
                assert lease.guardian is not None
                assert lease.guardian.pid == kept.guardian

    @invariant()
    def a_table_read_from_disk_is_the_same(self) -> None:
        assert Table.of(self.table.leases.values()) == self.table


TestScopes = Scopes.TestCase
TestScopes.settings = settings(max_examples=examples(25), stateful_step_count=15, deadline=None)
