"""The campaign's judge finds what it is there to find: each invariant, broken once."""

from __future__ import annotations

from typing import Any

import pytest
import verdict
from ledger import Ledger, Page, Submission, Tape
from plan import draw_plan
from points import ACTIONS, POINTS
from verdict_stories import Story


def good() -> Story:
    """Two messages, one of them queued, one turn after the other."""
    story = Story().accept("a", "started").begin("a", 1).accept("b", "queued")
    return story.end(1).begin("b", 2).end(2).stop()


def asked(answer: str) -> Story:
    """A turn that was asked something, and the answer."""
    story = Story().accept("a", "started").begin("a", 1).tell("question", 1, question_id="q3")
    return story.tell("answer", 1, question_id="q3", answer=answer, by="client")


def test_a_good_journal_is_found_good() -> None:
    assert verdict.judge_turns(good().events, ended=True) == []
    assert verdict.holes(good().events) == []
    told = asked("yes").tell("text", 1, text="was told yes").end(1).stop()
    assert verdict.judge_turns(told.events, ended=True) == []


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
        (asked("yes").tell("answer", 1, question_id="q3", answer="no", by="client"), "not open"),
        (asked("yes").tell("text", 1, text="was told no"), "the answer was yes"),
        (asked("yes").end(1).stop().tell("answer", 1, question_id="q3", answer="no"), "came while"),
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


def test_an_event_that_a_reader_got_and_the_journal_lost_is_found() -> None:
    events = good().events
    assert verdict.judge_seen(Tape(events), good().events) == []
    assert "the journal has" in verdict.judge_seen(Tape(events[:-1]), good().events)[0]
    other = [{**events[0], "time": 1.0}, *events[1:]]
    assert "the journal has" in verdict.judge_seen(Tape(other), good().events)[0]


def gap(first: int, last: int) -> dict[str, Any]:
    """What stands for events that retention took."""
    return {"seq": last, "time": 0.0, "turn": None, "type": "gap",
            "data": {"first": first, "last": last}}  # fmt: skip


def test_a_gap_is_one_only_where_retention_took_what_it_stands_for() -> None:
    events = good().events
    assert verdict.judge_seen(Tape(events, kept=3), [gap(1, 2), *events[2:]]) == []
    assert "is still there" in verdict.judge_seen(Tape(events, kept=2), [gap(1, 2)])[0]


def test_a_subscriber_gets_every_event_or_a_gap_that_stands_for_it() -> None:
    events = good().events
    ledger = Ledger()
    for event in (events[0], gap(2, 3), events[3]):
        ledger.saw("p", event)
    assert ledger.complaints == []
    ledger.saw("p", events[5])
    assert ledger.complaints == ["a subscriber of p got event 6 after 4"]


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (Page(0, good().events[:3], 3, True), None),
        (Page(0, [gap(1, 2), good().events[2]], 3, True), None),
        (Page(3, [], 3, False), None),
        (Page(0, good().events[1:3], 3, True), "got event 2 after 0"),
        (Page(0, [*good().events[:2], good().events[1]], 2, True), "got event 2 after 2"),
        (Page(1, [gap(1, 2)], 2, True), "got event 1 after 1"),
        (Page(0, good().events[:2], 3, True), "ended at 2 and says 3"),
        (Page(0, [], 0, True), "there is more"),
    ],
)
def test_a_read_with_a_hole_or_a_repeat_is_found(page: Page, found: str | None) -> None:
    wrong = verdict.judge_page(page)
    assert wrong == [] if found is None else found in wrong[0]


def test_an_answer_that_was_taken_and_is_not_the_answer_is_found() -> None:
    events = asked("yes").events
    assert verdict.judge_answers(events, {"q3": "yes"}) == []
    assert "the journal has yes" in verdict.judge_answers(events, {"q3": "no"})[0]
    assert "the journal has None" in verdict.judge_answers(events, {"q9": "no"})[0]


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


def test_a_question_of_a_child_is_told_like_its_end() -> None:
    child = asked("yes").events
    parent = Story()
    assert (
        "[3] of c were told to nobody"
        in verdict.judge_children({"c": child, "p": parent.events}, ["c"])[0]
    )
    parent.tell("child_event", id="c", seq=3, type="question", data={})
    assert verdict.judge_children({"c": child, "p": parent.events}, ["c"]) == []


def test_a_gap_stands_for_what_retention_took_of_a_child() -> None:
    child = Story().accept("a", "started").begin("a", 1).end(1).stop().events
    parent = Story().tell("child_event", id="c", seq=3, type="gap", data={"first": 1, "last": 3})
    journals = {"c": child, "p": parent.events}
    assert verdict.judge_children(journals, ["c"]) == ["the events [4] of c were told to nobody"]
    parent.tell("child_event", id="c", seq=4, type="stopped", data={})
    assert verdict.judge_children(journals, ["c"]) == []


def test_a_seed_is_a_plan() -> None:
    assert draw_plan(7) == draw_plan(7)
    assert draw_plan(7) != draw_plan(8)


def test_every_fault_that_a_plan_arms_is_one_that_can_happen() -> None:
    for seed in range(50):
        for phase in draw_plan(seed).phases:
            for slot in phase.faults:
                point = POINTS[slot.role.partition(":")[0]][slot.point]
                assert slot.countdown < point.reach
                assert slot.action in (point.actions or ACTIONS[slot.point.partition("@")[0]])
