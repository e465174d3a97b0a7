"""What a failed start again left does not go: its lease stays, on a clock of the test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing
from attrs import define, field

from clock_support import EPOCH, KEEPER, add_running, supervisor_on_clock
from pods.scope.leases import LEASE_PENDING_SECONDS, Lease
from pods.scope.table import Table
from pods.supervisor import restart
from pods_protocol.errors import TimedOut
from pods_protocol.values import ScopeGrant

KILL_SECONDS = 10.0
"""What an attempt takes that is in vain."""


@define
class Registry:
    """Stands in for the registry and its worker; a pending lease lapses at its deadline."""

    known: Table = field(factory=Table)

    async def submit(self, act: Callable[[Table], tuple[Table, Any]]) -> Any:
        """Perform an act on what has not lapsed."""
        over = [one.pod_id for one in self.known.leases.values() if self._has_lapsed(one)]
        self.known, result = act(self.known.reclaim(over))
        return result

    def _has_lapsed(self, lease: Lease) -> bool:
        deadline = lease.pending_deadline
        return deadline is not None and deadline < EPOCH + trio.current_time()


@define
class Keeper:
    """Stands in for a keeper that was reached."""

    closed: trio.Event = field(factory=trio.Event)

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("reached", [False, True])
async def test_the_lease_of_what_does_not_go_is_kept_until_it_is_gone(
    reached: bool,
    short_dir: str,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with supervisor_on_clock(short_dir) as supervisor:
        live = add_running(supervisor, "p")
        if reached:
            live.keeper = cast("Any", Keeper())
        lease = Lease(
            pod_id="p", name="p", supervisor="t", parent_id=None, grant=ScopeGrant(), holder=None,
            pending_nonce="n", pending_deadline=EPOCH + LEASE_PENDING_SECONDS, spawner=KEEPER,
        )  # fmt: skip
        registry = Registry(Table.of([lease]))
        supervisor.registry = supervisor.registry_worker = cast("Any", registry)
        goes = trio.current_time() + 1000.0
        kills = 0

        async def kill_tree(*_: object) -> None:
            nonlocal kills
            kills += 1
            if trio.current_time() < goes:
                await trio.sleep(KILL_SECONDS)
                raise TimedOut("cannot end pod p", timeout_seconds=KILL_SECONDS)

        monkeypatch.setattr(restart, "kill_tree", kill_tree)
        ended: list[float] = []

        async def end_attempt() -> None:
            await restart.end_attempt(supervisor, live, supervisor.known("p"))
            ended.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_attempt)
            while trio.current_time() < goes:
                await trio.sleep(LEASE_PENDING_SECONDS / 4)
                # Somebody else's act, which would take the ground of a lease that has lapsed.
                await registry.submit(lambda table: (table, None))
                assert "p" in registry.known.leases
                assert not ended or trio.current_time() >= goes
        assert ended
        assert registry.known.leases["p"].pending_nonce == "n", "whoever took it still has it"
        assert kills > 10


async def test_a_supervisor_that_ends_does_not_wait_for_it(
    short_dir: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def kill_tree(*_: object) -> None:
        raise TimedOut("cannot end pod p", timeout_seconds=KILL_SECONDS)

    monkeypatch.setattr(restart, "kill_tree", kill_tree)
    async with supervisor_on_clock(short_dir) as supervisor:
        live = add_running(supervisor, "p")
        supervisor.registry = supervisor.registry_worker = cast("Any", Registry())
        with trio.move_on_after(5.0) as leaving:
            await restart.end_attempt(supervisor, live, supervisor.known("p"))
        assert leaving.cancelled_caught
        assert trio.current_time() == pytest.approx(leaving.deadline)
