"""The rules of turns, without a process, a socket or a file."""

from __future__ import annotations

import attrs
import pytest

from pod_support import OPENED, MachineRig, opened_rig
from pods.pod.moves import MACHINE_STATES, MOVES, as_markdown
from pods.pod.rule_parts import IllegalMove
from pods.pod.stimuli import (
    Cancel,
    CancelTurn,
    EndPod,
    Finished,
    Shutdown,
    StartTurn,
)
from pods_protocol import errors
from pods_protocol.process_messages import Revival
from turn_support import ask, note, run, state, working_rig


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
