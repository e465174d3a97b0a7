"""The judge of pods' lives finds what it is there to find: each rule, broken once."""

from __future__ import annotations

from typing import Any

import pytest
import verdict_lives
from ledger import Ledger
from verdict_stories import Story


def lives(*told: tuple[str, str]) -> list[dict[str, Any]]:
    """A supervisor's journal: pairs of kind and pod id, every spawn of the message `s`."""
    story = Story()
    for kind, pod_id in told:
        story.tell(kind, id=pod_id, message_id="s")
    return story.events


@pytest.mark.parametrize(
    ("events", "spawned", "found"),
    [
        (lives(("pod_reserved", "x"), ("pod_spawned", "x")), {"s": ["x"]}, None),
        (lives(("pod_reserved", "x"), ("spawn_failed", "x"), ("pod_reserved", "y")), {}, None),
        (lives(("pod_reserved", "x"), ("pod_reserved", "y")), {}, "made ['x', 'y']"),
        (lives(("pod_reserved", "x"), ("spawn_failed", "x")), {"s": ["x"]}, "was answered"),
        (lives(), {"s": ["x"]}, "is not in the supervisor's journal"),
        (lives(("pod_reserved", "x"), ("pod_ended", "x")), {}, "pod_ended came after"),
        (lives(("pod_reserved", "x"), ("pod_spawned", "x"), ("pod_ended", "x"), ("pod_ended", "x")),
         {}, "pod_ended came after"),
    ],
)  # fmt: skip
def test_a_pod_has_one_life_and_a_spawn_one_pod(
    events: list[dict[str, Any]], spawned: dict[str, list[str]], found: str | None
) -> None:
    wrong = verdict_lives.judge_lives(events, Ledger(spawned=spawned))
    assert wrong == [] if found is None else any(found in one for one in wrong)


def lease(pod_id: str, target: str, parent: str | None = None) -> dict[str, Any]:
    """A lease as the registry's file has it."""
    rule = {"target": target, "permission": "write", "recursive": True}
    return {"pod_id": pod_id, "name": pod_id, "parent_id": parent, "grant": {"allow": [rule]}}


def test_leases_and_lives_are_held_against_each_other() -> None:
    own = {"x": lease("x", "/a"), "y": lease("y", "/a/b", "x"), "z": lease("z", "/b")}
    assert verdict_lives.judge_leases(own, dict.fromkeys("xyz", "pod")) == []
    assert verdict_lives.judge_leases(own, dict.fromkeys("xy", "pod")) == [
        "the lease of z has no living pod"
    ]
    assert verdict_lives.judge_leases({}, {"x": "api"}) == ["pod api lives without a lease"]
    clash = {"x": lease("x", "/a"), "y": lease("y", "/a/b")}
    assert "both write" in verdict_lives.judge_leases(clash, dict.fromkeys("xy", "pod"))[0]


def crashes(policy: dict[str, Any], *told: tuple[str, int]) -> list[dict[str, Any]]:
    """A supervisor's journal of one pod: pairs of kind and attempt."""
    story = Story().tell("pod_reserved", id="x", restart=policy)
    for kind, attempt in told:
        story.tell(kind, id="x", attempt=attempt)
    return story.events


NEVER = {"when": "never", "limit": 5}
TWICE = {"when": "on-failure", "limit": 2}


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (crashes(TWICE, ("pod_crashed", 1), ("pod_restarted", 0), ("pod_crashed", 2)), None),
        (crashes(TWICE, ("pod_crashed", 1), ("pod_restoring", 0), ("pod_crashed", 1)), None),
        (crashes(NEVER, ("pod_crashed", 1)), "never to be started again"),
        (crashes(TWICE, *(("pod_crashed", number) for number in (1, 2, 3))), "attempt 3 of 2"),
        (crashes(TWICE, ("pod_crashed", 1), ("pod_crashed", 1)), "is number 2"),
        (crashes(TWICE, ("pod_restoring", 0), ("pod_restoring", 0)), "restored 2 times"),
    ],
)
def test_a_restart_against_the_policy_or_unasked_is_found(
    events: list[dict[str, Any]], found: str | None
) -> None:
    wrong = verdict_lives.judge_restarts(events, {"x": 1})
    assert wrong == [] if found is None else any(found in one for one in wrong)


def test_a_second_life_that_nobody_asked_for_is_found() -> None:
    story = Story().tell("restarted").stop().tell("restarted").stop()
    assert verdict_lives.judge_second_lives(story.events, 1) == []
    assert "asked for 0 times" in verdict_lives.judge_second_lives(story.events, 0)[0]


@pytest.mark.parametrize(
    ("until", "ready", "pending", "timed_out", "over", "found"),
    [
        ("idle", ["idle", "stopped"], [], False, False, None),
        ("ended", [], ["working"], True, False, None),
        ("ended", ["idle"], [], False, False, "says idle is enough"),
        ("question", ["working"], [], False, False, "says working is enough"),
        ("ended", [], ["stopped"], True, True, "missed an end"),
        ("idle", ["idle"], [], True, False, "timed out: True"),
        ("idle", [], ["working"], False, False, "timed out: False"),
    ],
)
def test_a_wait_that_says_what_is_not_so_is_found(
    until: str, ready: list[str], pending: list[str], timed_out: bool, over: bool, found: str | None
) -> None:
    wrong = verdict_lives.judge_wait(until, ready, pending, timed_out=timed_out, over=over)
    assert wrong == [] if found is None else any(found in one for one in wrong)


def test_what_inspect_says_was_never_delivered_is_what_the_journal_says() -> None:
    story = Story().accept("a", "queued").accept("b", "queued")
    for message in "ab":
        story.tell("message_withdrawn", message_id=message, reason="undelivered")
    assert verdict_lives.judge_undelivered(story.events, ["a", "b"]) == []
    assert verdict_lives.judge_undelivered(story.events, ["b"]) == [], "the newest are enough"
    for told in ([], ["a"], ["a", "b", "c"]):
        assert "were never delivered" in verdict_lives.judge_undelivered(story.events, told)[0]
    assert verdict_lives.judge_undelivered(good_end().events, []) == []


def good_end() -> Story:
    """A pod that owes nobody anything."""
    return Story().accept("a", "started").begin("a", 1).end(1).stop()


def test_what_a_client_knows_of_an_end_holds_until_somebody_asks_for_the_pod() -> None:
    ledger = Ledger()
    ledger.end("x")
    assert ledger.is_surely_over("x")
    ledger.restores["x"] = 1
    assert ledger.is_over("x")
    assert not ledger.is_surely_over("x")
    ledger.begin("x")
    assert not ledger.is_over("x")
