"""What a parent is told of a child: each event once, in order, whatever is lost or said again."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from pod_support import OPENED, MachineRig
from pods.journal.children import (
    MAX_CHILD_CURSORS,
    MAX_DATA_BYTES,
    MAX_TEXT_CHARACTERS,
    MAX_WAITING_CHILD_EVENTS,
    TOLD_KINDS,
    Inbox,
    Teller,
    Told,
    describe,
    wakes,
)
from pods.pod.stimuli import ChildTold, Finished, StartTurn
from pods_protocol.events import Event
from pods_protocol.values import WakeOn

DATA: Final[dict[str, dict[str, Any]]] = {
    "turn_ended": {"stop_reason": "end_turn"},
    "question": {"question_id": "q1", "prompt": "which?", "options": ["a", "b"]},
    "restarted": {"reason": "lost"},
    "stopped": {"reason": "failed", "message": "its process was ended by signal 9"},
    "text": {"text": "words. "},
    "turn_started": {"message_id": "m"},
}
KINDS = st.sampled_from(sorted(DATA))


def events(*kinds: str, since: int = 0) -> list[Event]:
    return [
        Event(seq=seq, time=0.0, turn=1, type=kind, data=DATA[kind])
        for seq, kind in enumerate(kinds, since + 1)
    ]


def told_of(journal: list[Event], since: int = 0) -> list[Told]:
    teller = Teller(since)
    after = (teller.take(event) for event in journal if event.seq > since)
    return [told for told in after if told is not None]


def stimulus(child: str, told: Told, *, wake: bool = False) -> ChildTold:
    data = {"pod": child, "id": child, "seq": told.seq, "type": told.type, "text": told.text}
    return ChildTold(child, told.seq, {**data, "wake": wake, "data": told.data}, wake)


def test_only_what_concerns_a_parent_is_told_with_the_end_of_what_was_said() -> None:
    journal = events("turn_started", "text", "text", "question", "text", "turn_ended", "stopped")
    told = told_of(journal)
    assert [(one.seq, one.type, one.since) for one in told] == [
        (4, "question", 0), (6, "turn_ended", 4), (7, "stopped", 6),
    ]  # fmt: skip
    assert [one.text for one in told] == ["words. words. ", "words. ", ""]


def test_text_of_a_kind_that_is_none_is_passed_over() -> None:
    teller = Teller(0)
    assert teller.take(Event(seq=1, time=0.0, turn=1, type="text", data={"text": 7})) is None
    told = teller.take(*events("question", since=1))
    assert told is not None
    assert told.text == ""


def test_what_was_said_and_what_an_event_carries_are_bounded() -> None:
    journal = [
        Event(seq=1, time=0.0, turn=1, type="text", data={"text": "x" * MAX_TEXT_CHARACTERS}),
        Event(seq=2, time=0.0, turn=1, type="text_delta", data={"text": "end"}),
        Event(seq=3, time=0.0, turn=1, type="question", data={"prompt": "y" * MAX_DATA_BYTES}),
    ]
    (told,) = told_of(journal)
    assert (len(told.text), told.omitted) == (MAX_TEXT_CHARACTERS, 3)
    assert told.text.endswith("xend")
    assert told.data["size_bytes"] > MAX_DATA_BYTES
    assert len(str(told.data)) < MAX_DATA_BYTES


@given(kinds=st.lists(KINDS, max_size=30), cut=st.integers(0, 30))
def test_told_again_from_a_cursor_the_same_comes_out(kinds: list[str], cut: int) -> None:
    journal = events(*kinds)
    whole = told_of(journal)
    cursor = whole[min(cut, len(whole)) - 1].seq if whole and cut else 0
    assert told_of(journal, cursor) == [told for told in whole if told.seq > cursor]


@given(
    journals=st.lists(st.lists(KINDS, max_size=12), min_size=1, max_size=3),
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=60),
)
@settings(max_examples=60)
def test_each_event_is_journaled_once_and_in_order_whatever_dies(
    journals: list[list[str]], steps: list[tuple[int, int]]
) -> None:
    children = {f"c{n}": told_of(events(*kinds)) for n, kinds in enumerate(journals)}
    rig = MachineRig()
    rig.give(OPENED)
    journaled: list[tuple[str, int]] = []
    stale: list[ChildTold] = []

    def tell(told: ChildTold) -> None:
        before = rig.fold.last_seq
        reply = rig.reply(told)
        assert reply == rig.fold.inbox.cursors[told.child]
        if rig.fold.last_seq > before:
            journaled.append((told.child, told.seq))

    def next_of(child: str) -> ChildTold | None:
        cursor = rig.fold.inbox.cursors.get(child, 0)
        left = [told for told in children[child] if told.seq > cursor]
        return stimulus(child, left[0], wake=left[0].seq % 2 == 0) if left else None

    for action, which in steps:
        child = f"c{which % len(children)}"
        if action <= 2:
            told = next_of(child)
            if told is not None:
                tell(told)
                stale.append(told)
        elif action == 3 and stale:
            tell(stale[which % len(stale)])
        elif action == 4:
            rig = MachineRig(fold=rig.fold)
            rig.give(OPENED)
        elif rig.fold.turn is not None:
            rig.give(Finished(rig.fold.turn, "end_turn"))
    for child in children:
        while (told := next_of(child)) is not None:
            tell(told)
    for child, all_of_it in children.items():
        assert [seq for who, seq in journaled if who == child] == [one.seq for one in all_of_it]


@given(wake_on=st.sampled_from(["none", "ended", "question"]), kind=KINDS)
def test_what_wakes_is_a_matter_of_kind_alone(wake_on: WakeOn, kind: str) -> None:
    for told in told_of(events(kind)):
        expected = wake_on != "none" and (told.type != "question" or wake_on == "question")
        assert wakes(wake_on, told) is expected


def test_a_lost_turn_leaves_the_waking_to_what_follows_it() -> None:
    lost = Event(seq=1, time=0.0, turn=1, type="turn_ended", data={"stop_reason": "lost"})
    (told,) = told_of([lost])
    assert not wakes("question", told)
    assert {"stopped", "restarted"} <= TOLD_KINDS


def child_event(child: str, seq: int) -> Event:
    data: dict[str, Any] = {"pod": child, "id": child, "seq": seq, "type": "stopped", "wake": True}
    return Event(seq=seq, time=0.0, turn=None, type="child_event", data=data)


def test_an_inbox_is_bounded_and_forgets_whom_it_has_not_heard_of_for_longest() -> None:
    inbox = Inbox()
    for number in range(MAX_CHILD_CURSORS):
        inbox.child_event(child_event(f"c{number}", 5))
    inbox.child_event(child_event("c0", 6))
    inbox.child_event(child_event("new", 1))
    assert len(inbox.cursors) == MAX_CHILD_CURSORS
    assert inbox.cursors["c0"] == 6
    assert "c1" not in inbox.cursors
    assert len(inbox.pending()) == MAX_WAITING_CHILD_EVENTS
    inbox.child_event(Event(seq=9, time=0.0, turn=None, type="child_event", data={"seq": "x"}))
    assert len(inbox.cursors) == MAX_CHILD_CURSORS


def test_what_a_lost_turn_was_told_waits_again_and_does_not_wake_again() -> None:
    inbox = Inbox()
    inbox.child_event(child_event("a", 1))
    inbox.turn_started()
    inbox.child_event(child_event("b", 1))
    expected = inbox.pending(lost=True)
    inbox.turn_ended(lost=True)
    assert inbox.pending() == expected
    assert [(one["id"], one["wake"]) for one in expected] == [("a", False), ("b", True)]
    inbox.turn_started()
    inbox.turn_ended(lost=False)
    assert inbox.pending() == ()


def test_each_kind_has_words_and_unknown_ones_do_not_break_them() -> None:
    said = [
        describe({"pod": "kid", "type": kind, "turn": 2, "data": data})
        for kind, data in DATA.items()
        if kind in TOLD_KINDS
    ]
    assert said == [
        "child pod kid: turn 2 ended (end_turn)",
        "child pod kid: asks q1: which? [a / b]",
        "child pod kid: runs again, after it was lost",
        "child pod kid: has ended (failed: its process was ended by signal 9)",
    ]
    assert "3 to 9" in describe({"pod": "kid", "type": "gap", "data": {"first": 3, "last": 9}})
    assert describe({}) == "child pod ?: None"
    waited: dict[str, Any] = {"reason": "stopped", "undelivered": ["m2", "m3"]}
    assert describe({"pod": "kid", "type": "stopped", "data": waited}).endswith(
        "has ended (stopped); messages that it never took up: m2, m3"
    )
    more = {**waited, "undelivered_omitted": 4}
    assert describe({"pod": "kid", "type": "stopped", "data": more}).endswith("m3 and 4 more")
    long = describe({"pod": "kid", "type": "new", "text": "end\n", "omitted": 7, "since": 3})
    assert long.splitlines() == [
        "child pod kid: new", "[7 characters before this; read pod kid since 3]", "end",
    ]  # fmt: skip


def test_an_idle_parent_is_woken_and_a_busy_one_after_its_turn() -> None:
    rig = MachineRig()
    rig.give(OPENED)
    first, second, third = told_of(events("turn_ended", "stopped", "restarted"))
    (start,) = rig.give(stimulus("kid", first, wake=True)).commands
    assert isinstance(start, StartTurn)
    assert start.input == "child pod kid: turn None ended (end_turn)"
    assert [one["seq"] for one in start.child_events] == [1]
    assert start.notes == ()
    assert rig.give(stimulus("kid", second, wake=True)).commands == ()
    (start,) = rig.give(Finished(1, "end_turn")).commands
    assert isinstance(start, StartTurn)
    assert [one["seq"] for one in start.child_events] == [2]
    assert rig.give(Finished(2, "end_turn")).commands == ()
    assert rig.give(stimulus("kid", third)).commands == ()
    assert rig.machine.state == "idle"
