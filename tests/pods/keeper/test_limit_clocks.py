"""When a keeper acts on a limit: never before the pod's own clock, and always in the end."""

from __future__ import annotations

import pytest

from pods.keeper.limit_clocks import (
    EMPTY_LOOKS,
    GRACE_SECONDS,
    LEFT_LOOK_SECONDS,
    LEFT_PATIENCE_SECONDS,
    STRUCK_SECONDS,
    TURN_LOOK_SECONDS,
    TURN_PATIENCE_SECONDS,
    LimitClocks,
    Looks,
    Step,
)
from pods_protocol.bounds import MAX_COUNTED_PROCESSES
from pods_protocol.values import LimitName, Limits


def steps(clocks: LimitClocks, *, until: float) -> list[tuple[float, Step]]:
    """What is done up to a moment, each at the very moment that was named for it."""
    done: list[tuple[float, Step]] = []
    while (at := clocks.due()) is not None and at <= until:
        assert clocks.take(at - 0.001) is None
        step = clocks.take(at)
        assert step is not None
        done.append((at, step))
        if step.ends:
            break
    return done


def both(limit: LimitName, at: float) -> list[tuple[float, Step]]:
    return [
        (at, Step(limit, ends=False)),
        (at + GRACE_SECONDS[limit], Step(limit, ends=True)),
    ]


def test_a_pod_is_let_go_on_at_its_limit_and_ended_a_grace_later() -> None:
    clocks = LimitClocks(Limits(turn_seconds=2), None)
    assert clocks.due() is None
    clocks.turn_begins(10)
    assert steps(clocks, until=99) == both("turn_seconds", 12)


def test_the_end_of_a_turn_ends_its_clock_and_begins_that_of_idleness() -> None:
    clocks = LimitClocks(Limits(turn_seconds=2, idle_seconds=30), None)
    clocks.turn_begins(0)
    clocks.turn_begins(1)
    assert clocks.due() == 3, "the next turn has its own time"
    assert clocks.take(3) == Step("turn_seconds", ends=False)
    clocks.no_turn(4)
    assert steps(clocks, until=99) == both("idle_seconds", 34)


def test_no_clock_runs_for_what_is_not_limited() -> None:
    clocks = LimitClocks(Limits(turn_seconds=2), None)
    clocks.turn_begins(0)
    clocks.no_turn(1)
    assert clocks.due() is None
    assert clocks.take(1000) is None


def test_the_time_of_the_pod_runs_on_whatever_else_stands_still() -> None:
    clocks = LimitClocks(Limits(wall_seconds=20, turn_seconds=2), 20)
    clocks.turn_begins(0)
    clocks.hold(1, held=True)
    clocks.hold(5, held=True)
    assert steps(clocks, until=25) == [(20, Step("wall_seconds", ends=False))]
    clocks.hold(26, held=False)
    clocks.hold(27, held=False)
    assert clocks.due() == 27, "of its turn one second was left"
    assert clocks.take(27) == Step("turn_seconds", ends=False)


def test_a_turn_that_begins_in_a_pause_has_all_its_time_after_it() -> None:
    clocks = LimitClocks(Limits(turn_seconds=2), None)
    clocks.hold(0, held=True)
    clocks.turn_begins(5)
    assert clocks.due() is None
    clocks.hold(9, held=False)
    assert clocks.due() == 11


def test_an_idle_pod_that_was_paused_is_idle_from_then_on() -> None:
    clocks = LimitClocks(Limits(idle_seconds=10), None)
    clocks.no_turn(0)
    clocks.hold(9, held=True)
    clocks.hold(100, held=False)
    assert clocks.due() == 110
    assert clocks.take(110) == Step("idle_seconds", ends=False)
    clocks.hold(111, held=True)
    clocks.hold(112, held=False)
    assert clocks.due() == 121, "its grace is no time to be idle in"


def test_where_nobody_tells_of_turns_only_the_time_of_the_pod_counts() -> None:
    clocks = LimitClocks(Limits(turn_seconds=2), 50)
    clocks.turn_begins(0)
    clocks.time_neither()
    assert clocks.due() == 50
    clocks.hold(1, held=True)
    clocks.hold(2, held=False)
    assert clocks.due() == 50


def test_nothing_is_counted_without_a_limit_that_asks_for_it() -> None:
    looks = Looks(Limits(turn_seconds=2))
    looks.look_on(0, turn=True)
    looks.reaped(0)
    assert looks.due() is None


def test_a_turn_is_counted_until_it_ends_and_then_what_it_left() -> None:
    looks = Looks(Limits(processes=5))
    assert looks.due() is None
    looks.look_on(10, turn=True)
    assert looks.due() == 10 + TURN_LOOK_SECONDS
    assert looks.counted(11, 0, 0, alone=False) is None
    assert looks.due() == 11 + TURN_LOOK_SECONDS
    looks.look_on(11.2, turn=False)
    assert looks.due() == 11.2
    assert looks.counted(12, 0, 2, alone=False) is None
    assert looks.due() == 12 + LEFT_LOOK_SECONDS
    assert see_nothing(looks, 13) is None, "nothing is left, so nothing wakes the keeper"


def see_nothing(looks: Looks, now: float, *, times: int = EMPTY_LOOKS) -> float | None:
    """Count nothing so often; returns when the next count is due."""
    for time in range(times):
        assert looks.due() is not None
        assert looks.counted(now + time * LEFT_LOOK_SECONDS, 0, 0, alone=True) is None
    return looks.due()


