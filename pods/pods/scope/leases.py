"""What one pod holds, and where two pods would write the same path.

Pure. Owns the lease: its territory, when it is over by itself, and how two of them clash. Must not
know the other leases, the registry file, clocks or processes; `table` keeps many of them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from pods.scope.regions import (
    Region,
    contains,
    has_path,
    intersect,
    is_canonical,
    is_cut,
    region_of,
)
from pods.scope.rules import describe, rule_to_data
from pods_protocol.errors import InvalidScope, ScopeConflict, ScopeNotDelegable
from pods_protocol.values import ProcessIdentity, ScopeGrant, ScopeRule

LEASE_PENDING_SECONDS: Final = 60.0
"""A lease whose pod never came up is reclaimed after this, whatever became of who took it: longer
than any start that succeeds."""


@frozen(kw_only=True)
class Lease:
    """What one pod holds, and who answers for it.

    Attributes:
        pod_id: unique for ever.
        name: unique within `supervisor`.
        parent_id: the lease that this one is lent from; None for a pod that a person asked for.
        grant: canonical rules. In a table, `deny` includes the denies of all ancestors.
        holder: the process that keeps the lease alive. It should be the keeper, which ends only
            after the pod's whole tree has. While the lease is pending: who took it, or None.
        pending_nonce: what `adopt` must show; None once adopted.
        pending_deadline: seconds since the epoch after which a pending lease lapses.
        spawner: the process that took the lease, where `holder` does not say so.
        guardian: who gets, and kills, what a killed holder leaves of the pod's tree. While it lives
            the tree may still be dying; None where nobody does that.
    """

    pod_id: str
    name: str
    supervisor: str
    parent_id: str | None
    grant: ScopeGrant
    holder: ProcessIdentity | None
    pending_nonce: str | None
    pending_deadline: float | None
    spawner: ProcessIdentity | None = None
    guardian: ProcessIdentity | None = None

    @property
    def is_pending(self) -> bool:
        """Whether its process has not adopted it yet."""
        return self.pending_nonce is not None

    @property
    def rules(self) -> tuple[ScopeRule, ...]:
        """What the pod has itself and what it may lend."""
        return (*self.grant.allow, *self.grant.delegable)

    @property
    def territory(self) -> tuple[ScopeRule, ...]:
        """The rules whose ground no stranger may write on; the denies still cut holes into it."""
        return tuple(rule for rule in self.rules if rule.permission == "write")

    def check(self) -> None:
        """Refuse what no table may hold.

        Raises:
            InvalidScope: a target is not canonical (`normalise_rules` was not asked).
            ValueError: neither pending nor held, which is a bug of the caller.
        """
        for rule in (*self.grant.allow, *self.grant.deny, *self.grant.delegable):
            if not is_canonical(rule.target):
                raise InvalidScope(
                    f"cannot lend {describe(rule)} to {self.name!r}: the path is not canonical; "
                    "resolve it before it is compared",
                    target=rule.target,
                )
        if self.is_pending != (self.pending_deadline is not None):
            raise ValueError("a pending lease has a nonce and a deadline, any other has neither")
        if self.holder is None and not self.is_pending:
            raise ValueError("a lease that is not pending has a holder")

    def is_held_as(self, before: Lease) -> bool:
        """Whether it is the hold that was seen before: nobody has taken or adopted it since.

        Whom it is lent from, and who would clear up after its holder, may have changed meanwhile.
        """
        return (self.holder, self.pending_nonce, self.pending_deadline) == (
            before.holder,
            before.pending_nonce,
            before.pending_deadline,
        )

    def is_over(self, now: float, boot: str, is_gone: Callable[[ProcessIdentity], bool]) -> bool:
        """Whether the lease has died by itself: nothing of its pod can be alive any more.

        A holder that was killed proves nothing while its guardian lives: who is to kill what the
        holder kept may not have begun. The guardian's supervisor releases such a lease, once the
        guardian has said that nothing is left.

        Args:
            now: seconds since the epoch.
            boot: of the machine, now. Of another boot nothing lives.
            is_gone: says of a process of this boot whether it has ended.
        """
        process = self.holder or self.spawner
        if process is not None and process.boot_id != boot:
            return True
        if self.is_pending:
            return (self.pending_deadline or 0.0) <= now
        return all(
            process is None or process.boot_id != boot or is_gone(process)
            for process in (self.holder or self.spawner, self.guardian)
        )

    def denied(self, rules: Iterable[ScopeRule]) -> Lease:
        """This lease with these denies beside its own."""
        more = tuple(rule for rule in dict.fromkeys(rules) if rule not in self.grant.deny)
        if not more:
            return self
        return evolve(self, grant=evolve(self.grant, deny=(*self.grant.deny, *more)))

    def lifted(self, above: Sequence[tuple[str, ScopeGrant]], holding: Container[str]) -> Lease:
        """This lease as lent from the nearest of its ancestors that holds one, or from a person.

        What those in between deny, it is denied still: their leases have lapsed and say nothing.

        Args:
            above: its ancestors with their grants, the nearest first; with none it stays as it is.
            holding: who holds a lease.
        """
        passed: list[ScopeRule] = []
        for pod_id, grant in above:
            if pod_id in holding:
                return evolve(self.denied(passed), parent_id=pod_id)
            passed.extend(grant.deny)
        return evolve(self.denied(passed), parent_id=None) if above else self

    def is_holding(self, path: str) -> bool:
        """Whether the path is on this lease's territory."""
        return any(has_path(region_of(rule), path) for rule in self.territory) and not any(
            has_path(region_of(rule), path) for rule in self.grant.deny
        )


