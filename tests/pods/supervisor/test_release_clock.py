"""A lease that the registry's disk would not give back is tried again, on a clock of the test's."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
import trio
import trio.testing
from attrs import define, field

from clock_support import KEEPER, add_running, supervisor_on_clock
from pods.scope.leases import Lease
from pods.scope.table import Table
from pods.supervisor import acts
from pods.supervisor.core import Supervisor
from pods_protocol.errors import StorageFailed
from pods_protocol.values import ScopeGrant


@define
class Registry:
    """Stands in for the registry and its worker.

    Attributes:
        failing: how many acts its disk refuses.
        times: when it was asked.
        known: its table.
    """

    failing: float
    times: list[float] = field(factory=list[float])
    known: Table = field(factory=Table)

    async def submit(self, act: Callable[[Table], tuple[Table, Any]]) -> Any:
        """Refuse, or perform an act."""
        self.times.append(trio.current_time())
        if len(self.times) <= self.failing:
            raise StorageFailed("cannot write the scope registry", path="/", errno=28)
        self.known, result = act(self.known)
        return result


def give(supervisor: Supervisor, *holders: str, failing: float) -> Registry:
    """Let it have a registry in which these pods hold something."""
    leases = [
        Lease(
            pod_id=name, name=name, supervisor="t", parent_id=None, grant=ScopeGrant(),
            holder=KEEPER, pending_nonce=None, pending_deadline=None,
        )
        for name in holders
    ]  # fmt: skip
    registry = Registry(failing, known=Table.of(leases))
    supervisor.registry = supervisor.registry_worker = cast("Any", registry)
    return registry


async def test_a_release_is_tried_after_pauses_that_double_up_to_the_longest(
    short_dir: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with supervisor_on_clock(short_dir) as supervisor:
        registry = give(supervisor, "gone", failing=12)
        await acts.release_later(supervisor, ("gone",))
        assert not registry.known.leases
        waited = [after - before for before, after in pairwise(registry.times)]
        assert waited[:2] == pytest.approx(
            [acts.FIRST_RELEASE_RETRY_SECONDS * 2, acts.FIRST_RELEASE_RETRY_SECONDS * 4]
        )
        assert max(waited) == waited[-1] == acts.LAST_RELEASE_RETRY_SECONDS


async def test_where_there_is_space_again_ground_is_free_soon_however_long_there_was_none(
    short_dir: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with supervisor_on_clock(short_dir) as supervisor:
        registry = give(supervisor, "gone", failing=math.inf)
        supervisor.nursery.start_soon(acts.release_later, supervisor, ("gone",))
        await trio.sleep(3600.0)
        registry.failing = 0
        await trio.sleep(acts.LAST_RELEASE_RETRY_SECONDS)
        assert not registry.known.leases
        assert acts.LAST_RELEASE_RETRY_SECONDS <= 5.0, "for so long others are refused it"


async def test_one_task_tries_for_all_and_whose_end_comes_later_takes_them_along(
    short_dir: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with supervisor_on_clock(short_dir) as supervisor:
        registry = give(supervisor, "one", "two", "three", failing=math.inf)
        for _ in range(10):  # as each attempt to bury it does
            supervisor.nursery.start_soon(acts.release_later, supervisor, ("one",))
        supervisor.nursery.start_soon(acts.release_later, supervisor, ("two",))
        await trio.sleep(acts.FIRST_RELEASE_RETRY_SECONDS * 2)
        assert len(registry.times) == 1
        registry.failing = 0
        await acts.release_leases(supervisor, ("three",))
        assert not registry.known.leases
        asked = len(registry.times)
        await trio.sleep(3600.0)
        assert len(registry.times) == asked, "nothing is left to try"


async def test_a_pod_that_came_back_meanwhile_keeps_its_lease(
    short_dir: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with supervisor_on_clock(short_dir) as supervisor:
        registry = give(supervisor, "gone", "back", failing=2)

        async def come_back() -> None:
            await trio.sleep(acts.FIRST_RELEASE_RETRY_SECONDS * 1.5)
            add_running(supervisor, "back")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            await acts.release_later(supervisor, ("gone", "back"))
        assert list(registry.known.leases) == ["back"]
