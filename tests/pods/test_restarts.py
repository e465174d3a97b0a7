"""The restart policy as a pure function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.restarts import (
    JITTER,
    LASTING_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Again,
    NoMore,
    after_crash,
    pause_before,
)
from pods_protocol.values import RestartPolicy

ON_FAILURE = RestartPolicy(when="on-failure", limit=3)


def test_the_default_policy_never_starts_a_pod_again_and_gives_no_reason() -> None:
    verdict = after_crash(RestartPolicy(), attempt=0, lived_seconds=1e9, chance=0.5)
    assert verdict == NoMore("")


def test_the_first_restart_has_no_pause_and_the_next_ones_grow_to_the_longest() -> None:
    pauses = [pause_before(attempt, 0.0) for attempt in range(1, 12)]
    assert pauses[:5] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert pauses == sorted(pauses)


@given(st.integers(2, 10**9), st.floats(0, 1))
def test_jitter_only_shortens_a_pause_and_by_no_more_than_its_part(
    attempt: int, chance: float
) -> None:
    longest = pause_before(attempt, 0.0)
    assert longest * (1 - JITTER) <= pause_before(attempt, chance) <= longest


def test_at_its_limit_a_pod_stays_ended_with_the_reason() -> None:
    again = after_crash(ON_FAILURE, attempt=2, lived_seconds=0.0, chance=0.0)
    assert again == Again(3, 2.0)
    verdict = after_crash(ON_FAILURE, attempt=3, lived_seconds=0.0, chance=0.0)
    assert isinstance(verdict, NoMore)
    assert "3 restarts in a row" in verdict.reason


@pytest.mark.parametrize(
    ("lived", "expected"),
    [(LASTING_SECONDS, Again(1, 0.0)), (LASTING_SECONDS - 0.1, Again(3, 2.0))],
)
def test_a_life_that_lasted_begins_the_count_anew(lived: float, expected: Again) -> None:
    assert after_crash(ON_FAILURE, attempt=2, lived_seconds=lived, chance=0.0) == expected


def test_a_limit_of_zero_is_never() -> None:
    policy = RestartPolicy(when="on-failure", limit=0)
    verdict = after_crash(policy, attempt=0, lived_seconds=1e9, chance=0.0)
    assert verdict == NoMore("its restart limit is 0")


@given(st.integers(0, 50), st.lists(st.floats(0, 2 * LASTING_SECONDS), max_size=60))
def test_no_more_short_lives_follow_each_other_than_the_limit_says(
    limit: int, lives: list[float]
) -> None:
    policy = RestartPolicy(when="on-failure", limit=limit)
    attempt = short = 0
    for lived in lives:
        short = 0 if lived >= LASTING_SECONDS else short
        verdict = after_crash(policy, attempt=attempt, lived_seconds=lived, chance=0.0)
        if isinstance(verdict, NoMore):
            assert short == limit
            return
        attempt = verdict.attempt
        short += 1
        assert short <= limit
