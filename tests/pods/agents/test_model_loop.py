"""The model agent decides what comes next, and what of a long talk it leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.agents.model import compaction
from pods.agents.model.loop import (
    MAX_PARALLEL_CALLS,
    MAX_REMEMBERED,
    Ask,
    End,
    RunCalls,
    batches,
    from_history,
    next_action,
    settled,
)
from pods.agents.model.talk import Assistant, Call, Gap, Message, Result, Results, User
from pods_protocol.pod_messages import HistoryEntry

CALL = Call("c1", "read_file", {"path": "a"}, '{"path": "a"}')
ANSWERED = Results((Result("c1", "text"),))


@pytest.mark.parametrize(
    ("talk", "action"),
    [
        ([User("go")], Ask()),
        ([User("go"), Gap(3)], Ask()),
        ([User("go"), Assistant("", (CALL,), "tools")], RunCalls((CALL,))),
        # Some servers say that they are done and want a tool all the same.
        ([User("go"), Assistant("", (CALL,), "end")], RunCalls((CALL,))),
        ([User("go"), Assistant("", (CALL,), "tools"), ANSWERED], Ask()),
        ([User("go"), Assistant("hi")], End("end_turn")),
        ([User("go"), Assistant("hi", (), "tools")], End("end_turn")),
    ],
)
def test_the_last_message_decides_what_comes_next(talk: list[Message], action: object) -> None:
    assert next_action(talk, asked=1, max_requests=9) == action


@pytest.mark.parametrize(("stop", "reason"), [("length", "max_tokens"), ("refusal", "refusal")])
def test_a_call_of_an_answer_that_was_cut_is_never_run(stop: Any, reason: str) -> None:
    action = next_action([User("go"), Assistant("", (CALL,), stop)], asked=1, max_requests=9)
    assert isinstance(action, End)
    assert action.stop_reason == reason


def test_the_bound_of_requests_ends_the_turn_before_the_next_one() -> None:
    action = next_action([User("go"), Assistant("", (CALL,)), ANSWERED], asked=2, max_requests=2)
    assert isinstance(action, End)
    assert action.stop_reason == "max_turn_requests"


def test_what_writes_runs_alone_and_in_its_order_the_rest_side_by_side() -> None:
    names = ["read", "read", "edit", "edit", "read"]
    assert batches(names, lambda name: name == "edit") == [[0, 1], [2], [3], [4]]
    many = batches(["read"] * (MAX_PARALLEL_CALLS + 1), lambda _: False)
    assert [len(group) for group in many] == [MAX_PARALLEL_CALLS, 1]


def test_calls_that_never_ran_get_an_answer_and_others_keep_theirs() -> None:
    asked = Assistant("", (CALL,), "tools")
    talk = settled([User("a"), asked, ANSWERED, asked, User("b")])
    assert talk[:4] == [User("a"), asked, ANSWERED, asked]
    made = talk[4]
    assert isinstance(made, Results)
    assert made.results[0].is_error
    assert talk[5:] == [User("b")]
    assert settled(talk) == talk


def test_a_history_becomes_a_conversation_up_to_the_running_turn() -> None:
    entries = [
        HistoryEntry(role="user", text="a", turn=1, seq=1),
        HistoryEntry(role="assistant", text=" ", turn=1, seq=2),
        HistoryEntry(role="user", text="now", turn=2, seq=3),
    ]
    assert from_history(entries, 2) == [User("a")]


def test_a_history_that_is_cut_begins_with_a_gap_and_never_with_the_model() -> None:
    entries = [
        HistoryEntry(role=role, text=f"{role}{turn}", turn=turn, seq=turn * 2)
        for turn in range(1, MAX_REMEMBERED)
        for role in ("user", "assistant")
    ][1:]
    talk = from_history(entries, MAX_REMEMBERED + 1)
    assert talk[0] == Gap(len(entries) - MAX_REMEMBERED)
    assert len(talk) == MAX_REMEMBERED + 1
    assert from_history(entries[:1], 2) == [Gap(1), Assistant("assistant1")]
    assert from_history([], 1) == []


# What is left out


def long_talk(rounds: int, size: int = 4000) -> list[Message]:
    talk: list[Message] = [User("the task")]
    for number in range(rounds):
        call = Call(f"c{number}", "run_command", {}, "{}")
        talk += [Assistant("", (call,), "tools"), Results((Result(f"c{number}", "x" * size),))]
    return talk


def test_what_fits_is_left_as_it_is() -> None:
    talk = long_talk(3)
    assert compaction.fit(talk, compaction.size_of(talk)) == (talk, 0)


def test_the_oldest_rounds_go_and_the_task_and_the_newest_stay() -> None:
    talk = long_talk(10)
    room = compaction.size_of(talk) - 1
    fitted, left_out = compaction.fit(talk, room)
    assert fitted[0] == User("the task")
    assert fitted[1] == Gap(left_out)
    assert fitted[-2:] == talk[-2:]
    assert compaction.size_of(fitted) <= room * compaction.TARGET_SHARE + 100
    again, more = compaction.fit([*fitted, *long_talk(10)[1:]], room)
    assert again[1] == Gap(left_out + more)


def test_a_later_message_that_began_the_turn_stays_too() -> None:
    talk = [*long_talk(3), User("the second task"), *long_talk(10)[1:]]
    fitted, _ = compaction.fit(talk, 4000)
    assert User("the task") in fitted
    assert User("the second task") in fitted


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 3000), max_size=12),
    st.lists(st.integers(0, 11), max_size=3),
    st.integers(50, 6000),
)
def test_no_call_is_ever_parted_from_its_result(
    sizes: list[int], messages: list[int], room: int
) -> None:
    talk: list[Message] = [User("task")]
    for number, size in enumerate(sizes):
        talk += long_talk(1, size)[1:]
        if number in messages:
            talk.append(User(f"task {number}"))
    fitted, left_out = compaction.fit(talk, room)
    assert fitted[0] == talk[0]
    assert settled(fitted) == fitted
    for before, after in zip([None, *fitted], fitted, strict=False):
        if isinstance(after, Results):
            assert isinstance(before, Assistant)
            assert before.calls
    newest = [one for one in talk if isinstance(one, User)][-1]
    assert newest in fitted
    counted = sum(one.count if isinstance(one, Gap) else 1 for one in fitted)
    assert counted == len(talk)
    assert left_out == len(talk) - sum(not isinstance(one, Gap) for one in fitted)
