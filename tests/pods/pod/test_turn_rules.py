"""What can happen to a turn that runs: cancel, hold, its end, its questions."""

from __future__ import annotations

from typing import Any

import pytest

from pod_support import OPENED, MachineRig, opened_rig
from pods.pod.stimuli import (
    Answered,
    Cancel,
    CancelTurn,
    EndPod,
    Finished,
    GiveAnswer,
    Hold,
    HoldTurn,
    QuestionClosed,
    Shutdown,
    StartTurn,
    Withdraw,
)
from pods_protocol import errors
from pods_protocol.pod_messages import RunResult
from turn_support import ask, note, paused_rig, run, state, working_rig


def test_cancel_tells_which_turn() -> None:
    rig = working_rig()
    decision = rig.give(Cancel())
    assert (decision.reply, decision.commands) == (1, (CancelTurn(1, "cancel"),))
    rig.give(Finished(1, "cancelled", "", None, 1.5))
    assert rig.events[-1].data == {"stop_reason": "cancelled", "seconds": 1.5}


def test_cancelling_nothing_is_no_error() -> None:
    assert opened_rig().reply(Cancel()) is None


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
