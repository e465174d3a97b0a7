"""Whatever happens in whatever order: one turn at a time, one fate a message, order kept."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from effort import examples
from pod_support import OPENED, MachineRig
from pods.pod.moves import MOVES
from pods.pod.stimuli import (
    Answered,
    Asked,
    Cancel,
    CancelTurn,
    Decision,
    EndPod,
    Finished,
    Notify,
    QuestionClosed,
    Run,
    Shutdown,
    StartTurn,
    Stimulus,
    Withdraw,
)
from pods_protocol.errors import PodsError
from pods_protocol.pod_messages import RunResult

MAX_QUEUE = 3
IDS = st.sampled_from(["a", "b", "c", None])


class Turns(RuleBasedStateMachine):
    """A model that believes nothing but replies and commands."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = MachineRig(max_queue_length=MAX_QUEUE)
        self.running: int | None = None
        self.expected: list[str] = []
        """Messages that wait, in the order they must run."""
        self.fates: dict[str, str] = {}
        self.answers: dict[str, RunResult] = {}
        self.ended = False
        self.open()

    def open(self) -> None:
        self.running = None
        self.act(self.rig.give(OPENED))

    def give(self, stimulus: Stimulus) -> Decision:
        before = self.rig.machine.state
        decision = self.rig.give(stimulus)
        assert self.rig.machine.state in MOVES[before][type(stimulus)].leads_to
        self.act(decision)
        return decision

    def act(self, decision: Decision) -> None:
        for kind, data, _ in decision.events:
            if kind == "message_withdrawn":
                self.settle(data["message_id"], data["reason"])
        for command in decision.commands:
            if isinstance(command, StartTurn):
                assert self.running is None, "one turn at a time"
                self.running = command.turn
                if command.message_id in self.expected:
                    assert self.expected.pop(0) == command.message_id, "order is kept"
                self.fates[command.message_id] = "ran"
            elif isinstance(command, CancelTurn):
                assert command.turn == self.running
            elif isinstance(command, EndPod):
                assert self.running is None
                self.ended = True

    def settle(self, message_id: str, fate: str) -> None:
        if message_id in self.expected:
            self.expected.remove(message_id)
            assert message_id not in self.fates, "one fate"
            self.fates[message_id] = fate

    @rule(if_busy=st.sampled_from(["fail", "queue", "interrupt"]), message_id=IDS)
    def run(self, if_busy: Any, message_id: str | None) -> None:
        known = self.answers.get(message_id or "")
        before = self.rig.fold.last_seq
        was_busy = self.running is not None
        reply = self.give(Run("do", if_busy, message_id)).reply
        if known is not None:
            assert reply == known
            assert self.rig.fold.last_seq == before
        elif isinstance(reply, RunResult):
            self.answers[reply.message_id] = reply
            assert (reply.state == "queued") == was_busy
            if reply.state == "queued":
                at = 0 if if_busy == "interrupt" else len(self.expected)
                self.expected.insert(at, reply.message_id)
                assert reply.position == at + 1
        else:
            assert isinstance(reply, PodsError)
            assert self.rig.fold.last_seq == before, "a refusal leaves nothing behind"

    @rule(wake=st.booleans())
    def notify(self, wake: bool) -> None:
        was_busy = self.running is not None
        reply = self.give(Notify("note", wake, None)).reply
        if isinstance(reply, RunResult) and wake and was_busy:
            self.expected.append(reply.message_id)

    @precondition(lambda self: self.running is not None)
    @rule(reason=st.sampled_from(["end_turn", "error", "cancelled", "timeout"]))
    def finish(self, reason: Any) -> None:
        turn, self.running = self.running, None
        assert turn is not None
        self.give(Finished(turn, reason))

    @rule()
    def cancel(self) -> None:
        assert self.give(Cancel()).reply == self.running

    @rule(message_id=IDS)
    def withdraw(self, message_id: str | None) -> None:
        self.give(Withdraw(message_id or "none"))

    @precondition(lambda self: self.running is not None)
    @rule()
    def ask(self) -> None:
        assert self.running is not None
        self.give(Asked(self.running, "?", (), None, None))

    @precondition(lambda self: bool(self.rig.fold.questions))
    @rule(in_time=st.booleans())
    def settle_question(self, in_time: bool) -> None:
        question_id = self.rig.fold.questions[0].question_id
        if in_time:
            self.give(Answered(question_id, "yes"))
        else:
            self.give(QuestionClosed(question_id, "default"))

    @rule(mode=st.sampled_from(["finish", "now"]))
    def shut_down(self, mode: Any) -> None:
        self.give(Shutdown(mode))

    @rule()
    def crash_and_restart(self) -> None:
        self.rig = MachineRig(max_queue_length=MAX_QUEUE, fold=self.rig.fold)
        self.ended = False
        self.open()

    @invariant()
    def the_queue_is_as_expected(self) -> None:
        assert [one.message_id for one in self.rig.fold.queue] == self.expected
        assert len(self.expected) <= MAX_QUEUE

    @invariant()
    def the_fold_and_the_commands_agree(self) -> None:
        assert self.rig.fold.turn == self.running
        assert self.ended == (self.rig.machine.state == "ended")
        if self.rig.machine.state in ("idle", "ended"):
            assert self.expected == [], "nothing accepted is left without a fate"

    @invariant()
    def every_turn_ends_exactly_once(self) -> None:
        ends = [event.turn for event in self.rig.events if event.type == "turn_ended"]
        assert len(ends) == len(set(ends))


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)
