"""The arithmetic of limits: nobody below a pod ever has more than that pod has left."""

from __future__ import annotations

from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.supervisor.ceilings import (
    LIMIT_NAMES,
    LOWEST,
    SHARED,
    Used,
    attenuate,
    check_limits,
    check_share,
    held_limits,
    left_of,
)
from pods_protocol.bounds import MAX_COUNTED_PROCESSES
from pods_protocol.errors import CapacityReached, InvalidParams
from pods_protocol.values import LimitName, Limits

_SECONDS = st.floats(min_value=0.001, max_value=1e6)
_VALUES: dict[str, Any] = {
    "wall_seconds": _SECONDS,
    "turn_seconds": _SECONDS,
    "idle_seconds": _SECONDS,
    "memory_bytes": st.integers(2**24, 2**40),
    "processes": st.integers(1, 1000),
    "open_files": st.integers(1, 1000),
    "output_bytes": st.integers(1024, 2**30),
    "turns": st.integers(1, 100),
}
LIMITS = st.builds(Limits, **{name: st.none() | one for name, one in _VALUES.items()})


def test_every_limit_of_the_protocol_is_known_here() -> None:
    assert set(LIMIT_NAMES) == set(get_args(LimitName))
    assert {one.name for one in held_limits(Limits(**dict.fromkeys(LIMIT_NAMES, 2**30)))} == set(
        LIMIT_NAMES
    )


def test_only_limits_that_are_set_are_held() -> None:
    assert [one.name for one in held_limits(Limits(turns=3))] == ["turns"]


def test_how_a_limit_is_held_begins_with_what_holds_it() -> None:
    limits = Limits(memory_bytes=2**30, processes=10, open_files=9, turns=3)
    plain = {one.name: (one.by, one.how.split(":")[0]) for one in held_limits(limits)}
    assert plain["memory_bytes"] == plain["processes"] == ("keeper", "polled")
    assert plain["open_files"] == ("kernel", "rlimit")
    grouped = {one.name: one for one in held_limits(limits, "/lent/one")}
    assert {name: (one.by, one.how.split(":")[0]) for name, one in grouped.items()} == {
        **plain,
        "memory_bytes": ("kernel", "cgroup"),
        "processes": ("keeper", "cgroup"),
    }
    assert "memory.high of /lent/one" in grouped["memory_bytes"].how
    assert "RLIMIT_DATA" in grouped["memory_bytes"].how
    assert f"pids.max at {10 * 8 + 256} threads" in grouped["processes"].how


@given(
    own=LIMITS,
    wishes=st.lists(LIMITS, max_size=6),
    seconds=st.floats(0, 1e6),
    turns=st.integers(0, 100),
    taken=st.tuples(st.integers(0, 2**40), st.integers(0, 1000)),
)
def test_children_one_after_another_never_get_more_than_their_parent_had(
    own: Limits, wishes: list[Limits], seconds: float, turns: int, taken: tuple[int, int]
) -> None:
    children: list[Limits] = []
    for wish in wishes:
        used = Used(
            seconds=seconds,
            turns=turns,
            memory_bytes=taken[0],
            processes=taken[1],
            lent=tuple(children),
        )
        left = left_of(own, used)
        child = _given(wish, own, used)
        if isinstance(child, CapacityReached):
            name = child.data["limit_name"]
            asked = getattr(wish, name)
            assert child.data["asked"] == asked
            assert child.data["left"] == getattr(left, name)
            least = max(LOWEST.get(name, 0), 1 if name in SHARED else 0)
            share = getattr(left, name) / 2 if asked is None else asked
            assert share > getattr(left, name) or share < least or getattr(left, name) <= 0
            continue
        check_limits(child)
        children.append(child)
        for name in LIMIT_NAMES:
            has, gets = getattr(own, name), getattr(child, name)
            assert gets == getattr(wish, name) or getattr(wish, name) is None
            assert has is None or (gets is not None and gets <= getattr(left, name))
    for name in SHARED:
        has = getattr(own, name)
        takes = {"memory_bytes": taken[0], "processes": taken[1], "turns": turns}[name]
        lent = sum(getattr(child, name) or 0 for child in children)
        assert has is None or not children or lent + takes <= has


def _given(wish: Limits, own: Limits, used: Used) -> Limits | CapacityReached:
    try:
        return attenuate("c", wish, "p", own, used)
    except CapacityReached as refused:
        return refused


def test_a_refusal_says_what_is_left_and_whether_to_try_again() -> None:
    own = Limits(turns=10, wall_seconds=60)
    with pytest.raises(CapacityReached, match="ask for at most 6") as caught:
        attenuate("c", Limits(turns=9), "p", own, Used(seconds=0, turns=4))
    assert caught.value.data == {
        "limit_name": "turns", "limit": 10, "in_use": 4, "asked": 9, "left": 6
    }  # fmt: skip
    used = Used(seconds=0, turns=0, lent=(Limits(turns=10),))
    with pytest.raises(CapacityReached, match="do not retry: stop a child"):
        attenuate("c", Limits(), "p", own, used)
    with pytest.raises(CapacityReached, match="do not retry: finish the work yourself"):
        attenuate("c", Limits(), "p", own, Used(seconds=61, turns=0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"turns": 0},
        {"memory_bytes": 4096},
        {"wall_seconds": float("nan")},
        {"turns": 2**53},
        {"processes": 0},
        {"processes": MAX_COUNTED_PROCESSES},
    ],
)
def test_a_value_that_cannot_be_a_limit_is_refused_by_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams) as caught:
        check_limits(Limits(**wrong))
    assert caught.value.data["path"] == f"limits.{next(iter(wrong))}"


def test_the_lowest_value_is_told_as_a_number_that_can_be_given() -> None:
    with pytest.raises(InvalidParams, match="to 100000: it must be at least 16777216;"):
        check_limits(Limits(memory_bytes=100000))
    with pytest.raises(InvalidParams, match=r"to -0\.5: it must be above 0;"):
        check_limits(Limits(wall_seconds=-0.5))


def test_a_limit_that_no_count_could_ever_cross_is_refused_with_the_highest_that_one_can() -> None:
    check_limits(Limits(processes=MAX_COUNTED_PROCESSES - 1))
    with pytest.raises(InvalidParams, match="above 0 and at most 4095"):
        check_limits(Limits(processes=100_000))


@pytest.mark.parametrize("turns_had", [0, 4])
def test_a_pod_is_restored_only_into_what_is_left_less_the_turns_it_has_had(turns_had: int) -> None:
    own, held = Limits(turns=10, processes=8, wall_seconds=5), Limits(turns=6, processes=4)
    used = Used(seconds=99, turns=turns_had, lent=(Limits(turns=2, processes=4),))
    check_share("c", held, turns_had, "p", own, used)
    check_share("c", Limits(), turns_had, "p", own, used)
    with pytest.raises(CapacityReached, match="has 3 left of 8"):
        check_share("c", held, turns_had, "p", own, attrs.evolve(used, processes=1))
    with pytest.raises(CapacityReached) as caught:
        check_share("c", held, turns_had, "p", own, attrs.evolve(used, turns=turns_had + 3))
    assert (caught.value.data["limit_name"], caught.value.data["asked"]) == (
        "turns", 6 - turns_had
    )  # fmt: skip
