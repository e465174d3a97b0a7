"""The campaign's judge finds what it is there to find: each invariant, broken once."""

from __future__ import annotations

from typing import Any

import pytest
import verdict
from ledger import Ledger, Submission
from plan import draw_plan


class Story:
    """A pod's journal as a list of events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def tell(self, kind: str, turn: int | None = None, **data: Any) -> Story:
        seq = len(self.events) + 1
        self.events.append({"seq": seq, "time": 0.0, "turn": turn, "type": kind, "data": data})
        return self

    def accept(self, message: str, state: str, if_busy: str = "queue", **more: Any) -> Story:
        return self.tell(
            "message_accepted",
            message_id=message,
            input="{}",
            state=state,
            if_busy=if_busy,
            **more,
        )

    def begin(self, message: str, turn: int) -> Story:
        return self.tell("turn_started", turn, message_id=message)

    def end(self, turn: int, reason: str = "end_turn") -> Story:
        return self.tell("turn_ended", turn, stop_reason=reason)

    def stop(self) -> Story:
        return self.tell("stopped", reason="stopped")


def good() -> Story:
    """Two messages, one of them queued, one turn after the other."""
    story = Story().accept("a", "started").begin("a", 1).accept("b", "queued")
    return story.end(1).begin("b", 2).end(2).stop()


def test_a_good_journal_is_found_good() -> None:
    assert verdict.judge_turns(good().events, ended=True) == []
    assert verdict.holes(good().events) == []


@pytest.mark.parametrize(
    ("story", "found"),
    [
        (Story().accept("a", "queued").stop(), "has the fates []"),
        (Story().accept("a", "started").begin("a", 1).stop(), "has the fates []"),
        (Story().accept("a", "started").begin("a", 1).end(1).end(1).stop(), "while None ran"),
        (Story().accept("a", "queued").accept("b", "queued").begin("b", 1), "waited"),
        (good().accept("c", "queued"), "after the pod's end"),
        (good().stop(), "ended twice"),
        (Story().accept("a", "started").accept("a", "queued"), "accepted twice"),
        (Story().accept("a", "started").begin("a", 2), "after turn 0"),
        (Story().accept("a", "started").begin("a", 1).accept("b", "queued").begin("b", 2),
         "began while"),
        (Story().tell("message_withdrawn", message_id="a", reason="withdrawn"), "did not wait"),
        (Story().accept("a", "queued"), "does not say so"),
        (Story().accept("a", "queued", notify=True).stop(), "has the fates []"),
        (Story().accept("a", "started").begin("a", 1).end(1).tell("text", 1, text="late"), "came"),
    ],
)  # fmt: skip
def test_each_way_to_lose_a_message_or_a_turn_is_found(story: Story, found: str) -> None:
    assert any(found in one for one in verdict.judge_turns(story.events, ended=True))


def test_a_hole_is_found() -> None:
    events = good().events
    del events[2]
    assert verdict.holes(events) == ["event 3 should be there, and it is 4"]


def test_an_answer_that_the_journal_does_not_keep_is_found() -> None:
    events = good().events
    kept = Submission("p", "a", answers=[("started", None, None)])
    assert verdict.judge_submission(events, kept) == []
    lost = Submission("p", "z", answers=[("queued", None, 1)])
    assert "is not in the journal" in verdict.judge_submission(events, lost)[0]
    twice = Submission("p", "b", answers=[("queued", None, 1), ("started", 2, None)])
    assert "answered differently" in verdict.judge_submission(events, twice)[0]
    refused = Submission("p", "b", refused=["queue_full"])
    assert "was refused" in verdict.judge_submission(events, refused)[0]
    doubtful = Submission("p", "b", doubtful=True)
    assert verdict.judge_submission(events, doubtful) == []


def test_an_event_that_a_subscriber_got_and_the_journal_lost_is_found() -> None:
    events = good().events
    assert verdict.judge_seen(events, good().events) == []
    assert verdict.judge_seen(events[:-1], good().events)
    ledger = Ledger()
    ledger.saw("p", events[0])
    ledger.saw("p", events[2])
    assert ledger.complaints == ["a subscriber of p got event 3 after 1"]


def test_a_message_that_ran_twice_or_never_is_found() -> None:
    assert verdict.judge_marks(good().events, ["a", "b"]) == []
    assert verdict.judge_marks(good().events, ["a", "b", "a"]) == ["message a ran 2 times"]
    assert "never ran" in verdict.judge_marks(good().events, ["a"])[0]
    assert "without a turn" in verdict.judge_marks(good().events, ["a", "b", "c"])[0]


def test_a_childs_end_is_told_once_to_one_of_those_above_it() -> None:
    child = Story().accept("a", "started").begin("a", 1).end(1).stop().events
    parent, grandparent = Story(), Story()
    parent.tell("child_event", id="c", seq=3, type="turn_ended", data={})
    grandparent.tell("child_event", id="c", seq=4, type="stopped", data={})
    journals = {"c": child, "p": parent.events, "g": grandparent.events}
    assert verdict.judge_children(journals, ["c"]) == []
    unheard = {"c": child, "p": parent.events}
    assert verdict.judge_children(unheard, ["c"]) == ["the events [4] of c were told to nobody"]
    assert verdict.judge_children(unheard, []) == []
    parent.tell("child_event", id="c", seq=4, type="stopped", data={})
    assert verdict.judge_children(journals, ["c"]) == ["the events [4] of c were told twice"]
    parent.tell("child_event", id="c", seq=3, type="turn_ended", data={})
    assert "after 4" in verdict.judge_children(journals, ["c"])[0]


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
    wrong = verdict.judge_lives(events, Ledger(spawned=spawned))
    assert wrong == [] if found is None else any(found in one for one in wrong)


def lease(pod_id: str, target: str, parent: str | None = None) -> dict[str, Any]:
    """A lease as the registry's file has it."""
    rule = {"target": target, "permission": "write", "recursive": True}
    return {"pod_id": pod_id, "name": pod_id, "parent_id": parent, "grant": {"allow": [rule]}}


def test_leases_and_lives_are_held_against_each_other() -> None:
    own = {"x": lease("x", "/a"), "y": lease("y", "/a/b", "x"), "z": lease("z", "/b")}
    assert verdict.judge_leases(own, dict.fromkeys("xyz", "pod")) == []
    assert verdict.judge_leases(own, dict.fromkeys("xy", "pod")) == [
        "the lease of z has no living pod"
    ]
    assert verdict.judge_leases({}, {"x": "api"}) == ["pod api lives without a lease"]
    clash = {"x": lease("x", "/a"), "y": lease("y", "/a/b")}
    assert "both write" in verdict.judge_leases(clash, dict.fromkeys("xy", "pod"))[0]


def test_a_seed_is_a_plan() -> None:
    assert draw_plan(7) == draw_plan(7)
    assert draw_plan(7) != draw_plan(8)
