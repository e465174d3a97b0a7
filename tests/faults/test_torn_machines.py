"""Whatever a crash leaves of the last write, whoever goes on from there loses no message.

A decision's events are one write, and a torn write keeps any number of its first lines. So the
journal is cut after any of them, folded anew, and taken over; at the end the campaign's own judge
looks at all of it. Pure: the journal is a list.
"""

from __future__ import annotations

from typing import Any

import orjson
import verdict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from effort import examples
from pod_support import OPENED
from pods.folds import memory, restore
from pods.journal.ending import end_of_the_dead
from pods.journal.fold import PodFold
from pods.pod.stimuli import (
    Answered,
    Asked,
    Cancel,
    ChildTold,
    Decision,
    Finished,
    Hold,
    Notify,
    QuestionClosed,
    Run,
    Shutdown,
    Stimulus,
    Withdraw,
)
from pods.pod.turns import TurnMachine
from pods_protocol.events import Event
from pods_protocol.pod_messages import RunResult

ALL_LINES = 99
IDS = st.sampled_from(["a", "b", "c", "d", "e"])
KEPT = st.one_of(st.just(ALL_LINES), st.integers(0, 3))
"""How many lines of the write are kept; as a rule all of them, and the process lives on."""


class TornPod(RuleBasedStateMachine):
    """A pod whose process dies in the middle of writes."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[Event] = []
        self.told = 0
        self.promised: dict[str, RunResult] = {}
        """What was answered, by message id."""
        self.over = False
        """Nothing of it lives, and its journal was ended for it."""
        self.start()

    # The process --------------------------------------------------------------------------------

    def start(self, kept: int = ALL_LINES) -> None:
        """A process folds the journal and takes it over; it may die at that, too."""
        self.fold = PodFold()
        for event in self.journal:
            self.fold.apply(event)
        fresh = iter(range(10**6))
        prefix = f"own-{len(self.journal)}-"
        self.machine = TurnMachine(self.fold, new_id=lambda: f"{prefix}{next(fresh)}",
                                   max_queue_length=3, can_hold=True)  # fmt: skip
        self.over = False
        decision = self.machine.decide(OPENED)
        if self.write(decision.events, kept):
            self.machine.opened()
        else:
            self.start()

    def write(self, items: Any, kept: int) -> bool:
        """Append lines, or as many as the crash keeps; whether the process lives on."""
        for kind, data, turn in items[:kept]:
            seq = len(self.journal) + 1
            event = Event(seq=seq, time=float(seq), turn=turn, type=kind, data=data)
            self.journal.append(event)
            self.fold.apply(event)
        return kept >= len(items)

    def give(self, stimulus: Stimulus, kept: int) -> Decision | None:
        """What a living process answers; None from one that died while it wrote."""
        if self.over:
            self.start()
        decision = self.machine.decide(stimulus)
        if self.write(decision.events, kept):
            return decision
        self.start()
        return None

    # What happens to it -------------------------------------------------------------------------

    @rule(message_id=IDS, if_busy=st.sampled_from(["queue", "interrupt", "fail"]), kept=KEPT)
    def run(self, message_id: str, if_busy: Any, kept: int) -> None:
        self.note_answer(message_id, self.give(Run("do", if_busy, message_id), kept))

    @rule(message_id=IDS, wake=st.booleans(), kept=KEPT)
    def notify(self, message_id: str, wake: bool, kept: int) -> None:
        self.note_answer(message_id, self.give(Notify("note", wake, message_id), kept))

    def note_answer(self, message_id: str, decision: Decision | None) -> None:
        if decision is not None and isinstance(decision.reply, RunResult):
            before = self.promised.setdefault(message_id, decision.reply)
            assert before == decision.reply, "the same id, the same answer"

    @rule(message_id=IDS, kept=KEPT)
    def withdraw(self, message_id: str, kept: int) -> None:
        self.give(Withdraw(message_id), kept)

    @rule(kept=KEPT, wake=st.booleans())
    def hear_of_a_child(self, kept: int, wake: bool) -> None:
        seq = self.told + 1
        data: dict[str, Any] = {
            "pod": "c",
            "id": "c",
            "seq": seq,
            "type": "turn_ended",
            "data": {},
            "wake": wake,
        }
        decision = self.give(ChildTold("c", seq, data, wake), kept)
        if decision is not None and decision.reply == seq:
            self.told = seq

    @rule(reason=st.sampled_from(["end_turn", "error", "cancelled"]), kept=KEPT)
    @precondition(lambda self: self.fold.turn is not None and not self.over)
    def finish(self, reason: Any, kept: int) -> None:
        assert self.fold.turn is not None
        self.give(Finished(self.fold.turn, reason), kept)

    @rule()
    def cancel(self) -> None:
        self.give(Cancel(), ALL_LINES)

    @rule(kept=KEPT)
    @precondition(lambda self: self.machine.state in ("working", "waiting") and not self.over)
    def ask(self, kept: int) -> None:
        assert self.fold.turn is not None
        self.give(Asked(self.fold.turn, "?", (), "yes", None), kept)

    @rule(answered=st.booleans(), kept=KEPT)
    @precondition(lambda self: bool(self.fold.questions) and not self.over)
    def settle(self, answered: bool, kept: int) -> None:
        question = self.fold.questions[0].question_id
        self.give(
            Answered(question, "no") if answered else QuestionClosed(question, "default"), kept
        )

    @rule(feature=st.sampled_from(["pause", "resume"]), whole=st.booleans(), kept=KEPT)
    def hold(self, feature: Any, whole: bool, kept: int) -> None:
        self.give(Hold(feature, whole), kept)

    @rule(mode=st.sampled_from(["finish", "now"]), kept=KEPT)
    def shut_down(self, mode: Any, kept: int) -> None:
        self.give(Shutdown(mode), kept)

    @rule(kept=KEPT)
    def be_killed_and_started_again(self, kept: int) -> None:
        self.start(kept)

    @rule(kept=KEPT)
    def be_killed_and_buried(self, kept: int) -> None:
        """The supervisor writes what the journal lacks; it may die at that and be followed."""
        if not self.write(end_of_the_dead(self.fold, "lost", "gone"), kept):
            self.write(end_of_the_dead(self.fold, "lost", "gone"), ALL_LINES)
        self.over = True

    # What must hold -----------------------------------------------------------------------------

    @invariant()
    def the_journal_is_well_formed(self) -> None:
        assert verdict.judge_turns(self.lines(), ended=self.over) == []

    @invariant()
    def what_was_answered_is_known(self) -> None:
        for message_id, answer in self.promised.items():
            assert self.fold.message(message_id) == answer

    @invariant()
    def a_child_is_heard_once(self) -> None:
        seqs = [one.data["seq"] for one in self.journal if one.type == "child_event"]
        assert seqs == sorted(set(seqs))
        assert self.told <= len(seqs)

    @invariant()
    def the_fold_is_what_the_journal_says(self) -> None:
        anew = PodFold()
        for event in self.journal:
            anew.apply(event)
        assert anew.status() == self.fold.status()
        # Nor does it matter where a snapshot was made: what follows is the same.
        at = len(self.journal) // 2
        half, again = PodFold(), PodFold()
        half.apply_many(self.journal[:at])
        assert not restore(again, orjson.loads(orjson.dumps(memory(half))))
        again.apply_many(self.journal[at:])
        assert memory(again) == memory(anew)

    def teardown(self) -> None:
        self.be_killed_and_buried(ALL_LINES)
        self.the_journal_is_well_formed()

    def lines(self) -> list[dict[str, Any]]:
        return [
            {"seq": one.seq, "turn": one.turn, "type": one.type, "data": one.data}
            for one in self.journal
        ]


TestTornPod = TornPod.TestCase
TestTornPod.settings = settings(max_examples=examples(60), stateful_step_count=25, deadline=None)
