"""The state that follows from any legal events, against a plain model."""

from __future__ import annotations

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fold_support import Story
from pods.folds import memory, restore
from pods.journal.fold import STATE_KINDS, PodFold

NUMBERS_AS_KEYS = orjson.OPT_NON_STR_KEYS


class FoldMachine(RuleBasedStateMachine):
    """Legal events of a pod, told to a fold and to a model that remembers plainly."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.count = 0
        self.turn: int | None = None
        self.turns = 0
        self.queued: list[str] = []
        self.notes: list[str] = []
        self.open_questions: list[str] = []
        self.said = ""
        self.conversation: list[tuple[str, str]] = []
        self.answers: dict[str, tuple[str, int | None]] = {}
        self.phase = "starting"
        self.story.tell("status", state="starting")

    def new_id(self) -> str:
        self.count += 1
        return f"m{self.count}"

    @property
    def alive(self) -> bool:
        return self.phase in ("idle", "stopping")

    @precondition(lambda self: self.phase == "starting" and self.turn is None)
    @rule()
    def ready(self) -> None:
        self.phase = "idle"
        self.story.tell("status", state="idle")

    @precondition(lambda self: self.phase == "idle" and self.turn is None and not self.queued)
    @rule(wakes=st.booleans())
    def run(self, wakes: bool) -> None:
        message_id = self.new_id()
        self.turn = self.turns = self.turns + 1
        self.answers[message_id] = ("started", self.turn)
        self.conversation.append(("user", message_id))
        self.notes = []
        self.accept(message_id, "fail", "started", wakes)
        self.story.tell("turn_started", self.turn, message_id=message_id)

    def accept(self, message_id: str, if_busy: str, state: str, notify: bool) -> None:
        self.story.tell(
            "message_accepted",
            self.turn if state == "started" else None,
            message_id=message_id,
            input=message_id,
            if_busy=if_busy,
            state=state,
            notify=notify,
        )

    @precondition(lambda self: self.phase == "idle" and self.turn is not None)
    @rule(interrupt=st.booleans())
    def queue(self, interrupt: bool) -> None:
        message_id = self.new_id()
        self.queued.insert(0 if interrupt else len(self.queued), message_id)
        self.answers[message_id] = ("queued", None)
        self.accept(message_id, "interrupt" if interrupt else "queue", "queued", False)

    @precondition(lambda self: self.alive)
    @rule()
    def note(self) -> None:
        message_id = self.new_id()
        self.notes.append(message_id)
        self.answers[message_id] = ("queued", None)
        self.accept(message_id, "queue", "queued", True)

    @precondition(lambda self: bool(self.queued))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(self.queued))
        self.queued.remove(message_id)
        self.story.tell("message_withdrawn", message_id=message_id, reason="withdrawn")

    @precondition(lambda self: self.phase == "idle" and self.turn is None and bool(self.queued))
    @rule()
    def start_queued(self) -> None:
        message_id = self.queued.pop(0)
        self.turn = self.turns = self.turns + 1
        self.conversation.append(("user", message_id))
        self.notes = []
        self.story.tell("turn_started", self.turn, message_id=message_id)

    @precondition(lambda self: self.turn is not None)
    @rule(text=st.text("ab\n", max_size=5), kind=st.sampled_from(["text", "text_delta"]))
    def say(self, text: str, kind: str) -> None:
        self.said += text
        self.story.tell(kind, self.turn, text=text)

    @precondition(lambda self: self.turn is not None)
    @rule()
    def ask(self) -> None:
        question_id = self.new_id()
        self.open_questions.append(question_id)
        self.story.tell(
            "question", self.turn, question_id=question_id, prompt="?", options=[], default=None
        )

    @precondition(lambda self: bool(self.open_questions))
    @rule()
    def answer(self) -> None:
        question_id = self.open_questions.pop()
        self.story.tell("answer", self.turn, question_id=question_id, answer="y", by="client")

    @precondition(lambda self: self.turn is not None)
    @rule(reason=st.sampled_from(["end_turn", "cancelled", "lost", "timeout"]))
    def end_turn(self, reason: str) -> None:
        if self.said:
            self.conversation.append(("assistant", self.said))
        self.said = ""
        self.open_questions = []
        self.story.tell("turn_ended", self.turn, stop_reason=reason)
        self.turn = None

    @precondition(lambda self: self.phase == "idle")
    @rule()
    def begin_to_stop(self) -> None:
        self.phase = "stopping"
        self.story.tell("status", state="stopping")

    @precondition(lambda self: self.turn is None and self.phase == "stopping")
    @rule(reason=st.sampled_from(["stopped", "failed", "lost"]))
    def stop(self, reason: str) -> None:
        self.phase = reason
        self.story.tell("stopped", reason=reason)

    @rule()
    def restart(self) -> None:
        self.phase = "starting"
        self.open_questions = []
        self.story.tell("restarted", reason="crash")

    @rule()
    def go_on_from_a_snapshot(self) -> None:
        remembered = orjson.loads(orjson.dumps(memory(self.story.fold), option=NUMBERS_AS_KEYS))
        self.story.fold = PodFold()
        assert restore(self.story.fold, remembered) == []

    @rule(kind=st.sampled_from(["warning", "thought", "invented later"]))
    def other(self, kind: str) -> None:
        self.story.tell(kind)

    @invariant()
    def the_fold_agrees(self) -> None:
        fold = self.story.fold
        if self.phase in ("stopped", "failed", "lost", "stopping"):
            state = self.phase
        elif self.turn is not None:
            state = "waiting" if self.open_questions else "working"
        else:
            state = self.phase
        assert fold.state == state
        assert fold.turn == self.turn
        assert fold.turns == self.turns
        assert self.story.waiting() == self.queued
        assert [one.message_id for one in fold.notes] == self.notes
        assert [one.question_id for one in fold.questions] == self.open_questions
        assert [(one.role, one.text) for one in fold.history()] == self.conversation
        assert fold.running_text == self.said
        for message_id, (kind, turn) in self.answers.items():
            known = fold.message(message_id)
            assert known is not None
            assert (known.state, known.turn) == (kind, turn)
        assert fold.last_seq == len(self.story.events)

    def teardown(self) -> None:
        again, narrow = PodFold(), PodFold()
        again.apply_many(self.story.events)
        assert again.status() == self.story.fold.status()
        assert memory(again) == memory(self.story.fold)
        narrow.apply_many(event for event in self.story.events if event.type in STATE_KINDS)
        narrow.last_seq = again.last_seq
        assert narrow.status() == again.status()


TestFoldMachine = FoldMachine.TestCase
TestFoldMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