def test_what_a_few_counts_miss_is_still_counted() -> None:
    looks = Looks(Limits(processes=5))
    looks.look_on(0, turn=False)
    assert see_nothing(looks, 0, times=EMPTY_LOOKS - 1) is not None
    assert looks.counted(2, 0, 6, alone=False) == Step("processes", ends=False)
    assert see_nothing(looks, 3, times=EMPTY_LOOKS - 1) is not None, "it begins anew"
    for now in range(4, 14):
        assert looks.counted(now, 0, 0, alone=False) is None
        assert looks.due() is not None, "a child of the keeper that has ended had children"


def test_who_always_leaves_its_parent_is_counted_as_long_as_it_does() -> None:
    looks = Looks(Limits(processes=5))
    looks.look_on(0, turn=False)
    for now in range(10):
        looks.reaped(now)
        assert looks.counted(now, 0, 0, alone=True) is None
        assert looks.due() == now + LEFT_LOOK_SECONDS
    assert see_nothing(looks, 10, times=EMPTY_LOOKS - 1) is None
    looks.reaped(20)
    looks.reaped(20.1)
    assert looks.due() == 20 + LEFT_LOOK_SECONDS, "many do not put it off"
    assert looks.counted(21, 0, 6, alone=False) == Step("processes", ends=False)
    assert looks.counted(22, 0, 6, alone=False) == Step("processes", ends=True)


def test_nothing_is_counted_while_all_stands_still() -> None:
    looks = Looks(Limits(processes=5))
    looks.look_on(0, turn=True)
    looks.look_away()
    looks.reaped(1)
    assert looks.due() is None
    looks.look_on(2, turn=False)
    assert looks.due() == 2


@pytest.mark.parametrize(
    ("turn", "patience"), [(True, TURN_PATIENCE_SECONDS), (False, LEFT_PATIENCE_SECONDS)]
)
@pytest.mark.parametrize(
    ("limits", "limit", "much", "little"),
    [
        (Limits(processes=5), "processes", (10**9, 6), (10**9, 5)),
        (Limits(memory_bytes=2**24), "memory_bytes", (2**24 + 1, 1), (2**24, 999)),
        (
            Limits(memory_bytes=2**24),
            "memory_bytes",
            (2**20, MAX_COUNTED_PROCESSES),
            (2**20, MAX_COUNTED_PROCESSES - 1),
        ),
    ],
)
def test_what_stays_over_its_limit_is_ended_and_what_goes_is_not(
    turn: bool,
    patience: float,
    limits: Limits,
    limit: LimitName,
    much: tuple[int, int],
    little: tuple[int, int],
) -> None:
    looks = Looks(limits)
    looks.look_on(0, turn=turn)
    assert looks.counted(1, *much, alone=False) == Step(limit, ends=False)
    assert looks.counted(1 + patience - 0.1, *much, alone=False) is None
    assert looks.counted(1 + patience, *little, alone=False) is None
    assert looks.counted(10, *much, alone=False) == Step(limit, ends=False), "it begins anew"
    assert looks.counted(10 + patience, *much, alone=False) == Step(limit, ends=True)


def test_no_mark_makes_a_count_later_or_forgets_that_something_is_over() -> None:
    looks = Looks(Limits(processes=5))
    looks.look_on(0, turn=True)
    looks.look_on(0.3, turn=True)
    assert looks.due() == TURN_LOOK_SECONDS
    assert looks.counted(0.5, 0, 6, alone=False) == Step("processes", ends=False)
    looks.look_on(0.8, turn=True)
    assert looks.counted(1, 0, 6, alone=False) is None
    looks.look_on(0.5 + TURN_PATIENCE_SECONDS, turn=True)
    ends = looks.counted(0.5 + TURN_PATIENCE_SECONDS, 0, 6, alone=False)
    assert ends == Step("processes", ends=True)


def test_what_was_over_in_a_turn_has_its_whole_time_to_go_after_it() -> None:
    looks = Looks(Limits(processes=5))
    looks.look_on(0, turn=True)
    assert looks.counted(1, 0, 6, alone=False) == Step("processes", ends=False)
    looks.look_on(1.9, turn=False)
    assert looks.due() == 1 + TURN_LOOK_SECONDS
    assert looks.counted(1 + LEFT_PATIENCE_SECONDS, 0, 6, alone=False) is None
    ends = looks.counted(1 + TURN_PATIENCE_SECONDS, 0, 6, alone=False)
    assert ends == Step("processes", ends=True)


def test_a_pause_is_no_time_over_a_limit() -> None:
    looks = Looks(Limits(processes=5))
    looks.look_on(0, turn=True)
    assert looks.counted(1, 0, 6, alone=False) == Step("processes", ends=False)
    looks.look_away()
    looks.look_on(100, turn=True)
    assert looks.counted(101, 0, 6, alone=False) == Step("processes", ends=False)


def test_a_pod_that_the_kernel_stopped_at_a_limit_is_woken_and_ended_if_it_does_nothing() -> None:
    clocks = LimitClocks(Limits(memory_bytes=9, turn_seconds=100), None)
    clocks.turn_begins(0)
    clocks.strike("memory_bytes", 10)
    clocks.strike("processes", 11)
    assert clocks.struck == "memory_bytes", "the first one counts"
    assert steps(clocks, until=99) == [
        (10, Step("memory_bytes", ends=False)),
        (10 + STRUCK_SECONDS, Step("memory_bytes", ends=True)),
    ]


def test_what_was_struck_is_seen_to_by_the_end_of_the_turn_and_waits_while_all_is_held() -> None:
    clocks = LimitClocks(Limits(memory_bytes=9), None)
    clocks.strike("memory_bytes", 10)
    clocks.hold(11, held=True)
    assert clocks.due() is None
    clocks.hold(31, held=False)
    assert clocks.due() == 30
    clocks.seen_to()
    assert (clocks.due(), clocks.struck) == (None, None)