@frozen(kw_only=True)
class Conflict:
    """Who would write where somebody else wants to, by which rule, and against which."""

    owner: Lease
    owned: ScopeRule
    requested: ScopeRule

    @property
    def owner_data(self) -> dict[str, Any]:
        """The owner as an error carries it."""
        return {
            "owner": self.owner.name,
            "owner_id": self.owner.pod_id,
            "owner_supervisor": self.owner.supervisor,
            "owner_rule": rule_to_data(self.owned),
        }

    def refusal_of(self, lease: Lease) -> ScopeConflict:
        """The error for the lease that is not granted."""
        return ScopeConflict(
            f"cannot lend {describe(self.requested)} to {lease.name!r}: the pod "
            f"{self.owner.name!r} holds {describe(self.owned)}; choose another place, ask for "
            f"read, or wait until {self.owner.name!r} has ended",
            requested=rule_to_data(self.requested),
            **self.owner_data,
        )


def undelegable(
    lease: Lease, parent: Lease, rule: ScopeRule, *, is_denied: bool, conflict: Conflict | None
) -> ScopeNotDelegable:
    """The error for a rule that the parent of a lease may not lend.

    Args:
        lease, parent, rule: what is asked, from whom, and what of it is refused.
        is_denied: it would be within what the parent may lend, were it not for a deny.
        conflict: who has it, where somebody has.
    """
    lendable = parent.grant.delegable
    why = "a deny takes all of it" if is_denied else "that is outside what it may lend"
    offer = ", ".join(describe(outer) for outer in lendable) or "nothing"
    held = f"the pod {conflict.owner.name!r} holds it; " if conflict else ""
    return ScopeNotDelegable(
        f"cannot lend {describe(rule)} to {lease.name!r}: {held}{why}; its parent "
        f"{parent.name!r} may lend {offer}",
        parent=parent.name,
        requested=rule_to_data(rule),
        delegable=[rule_to_data(outer) for outer in lendable],
        **(conflict.owner_data if conflict else {}),
    )


def clash(first: Lease, second: Lease) -> tuple[ScopeRule, ScopeRule] | None:
    """The first pair of rules by which both leases would write the same path, if there is one."""
    theirs = [(rule, region_of(rule)) for rule in second.territory]
    holes: list[Region] | None = None
    for rule in first.territory:
        region = region_of(rule)
        for other, other_region in theirs:
            shared = intersect(region, other_region)
            if shared is None:
                continue
            if holes is None:
                holes = [region_of(deny) for deny in (*first.grant.deny, *second.grant.deny)]
            if not is_cut(shared, holes):
                return rule, other
    return None


def takes_all(rule: ScopeRule, denied: list[Region], lease: Lease) -> bool:
    """Whether a descendant's lease leaves nothing of a rule that `denied` does not take anyway."""
    region = region_of(rule)
    if not any(contains(region_of(other), region) for other in lease.territory):
        return False
    for deny in lease.grant.deny:
        spared = intersect(region_of(deny), region)
        if spared is not None and not is_cut(spared, denied):
            return False
    return True
