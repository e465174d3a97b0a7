"""The pauses between attempts to start a pod again, on a clock of the test's: no process, no wait.

Processes are stood in for where they are brought up and killed; what is on record, the policy and
the pauses are the supervisor's own.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing
from attrs import define, field

from clock_support import EPOCH, KEEPER, add_running, supervisor_on_clock
from pods.lifecycle import Life
from pods.restarts import LASTING_SECONDS, LONGEST_PAUSE_SECONDS
from pods.supervisor import acts, restart, stop
from pods.supervisor.bring_up import Taken
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods_protocol.errors import NotAuthorized, PodsError, StartFailed
from pods_protocol.values import ExitRecord, RestartPolicy, ScopeGrant

KILLED = ExitRecord(status=-9, reason="signalled")


def _died() -> PodsError:
    return StartFailed("cannot start it: it died", step="hello", detail="")


@define
class Scene:
    """A supervisor with one pod whose process has died.

    Attributes:
        attempts: when each attempt to bring it up was made, by trio's clock.
        failing: how many of them fail.
        failure: how they do.
        leased: for how long each attempt asked to keep the lease without a process.
        wall: what its wall clock is ahead of trio's.
    """

    supervisor: Supervisor
    live: LivePod
    failing: int = 100
    failure: PodsError = field(factory=_died)
    attempts: list[float] = field(factory=list[float])
    leased: list[float] = field(factory=list[float])
    wall: float = EPOCH

    async def crash(self) -> acts.Facts | None:
        """Judge its death, and start it again as its policy says."""
        return await restart.came_down(self.supervisor, self.live, KILLED)

    async def start_again(self) -> acts.Facts | None:
        """From a crash on record to a pod that runs, or to what it is buried with."""
        return await restart.start_again(self.supervisor, self.live)

    async def take_lease(self, *_: object, pause_seconds: float) -> Taken:
        """Stand in for the registry."""
        self.leased.append(pause_seconds)
        return Taken(nonce="n", grant=ScopeGrant())

    async def bring_up(self, *_: object) -> None:
        """Stand in for launcher, keeper and pod."""
        self.attempts.append(trio.current_time())
        if len(self.attempts) <= self.failing:
            raise self.failure
        self.live.pod_pid, self.live.keeper_identity = 2, KEEPER

    def life(self) -> Life:
        """What is on record of the pod."""
        return self.supervisor.known(self.live.id).life


@asynccontextmanager
async def scene(
    directory: str, monkeypatch: pytest.MonkeyPatch, *, limit: int = 5, chance: float = 0.0
) -> AsyncGenerator[Scene]:
    """One whose pauses are shortened by that chance."""
    made: list[Scene] = []

    def clock() -> float:
        return (made[0].wall if made else EPOCH) + trio.current_time()

    async def kill_tree(*_: object) -> None:
        pass

    async with supervisor_on_clock(directory, clock) as supervisor:
        policy = RestartPolicy(when="on-failure", limit=limit)
        found = Scene(supervisor, add_running(supervisor, "p", policy))
        made.append(found)
        monkeypatch.setattr(restart, "take_lease", found.take_lease)
        monkeypatch.setattr(restart, "bring_up", found.bring_up)
        monkeypatch.setattr(restart, "kill_tree", kill_tree)
        monkeypatch.setattr(random, "random", lambda: chance)
        yield found


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [1.0, 2.0, 4.0]), (1.0, [0.5, 1.0, 2.0])])
async def test_each_attempt_waits_its_time_less_what_chance_takes_off_until_one_succeeds(
    short_dir: str,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    chance: float,
    pauses: list[float],
) -> None:
    async with scene(short_dir, monkeypatch, chance=chance) as found:
        found.failing = 3
        assert await found.crash() is None
        began = trio.current_time()
        assert await found.start_again() is None
        assert found.life() is Life.RUNNING
        times = [one - began for one in found.attempts]
        assert times[0] == 0.0, "the first comes at once"
        waited = [after - before for before, after in pairwise(times)]
        assert waited == pytest.approx(pauses)
        assert found.leased == pytest.approx([0.0, *pauses]), "its scope is kept for as long"
        record = found.supervisor.known("p")
        assert (record.restarts.attempt, record.restarts.total) == (4, 1)


@pytest.mark.parametrize(("failing", "attempt"), [(1, 1), (2, 2)])
async def test_a_lease_that_was_lost_and_made_anew_meanwhile_is_taken_once_more_at_no_cost(
    short_dir: str,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    failing: int,
    attempt: int,
) -> None:
    async with scene(short_dir, monkeypatch) as found:
        found.failing = failing
        found.failure = NotAuthorized("cannot adopt the scope: it was taken for another process")
        assert await found.crash() is None
        assert await found.start_again() is None
        assert found.life() is Life.RUNNING
        assert len(found.attempts) == failing + 1
        assert found.supervisor.known("p").restarts.attempt == attempt, "once is not counted"


async def test_the_limit_ends_the_attempts_with_the_reason(
    short_dir: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with scene(short_dir, monkeypatch, limit=3) as found:
        assert await found.crash() is None
        facts = await found.start_again()
        assert facts is not None
        assert "3 restarts in a row did not last, and 3 is the limit" in facts.give_up
        assert len(found.attempts) == 3
        assert trio.current_time() == pytest.approx(found.attempts[0] + 3.0), "none after the last"


async def test_a_life_that_lasted_by_the_wall_clock_begins_the_count_anew(
    short_dir: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with scene(short_dir, monkeypatch, limit=1) as found:
        found.failing = 0
        for _ in range(3):
            assert await found.crash() is None
            assert await found.start_again() is None
            await trio.sleep(LASTING_SECONDS)
        assert await found.crash() is None
        assert await found.start_again() is None
        facts = await found.crash()
        assert facts is not None
        assert "1 restarts in a row" in facts.give_up


async def test_a_stop_during_the_pause_ends_it_at_once(
    short_dir: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def climb(*_: object) -> None:
        pass

    monkeypatch.setattr(stop, "climb", climb)
    async with scene(short_dir, monkeypatch) as found:
        assert await found.crash() is None
        began = trio.current_time()

        async def stop_it() -> None:
            await trio.sleep(0.25)
            stop.ask_stop(found.supervisor, found.live, "now", 1.0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_it)
            facts = await found.start_again()
        assert facts is not None
        assert facts.give_up == ""
        assert found.life() is Life.STOPPING
        assert trio.current_time() - began == pytest.approx(0.25)
        assert len(found.attempts) == 1, "the second never came"


@pytest.mark.parametrize(
    ("moved", "waits"), [(-3600.0, LONGEST_PAUSE_SECONDS), (3600.0, 0.0), (0.5, 0.5)]
)
async def test_who_comes_to_a_pause_that_is_under_way_waits_for_the_rest_of_it_and_never_for_long(
    short_dir: str,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    moved: float,
    waits: float,
) -> None:
    async with scene(short_dir, monkeypatch) as found:
        found.failing = 0
        for _ in range(2):
            assert await found.crash() is None, "the second attempt is due in a second"
        found.wall += moved  # the next supervisor comes later; or somebody has set the clock
        began = trio.current_time()
        assert await found.start_again() is None
        assert found.attempts == [pytest.approx(began + waits)]
