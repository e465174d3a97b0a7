"""What becomes of messages: at once, in the queue, as notes, taken back."""

from __future__ import annotations

import pytest

from pod_support import opened_rig
from pods.pod.message_rules import MAX_NOTES
from pods.pod.stimuli import (
    CancelTurn,
    Finished,
    StartTurn,
    Withdraw,
)
from pods_protocol import errors
from pods_protocol.pod_messages import RunResult
from turn_support import note, run, state, working_rig


def test_an_idle_pod_starts_a_turn_at_once() -> None:
    rig = opened_rig()
    decision = rig.give(run("hello"))
    assert decision.reply == RunResult(message_id="m1", state="started", turn=1)
    assert decision.commands == (StartTurn(1, "m1", "hello"),)
    assert decision.durable
    assert rig.kinds(since=1) == ["message_accepted", "turn_started"]


def test_a_busy_pod_refuses_a_second_message_and_says_what_to_do() -> None:
    rig = working_rig()
    with pytest.raises(errors.AlreadyRunning, match="already running turn 1") as caught:
        rig.reply(run("second"))
    assert caught.value.data == {"turn": 1, "since": 2.0, "queue_length": 0}
    assert "if_busy" in caught.value.message


def test_queued_messages_run_in_their_order() -> None:
    rig = working_rig()
    assert rig.reply(run("second", "queue")).position == 1
    assert rig.reply(run("third", "queue")).position == 2
    assert rig.give(Finished(1, "end_turn")).commands == (StartTurn(2, "m2", "second"),)
    assert rig.give(Finished(2, "error")).commands == (StartTurn(3, "m3", "third"),)
    assert rig.give(Finished(3, "end_turn")).commands == ()
    assert state(rig) == "idle"


def test_the_queue_has_a_bound() -> None:
    rig = working_rig(max_queue_length=1)
    rig.reply(run("second", "queue"))
    for if_busy in ("queue", "interrupt"):
        with pytest.raises(errors.QueueFull) as caught:
            rig.reply(run("third", if_busy))
        assert caught.value.data == {"queue_length": 1, "limit": 1}


def test_an_interrupt_cancels_and_comes_next() -> None:
    rig = working_rig()
    rig.give(run("later", "queue"))
    decision = rig.give(run("now", "interrupt"))
    assert decision.commands == (CancelTurn(1, "interrupt"),)
    assert decision.reply == RunResult(message_id="m3", state="queued", position=1)
    assert rig.give(Finished(1, "cancelled")).commands == (StartTurn(2, "m3", "now"),)


def test_a_repeated_message_has_one_effect_and_the_same_answer() -> None:
    rig = opened_rig()
    first = rig.give(run("hello", message_id="mine"))
    again = rig.give(run("hello", message_id="mine"))
    assert again.reply == first.reply
    assert (again.events, again.commands) == ((), ())
    queued = rig.give(run("more", "queue", "other")).reply
    rig.give(Finished(1, "end_turn"))
    rig.give(Finished(2, "end_turn"))
    assert rig.give(run("more", "fail", "other")).reply == queued
    assert rig.give(note("x", "other")).reply == queued


@pytest.mark.parametrize("message_id", ["", "x" * 201])
def test_a_message_id_has_a_length(message_id: str) -> None:
    with pytest.raises(errors.InvalidParams):
        opened_rig().reply(run(message_id=message_id))


def test_notes_come_with_the_next_turn() -> None:
    rig = opened_rig()
    assert rig.reply(note("one")).state == "queued"
    rig.reply(note("two"))
    assert rig.give(run("go")).commands == (StartTurn(1, "m3", "go", ("one", "two")),)
    rig.reply(note("three"))
    rig.give(run("next", "queue"))
    assert rig.give(Finished(1, "end_turn")).commands == (StartTurn(2, "m5", "next", ("three",)),)


def test_a_note_can_wake_an_idle_agent() -> None:
    decision = opened_rig().give(note("wake up", wake=True))
    assert decision.commands == (StartTurn(1, "m1", "wake up"),)


def test_a_note_that_wakes_is_not_forgotten_by_a_busy_agent() -> None:
    rig = working_rig()
    rig.give(note("wake up", wake=True))
    assert rig.give(Finished(1, "end_turn")).commands == (StartTurn(2, "m2", "wake up"),)


def test_notes_have_a_bound_and_none_is_dropped() -> None:
    rig = opened_rig()
    for number in range(MAX_NOTES):
        rig.reply(note(str(number)))
    with pytest.raises(errors.QueueFull):
        rig.reply(note("one more"))
    assert len(rig.fold.notes) == MAX_NOTES


def test_what_waits_can_be_withdrawn() -> None:
    rig = working_rig()
    rig.give(run("second", "queue", "q"))
    rig.give(note("n", "n"))
    for message_id in ("q", "n"):
        assert rig.give(Withdraw(message_id)).events == (
            ("message_withdrawn", {"message_id": message_id, "reason": "withdrawn"}, None),
        )
    assert rig.give(Finished(1, "end_turn")).commands == ()


@pytest.mark.parametrize(("message_id", "state"), [("m1", "taken"), ("never", "unknown")])
def test_what_does_not_wait_cannot_be_withdrawn(message_id: str, state: str) -> None:
    with pytest.raises(errors.UnknownMessage) as caught:
        working_rig().reply(Withdraw(message_id))
    assert caught.value.data["state"] == state
