"""The table of leases and its laws: who holds what, what may be lent, who stands in the way.

Pure: a table is a value and every act returns another one or raises and changes nothing. Paths are
canonical absolute strings (`normalise` makes them so). Must not know the registry file, clocks or
processes. `registry` runs these acts under its lock; the supervisor asks `may_read`, `may_write`,
`effective_write` and `lent`.

Two decisions that the laws rest on:

- A pod's territory is what it may write and what it may lend for writing (`allow` and `delegable`
  of permission write, less its denies). All of it is exclusive against pods that are neither
  ancestors nor descendants. So an orchestrator that writes nothing itself keeps the ground that it
  lends from.
- A lease stores the denies of its ancestors beside its own. So they hold for its children too, and
  still hold when the ancestor has ended and the lease has a new parent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from attrs import evolve, field, frozen

from pods.scope.grounds import enter, neighbours, strike
from pods.scope.leases import Conflict, Lease, clash, takes_all, undelegable
from pods.scope.regions import is_cut, region_of
from pods.scope.rules import covers, holes_for, permits, widest
from pods_protocol.errors import (
    NameTaken,
    NotAuthorized,
    ScopeNotDelegable,
    UnknownPod,
)
from pods_protocol.values import ProcessIdentity, ScopeGrant, ScopeRule


@frozen
class Table:
    """Every lease of the user, by pod id. A value: acts return another table."""

    leases: Mapping[str, Lease] = field(factory=dict[str, Lease])
    _by_target: Mapping[str, tuple[str, ...]] = field(
        factory=dict[str, tuple[str, ...]], eq=False, repr=False, alias="by_target"
    )
    """Who has ground where: kept and asked by `grounds`."""

    @classmethod
    def of(cls, leases: Iterable[Lease]) -> Table:
        """The table of these leases, as read from disk.

        Raises:
            ValueError: two have one id, a parent is missing, or parents go in a circle.
        """
        return cls().patched((), tuple(leases))

    def patched(self, gone: Collection[str], come: Collection[Lease]) -> Table:
        """This table as somebody else has changed it: without some leases, with others.

        Raises:
            ValueError: as `of`.
        """
        leases = dict(self.leases)
        index = dict(self._by_target)
        for pod_id in gone:
            strike(index, leases.pop(pod_id))
        for lease in come:
            if lease.pod_id in leases:
                raise ValueError(f"two leases have the id {lease.pod_id}")
            leases[lease.pod_id] = lease
            enter(index, lease)
        table = Table(leases, index)
        gone_ids = frozenset(gone)
        for lease in leases.values() if gone_ids else come:
            if lease.parent_id is not None and lease.parent_id not in leases:
                raise ValueError(f"the parent of {lease.pod_id} is missing")
        for lease in come:
            table._check_chain(lease)
        return table

    def _check_chain(self, lease: Lease) -> None:
        steps = 0
        at = lease.parent_id
        while at is not None:
            steps += 1
            if steps > len(self.leases):
                raise ValueError(f"the parents of {lease.pod_id} go in a circle")
            at = self.leases[at].parent_id

    def ancestors(self, pod_id: str) -> Iterator[Lease]:
        """The parent, its parent, and so on."""
        at = self._lease(pod_id).parent_id
        while at is not None:
            lease = self.leases[at]
            yield lease
            at = lease.parent_id

    def descendants(self, pod_id: str) -> Iterator[Lease]:
        """Everything lent from this pod, nearest first."""
        waiting = list(self._children.get(pod_id, ()))
        for child in waiting:
            yield self.leases[child]
            waiting.extend(self._children.get(child, ()))

    def lend(self, lease: Lease, *, once_lent: Collection[str] = ()) -> Table:
        """The table with one lease more.

        The lease that is stored has its ancestors' denies added to its own.

        Args:
            lease: what to lend, and from whom.
            once_lent: pods that had theirs from it before it lapsed, and have them from it again.

        Raises:
            InvalidScope, ValueError: as `Lease.check`.
            NameTaken: a lease of that id exists.
            ScopeNotDelegable: the parent has ended, or may not lend one of the rules.
            ScopeConflict: a pod that is no ancestor holds some of it; the deepest one is named.
        """
        lease.check()
        if lease.pod_id in self.leases:
            taken = self.leases[lease.pod_id]
            raise NameTaken(
                f"cannot lend a scope to {lease.name!r}: the pod {taken.name!r} has its id "
                f"{lease.pod_id}; use a new id",
                name=taken.name,
                id=taken.pod_id,
                state="starting" if taken.is_pending else "idle",
            )
        if lease.parent_id is not None:
            lease = self._inherit(lease)
        below = self._within(lease, once_lent)
        conflict = self._find_conflict(lease, below)
        if conflict is not None:
            raise conflict.refusal_of(lease)
        index = dict(self._by_target)
        enter(index, lease)
        again = {pod_id: evolve(self.leases[pod_id], parent_id=lease.pod_id) for pod_id in below}
        return Table({**self.leases, **again, lease.pod_id: lease}, index)

    def retake(
        self,
        lease: Lease,
        below: Collection[str] = (),
        above: Sequence[tuple[str, ScopeGrant]] = (),
    ) -> Table:
        """The table with a pod's lease pending once more, for the pod's next process.

        The rules of a lease that is there stay as they are, and what is lent from it stays lent:
        between two processes of one pod its scope is never free. One that lapsed meanwhile is lent
        anew, and what the pod's own descendants hold does not stand in its way: it is below it
        again. Where its parent's lapsed, too, it is lent from the nearest above that holds one,
        and comes below its parent again once that has taken its own.

        Args:
            lease: as it is to be while it is pending.
            below: the pod's living descendants.
            above: the pod's ancestors with their grants, the nearest first.

        Raises:
            InvalidScope, ScopeNotDelegable, ScopeConflict: as `lend`.
        """
        held = self.leases.get(lease.pod_id)
        if held is None:
            return self.lend(lease.lifted(above, self.leases), once_lent=below)
        return self._replaced(
            evolve(
                held,
                holder=None,
                pending_nonce=lease.pending_nonce,
                pending_deadline=lease.pending_deadline,
                spawner=lease.spawner,
            )
        )

    def adopt(
        self,
        pod_id: str,
        nonce: str,
        holder: ProcessIdentity,
        guardian: ProcessIdentity | None = None,
    ) -> Table:
        """The table with a pending lease made firm; repeating it for the same holder is harmless.

        Args:
            pod_id: whose lease.
            nonce: what the lease was taken with.
            holder: who keeps it alive from here on.
            guardian: who answers for what a killed holder leaves.

        Raises:
            UnknownPod: no such lease: it was released or has lapsed. The process must not run on.
            NotAuthorized: another nonce, or the lease has another holder.
        """
        lease = self._lease(pod_id)
        if lease.holder == holder and not lease.is_pending:
            return self
        if not lease.is_pending or lease.pending_nonce != nonce:
            raise NotAuthorized(
                f"cannot adopt the scope of {lease.name!r}: it was taken for another process; end "
                "this one",
                pod=lease.name,
            )
        return self._replaced(
            evolve(
                lease,
                holder=holder,
                guardian=guardian,
                pending_nonce=None,
                pending_deadline=None,
            )
        )

    def guarded(self, pod_id: str, holder: ProcessIdentity, guardian: ProcessIdentity) -> Table:
        """The table with another answering for what a killed holder leaves.

        Args:
            pod_id: whose lease; one that is gone, pending or another holder's stays as it is.
            holder: who keeps it alive.
            guardian: who answers for that from here on.
        """
        lease = self.leases.get(pod_id)
        if lease is None or lease.holder != holder or lease.is_pending:
            return self
        return self._replaced(evolve(lease, guardian=guardian))

    def release(self, pod_id: str) -> Table:
        """The table without a lease; its children go to its parent. Unknown ids change nothing."""
        return self.reclaim((pod_id,))

    def reclaim(self, dead: Collection[str]) -> Table:
        """The table without these leases; what is lent from them goes to the nearest that lives."""
        gone = {pod_id for pod_id in dead if pod_id in self.leases}
        if not gone:
            return self
        leases: dict[str, Lease] = {}
        index = dict(self._by_target)
        for pod_id, lease in self.leases.items():
            if pod_id in gone:
                strike(index, lease)
                continue
            parent_id = lease.parent_id
            while parent_id in gone:
                parent_id = self.leases[parent_id].parent_id
            is_same = parent_id == lease.parent_id
            leases[pod_id] = lease if is_same else evolve(lease, parent_id=parent_id)
        return Table(leases, index)

    def children(self, pod_id: str) -> Iterator[Lease]:
        """The leases right below one."""
        for child in self._children.get(pod_id, ()):
            yield self.leases[child]

    def lent(self, pod_id: str) -> tuple[ScopeRule, ...]:
        """What living descendants hold of this pod's ground: their widest rules, each once.

        Raises:
            UnknownPod: it holds no lease.
        """
        self._lease(pod_id)
        rules = [rule for lease in self.descendants(pod_id) for rule in lease.territory]
        return widest(rules)

    def effective_write(self, pod_id: str) -> tuple[ScopeRule, ...]:
        """The pod's own write rules that leave it anything; `lent` and its denies cut into them.

        Raises:
            UnknownPod: it holds no lease.
        """
        lease = self._lease(pod_id)
        denied = [region_of(rule) for rule in lease.grant.deny]
        return tuple(
            rule
            for rule in lease.grant.allow
            if rule.permission == "write"
            and not is_cut(region_of(rule), denied)
            and not any(takes_all(rule, denied, other) for other in self.descendants(pod_id))
        )

    def may_write(self, pod_id: str, path: str) -> bool:
        """Whether the pod may write a canonical path now.

        Raises:
            UnknownPod: it holds no lease.
        """
        grant = self._lease(pod_id).grant
        return (
            any(rule.permission == "write" and covers(rule, path) for rule in grant.allow)
            and not any(covers(rule, path) for rule in grant.deny)
            and not any(lease.is_holding(path) for lease in self.descendants(pod_id))
        )

    def may_read(self, pod_id: str, path: str) -> bool:
        """Whether the pod may read a canonical path; what is lent stays readable.

        Raises:
            UnknownPod: it holds no lease.
        """
        grant = self._lease(pod_id).grant
        return any(covers(rule, path) for rule in grant.allow) and not any(
            rule.permission == "read" and covers(rule, path) for rule in grant.deny
        )

    def depth(self, pod_id: str) -> int:
        """1 for a pod that a person asked for, 2 for its children, and so on."""
        return 1 + sum(1 for _ in self.ancestors(pod_id))

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for lease in self.leases.values():
            if lease.parent_id is not None:
                children.setdefault(lease.parent_id, []).append(lease.pod_id)
        return children

    def _lease(self, pod_id: str) -> Lease:
        lease = self.leases.get(pod_id)
        if lease is None:
            raise UnknownPod(
                f"cannot use the scope of {pod_id}: it holds none; it has ended or its start took "
                "too long, so start it anew",
                pod=pod_id,
                known=[],
            )
        return lease

    def _replaced(self, lease: Lease) -> Table:
        # Only for a lease with the same grant: the index stays.
        return Table({**self.leases, lease.pod_id: lease}, self._by_target)

    def _inherit(self, lease: Lease) -> Lease:
        parent = self.leases.get(lease.parent_id or "")
        if parent is None:
            raise ScopeNotDelegable(
                f"cannot lend a scope to {lease.name!r}: its parent holds none any more; ask a pod "
                "that runs",
                parent=lease.parent_id,
                requested=None,
                delegable=[],
            )
        lendable = parent.grant.delegable
        for rule in lease.rules:
            within = any(permits(outer, rule) for outer in lendable)
            holes = holes_for(rule.permission, parent.grant.deny)
            if within and not is_cut(region_of(rule), holes):
                continue
            # To a pod that wants what its sibling has, the sibling's name says the most.
            conflict = self._find_conflict(lease, ())
            raise undelegable(lease, parent, rule, is_denied=within, conflict=conflict)
        return lease.denied(parent.grant.deny)

    def _above(self, lease: Lease) -> set[str]:
        """The ids of the ancestors of a lease that need not be in the table."""
        above: set[str] = set()
        at = lease.parent_id
        while at is not None:
            above.add(at)
            at = self.leases[at].parent_id
        return above

    def _within(self, lease: Lease, pod_ids: Collection[str]) -> tuple[str, ...]:
        """The topmost of these that could be lent from it: no kin above, no rule beyond it."""
        above = self._above(lease) if pod_ids else set[str]()
        found = {
            pod_id: None
            for pod_id in pod_ids
            if pod_id in self.leases
            and pod_id not in above
            and all(
                any(permits(outer, rule) for outer in lease.grant.delegable)
                for rule in self.leases[pod_id].rules
            )
        }
        return tuple(
            one for one in found if found.keys().isdisjoint(up.pod_id for up in self.ancestors(one))
        )

    def _find_conflict(self, lease: Lease, below: Collection[str]) -> Conflict | None:
        """The deepest pod, no kin, that would write where the lease would.

        Args:
            lease: which is not in the table.
            below: whose leases will be lent from it.
        """
        related = self._above(lease)
        for pod_id in below:
            related |= {pod_id, *(one.pod_id for one in self.descendants(pod_id))}
        deepest: tuple[tuple[int, int], Conflict] | None = None
        for pod_id in sorted(neighbours(self._by_target, lease) - related):
            owner = self.leases[pod_id]
            pair = clash(lease, owner)
            if pair is None:
                continue
            requested, owned = pair
            rank = (self.depth(pod_id), len(owned.target))
            if deepest is None or rank > deepest[0]:
                deepest = (rank, Conflict(owner=owner, owned=owned, requested=requested))
        return None if deepest is None else deepest[1]
