"""The rules of turns, without a process, a socket or a file."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pod_support import OPENED, MachineRig, opened_rig
from pods.pod.message_rules import MAX_NOTES
from pods.pod.moves import MACHINE_STATES, MOVES, as_markdown
from pods.pod.rule_parts import IllegalMove
from pods.pod.stimuli import (
    Answered,
    Asked,
    Cancel,
    CancelTurn,
    EndPod,
    Finished,
    GiveAnswer,
    Hold,
    HoldTurn,
    Notify,
    QuestionClosed,
    Run,
    Shutdown,
    StartTurn,
    Withdraw,
)
from pods_protocol import errors
from pods_protocol.pod_messages import RunResult
from pods_protocol.process_messages import Revival


def run(text: str = "do", if_busy: Any = "fail", message_id: str | None = None) -> Run:
    return Run(text, if_busy, message_id)


def note(text: str = "by the way", message_id: str | None = None, *, wake: bool = False) -> Notify:
    return Notify(text, wake, message_id)


def ask(turn: int = 1, options: tuple[str, ...] = (), default: str | None = None) -> Asked:
    return Asked(turn, "really?", options, default, None)


def state(rig: MachineRig) -> str:
    return rig.machine.state


def working_rig(**options: Any) -> MachineRig:
    rig = opened_rig(**options)
    rig.give(run("first"))
    return rig


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


def test_cancel_tells_which_turn() -> None:
    rig = working_rig()
    decision = rig.give(Cancel())
    assert (decision.reply, decision.commands) == (1, (CancelTurn(1, "cancel"),))
    rig.give(Finished(1, "cancelled", "", None, 1.5))
    assert rig.events[-1].data == {"stop_reason": "cancelled", "seconds": 1.5}


def test_cancelling_nothing_is_no_error() -> None:
    assert opened_rig().reply(Cancel()) is None


def paused_rig(**options: Any) -> MachineRig:
    """A pod whose whole tree is paused in the middle of its first turn."""
    rig = working_rig(**options)
    assert rig.give(Hold("pause", whole=True)).commands == (HoldTurn(True),)
    assert state(rig) == "paused"
    return rig


def test_a_turn_is_held_by_its_agent_only_where_it_can() -> None:
    with pytest.raises(errors.NotSupported, match="pods pause"):
        working_rig().reply(Hold("pause"))
    rig = working_rig(can_hold=True)
    assert rig.give(Hold("pause")).commands == (HoldTurn(True),)
    assert rig.events[-1].data == {"state": "paused"}
    assert rig.give(Hold("pause")).events == ()


def test_a_paused_pod_queues_and_refuses_everything_else() -> None:
    rig = paused_rig()
    for if_busy in ("fail", "interrupt"):
        with pytest.raises(errors.PodPaused, match="resume it"):
            rig.reply(run("no", if_busy))
    assert rig.reply(run("second", "queue", "s")).position == 1
    assert rig.reply(run("again", "fail", "s")).position == 1
    assert rig.reply(note("third", wake=True)).state == "queued"
    rig.reply(Withdraw("s"))
    assert [one.input for one in rig.fold.queue] == ["third"]


def test_a_resumed_turn_goes_on_and_what_waited_follows_it() -> None:
    rig = paused_rig()
    rig.give(run("second", "queue"))
    assert rig.give(Hold("resume")).commands == (HoldTurn(False),)
    assert state(rig) == "working"
    assert rig.give(Hold("resume")).events == ()
    assert rig.give(Finished(1, "end_turn")).commands == (StartTurn(2, "m2", "second"),)


def test_a_turn_that_ends_while_its_pod_is_paused_is_followed_by_none_until_it_goes_on() -> None:
    rig = paused_rig()
    rig.give(run("second", "queue"))
    assert rig.give(Cancel()).commands == (CancelTurn(1, "cancel"),)
    assert rig.give(Finished(1, "cancelled")).commands == ()
    assert state(rig) == "paused"
    assert rig.give(Cancel()).reply is None
    resumed = rig.give(Hold("resume"))
    assert resumed.commands == (HoldTurn(False), StartTurn(2, "m2", "second"))
    assert state(rig) == "working"


def test_an_idle_pod_is_paused_and_wakes_to_nothing_meanwhile() -> None:
    rig = opened_rig()
    rig.give(Hold("pause", whole=True))
    assert rig.reply(note(wake=True)).state == "queued"
    rig.give(Hold("resume"))
    assert (state(rig), rig.fold.queue) == ("working", ())


def test_a_paused_pod_that_waits_for_an_answer_does_so_again() -> None:
    rig = working_rig()
    rig.give(ask())
    rig.give(Hold("pause", whole=True))
    assert state(rig) == "paused"
    rig.give(Hold("resume"))
    assert state(rig) == "waiting"


@pytest.mark.parametrize("mode", ["now", "finish"])
def test_a_paused_pod_that_is_to_end_lets_its_turn_go_on_first(mode: Any) -> None:
    rig = paused_rig()
    decision = rig.give(Shutdown(mode))
    assert decision.commands[0] == HoldTurn(False)
    assert decision.commands[1:] == ((CancelTurn(1, "shutdown"),) if mode == "now" else ())
    assert state(rig) == "stopping"
    with pytest.raises(errors.PodEnded):
        rig.reply(Hold("pause", whole=True))


def test_a_paused_idle_pod_ends_at_once() -> None:
    rig = opened_rig()
    rig.give(Hold("pause", whole=True))
    assert rig.give(Shutdown("now")).commands == (EndPod(),)


def test_a_pod_that_died_paused_is_not_paused_when_it_goes_on() -> None:
    rig = paused_rig()
    rig.give(run("second", "queue", "s"))
    rig.give(run("third", "queue", "t"))
    again = MachineRig(fold=rig.fold)
    decision = again.give(OPENED)
    assert decision.commands == (StartTurn(2, "s", "second"),)
    assert [one.message_id for one in again.fold.queue] == ["t"]
    assert again.reply(run("third", "fail", "t")) == RunResult(
        message_id="t", state="queued", position=2
    )
    assert state(again) == "working"


def test_the_end_of_a_turn_carries_how_it_was() -> None:
    rig = working_rig()
    rig.give(Finished(1, "error", "exit status 3", 3))
    assert rig.events[-1].data == {
        "stop_reason": "error",
        "message": "exit status 3",
        "exit_status": 3,
    }


# Questions


def test_a_question_is_answered_once() -> None:
    rig = working_rig()
    rig.reply(ask())
    question_id = rig.reply(ask())
    assert state(rig) == "waiting"
    assert rig.reply(Answered(rig.fold.questions[0].question_id, "first")) is None
    assert state(rig) == "waiting"
    rig.reply(ask())
    decision = rig.give(Answered(question_id, "yes"))
    assert decision.commands == (GiveAnswer(question_id, "yes"),)
    assert rig.give(Answered(rig.fold.questions[-1].question_id, "third")).events
    assert state(rig) == "working"
    with pytest.raises(errors.UnknownQuestion):
        rig.reply(Answered(question_id, "no"))


def test_an_answer_is_one_of_the_options() -> None:
    rig = working_rig()
    question_id = rig.reply(ask(options=("yes", "no")))
    with pytest.raises(errors.InvalidParams) as caught:
        rig.reply(Answered(question_id, "perhaps"))
    assert caught.value.data["options"] == ["yes", "no"]
    assert rig.reply(Answered(question_id, "no")) is None


@pytest.mark.parametrize(
    ("default", "by", "answer", "told"),
    [("no", "default", "no", "default"), (None, "default", None, "cancelled"),
     ("no", "cancelled", None, "cancelled")],
)  # fmt: skip
def test_a_question_that_nobody_answers_is_closed(
    default: str | None, by: Any, answer: str | None, told: str
) -> None:
    rig = working_rig()
    question_id = rig.reply(ask(default=default))
    decision = rig.give(QuestionClosed(question_id, by))
    assert decision.commands == (GiveAnswer(question_id, answer),)
    assert rig.events[-1].data == {"question_id": question_id, "answer": answer, "by": told}
    assert rig.give(QuestionClosed(question_id, by)).events == ()


def test_questions_have_a_bound() -> None:
    rig = working_rig()
    for _ in range(8):
        rig.reply(ask())
    with pytest.raises(errors.Busy):
        rig.reply(ask())


def test_the_end_of_a_turn_closes_its_questions() -> None:
    rig = working_rig()
    rig.give(ask())
    before = rig.fold.last_seq
    rig.give(Finished(1, "cancelled"))
    assert rig.kinds(before) == ["answer", "turn_ended"]
    assert rig.fold.questions == ()


# The end


def test_an_idle_pod_ends_at_once() -> None:
    rig = opened_rig()
    rig.give(note("never told"))
    before = rig.fold.last_seq
    assert rig.give(Shutdown("finish")).commands == (EndPod(),)
    assert rig.kinds(before) == ["status", "message_withdrawn", "stopped"]
    assert state(rig) == "ended"
    assert rig.give(Shutdown("now")).commands == ()


def test_finish_lets_the_turn_end_and_tells_whose_message_will_not_run() -> None:
    rig = working_rig()
    rig.give(run("second", "queue"))
    assert rig.give(Shutdown("finish")).commands == ()
    assert rig.events[-1].data == {"message_id": "m2", "reason": "undelivered"}
    for late in (run("third", "queue"), note(), note(wake=True)):
        with pytest.raises(errors.PodEnded) as caught:
            rig.reply(late)
        assert caught.value.data == {"state": "stopping"}
    assert rig.give(Shutdown("finish")).commands == ()
    assert rig.give(Finished(1, "end_turn")).commands == (EndPod(),)
    assert rig.kinds()[-2:] == ["turn_ended", "stopped"]
    with pytest.raises(errors.PodEnded):
        rig.reply(run())


def test_now_cancels_the_turn() -> None:
    assert working_rig().give(Shutdown("now")).commands == (CancelTurn(1, "shutdown"),)


def test_now_after_finish_hurries() -> None:
    rig = working_rig()
    rig.give(Shutdown("finish"))
    assert rig.give(Shutdown("now")).commands == (CancelTurn(1, "shutdown"),)


def test_a_message_that_was_accepted_keeps_its_answer_to_the_end() -> None:
    rig = opened_rig()
    first = rig.reply(run(message_id="mine"))
    rig.give(Shutdown("finish"))
    assert rig.reply(run(message_id="mine")) == first


# After a crash


def test_a_turn_that_its_process_did_not_survive_is_lost_and_the_queue_goes_on() -> None:
    dead = working_rig()
    dead.give(ask())
    dead.give(run("second", "queue"))
    heir = MachineRig(fold=dead.fold)
    decision = heir.give(OPENED)
    assert [kind for kind, _, _ in decision.events] == [
        "answer", "turn_ended", "restarted", "status", "turn_started",
    ]  # fmt: skip
    assert decision.events[1][1]["stop_reason"] == "lost"
    assert decision.commands == (StartTurn(2, "m2", "second"),)
    assert state(heir) == "working"


def test_the_agent_is_told_of_a_restart_with_its_next_turn_and_only_then() -> None:
    dead = working_rig()
    heir = MachineRig(fold=dead.fold)
    decision = heir.give(attrs.evolve(OPENED, revival=Revival(reason="it fell over", attempt=2)))
    ended, restarted = decision.events[0], decision.events[1]
    assert ended[1]["message"] == "the pod ended: it fell over"
    assert restarted == (
        "restarted",
        {"reason": "lost", "message": "it fell over", "attempt": 2},
        None,
    )
    (first,) = heir.give(run("next")).commands
    assert isinstance(first, StartTurn)
    assert len(first.notes) == 1
    assert "restarted (attempt 2): it fell over" in first.notes[0]
    heir.give(Finished(first.turn, "end_turn"))
    (second,) = heir.give(run("after that")).commands
    assert isinstance(second, StartTurn)
    assert second.notes == ()


def test_what_waited_is_told_of_the_restart_that_let_it_run() -> None:
    dead = working_rig()
    dead.give(run("second", "queue"))
    heir = MachineRig(fold=dead.fold)
    decision = heir.give(attrs.evolve(OPENED, revival=Revival(reason="it fell over", attempt=1)))
    (start,) = decision.commands
    assert isinstance(start, StartTurn)
    assert start.input == "second"
    assert ["restarted (attempt 1)" in note for note in start.notes] == [True]


def test_a_pod_that_ended_well_is_idle_again_when_restored() -> None:
    dead = opened_rig()
    dead.give(Shutdown("finish"))
    heir = MachineRig(fold=dead.fold)
    assert [kind for kind, _, _ in heir.give(OPENED).events] == ["restarted", "status"]
    assert heir.events[0].data == {"reason": "stopped"}
    assert state(heir) == "idle"


# Bugs of ours are seen


def test_what_the_table_does_not_list_is_a_bug() -> None:
    for rig, stimulus in (
        (MachineRig(), run()),
        (opened_rig(), Finished(1, "end_turn")),
        (working_rig(), Finished(2, "end_turn")),
        (working_rig(), OPENED),
        (working_rig(), ask(turn=2)),
    ):
        with pytest.raises(IllegalMove):
            rig.give(stimulus)


def test_cancelling_needs_a_turn() -> None:
    rig = opened_rig()
    rig.fold.turn = None
    rig.fold._phase = "stopping"  # pyright: ignore[reportPrivateUsage]  # no journal leads here
    with pytest.raises(IllegalMove):
        rig.give(Cancel())


def test_the_table_prints_itself() -> None:
    lines = as_markdown().splitlines()
    assert lines[0] == "| | " + " | ".join(MACHINE_STATES) + " |"
    assert all(line.count("|") == len(MACHINE_STATES) + 2 for line in lines)
    assert "wind down → stopping" in as_markdown()
    assert set(MOVES) == set(MACHINE_STATES)
