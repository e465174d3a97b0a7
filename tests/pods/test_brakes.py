"""Brakes on loops: what is let through in a window, what is refused, until when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pods.brakes import Brake


def test_one_thing_too_often_is_refused_until_the_first_is_out_of_the_window() -> None:
    brake = Brake(3, seconds=60.0)
    assert [brake.take("a", now) for now in (0.0, 10.0, 20.0)] == [0.0] * 3
    assert brake.take("a", 30.0) == 30.0
    assert brake.take("b", 30.0) == 0.0, "another thing has its own count"
    assert brake.take("a", 59.0) == 1.0, "what is refused is not counted"
    assert brake.take("a", 60.0) == 0.0
    assert brake.take("a", 60.0) == 10.0


@given(times=st.lists(st.integers(0, 300), max_size=60), most=st.integers(1, 5))
def test_no_window_ever_holds_more_than_the_most(times: list[int], most: int) -> None:
    brake = Brake(most, seconds=60.0)
    taken = [now for now in sorted(times) if brake.take("x", now) == 0.0]
    for now in taken:
        assert sum(now - 60.0 < other <= now for other in taken) <= most


def test_no_more_things_are_remembered_than_the_bound() -> None:
    brake = Brake(1, max_keys=2)
    for key in "abc":
        assert brake.take(key, 0.0) == 0.0
    assert brake.take("c", 0.0) > 0
    assert brake.take("a", 0.0) == 0.0, "it made way"
