"""The state that follows from the events, case by case; `test_journal_fold_machine` has a model."""

from __future__ import annotations

import pytest

from fold_support import Story
from pods.journal import mailbox as mailbox_module
from pods.journal.conversation import (
    MAX_HISTORY_CHARACTERS,
    MAX_HISTORY_ENTRIES,
    MAX_TURN_TEXT_CHARACTERS,
)
from pods.journal.fold import PodFold
from pods.journal.mailbox import MAX_REMEMBERED_MESSAGES, MAX_UNDELIVERED_CHARACTERS, Note
from pods_protocol.events import EVENT_KINDS, Event
from pods_protocol.pod_messages import HistoryEntry, RunResult
from pods_protocol.values import OpenQuestion, PodStatus, QueuedMessage, TurnSummary


@pytest.fixture
def story() -> Story:
    """A pod that is idle."""
    story = Story()
    story.tell("status", state="starting")
    story.tell("status", state="idle", agent="echo")
    return story


def test_a_new_fold_is_starting_and_knows_nothing() -> None:
    fold = PodFold()
    assert fold.status() == PodStatus(
        state="starting",
        turn=None,
        turn_started=None,
        queue=(),
        questions=(),
        last_seq=0,
        last_turn=None,
    )
    assert (fold.notes, fold.history(), fold.usage, fold.ended) == ((), [], {}, None)
    assert fold.message("m") is None


def test_a_turn_from_its_message_to_its_end(story: Story) -> None:
    assert story.state() == "idle"
    story.start(1)
    assert story.state() == "working"
    assert (story.fold.turn, story.fold.turn_started, story.fold.turns) == (1, 4.0, 1)
    assert story.unfinished() == 1
    story.tell("text_delta", 1, text="one ")
    story.tell("thought", 1, text="not said")
    story.tell("text", 1, text="two")
    assert story.fold.running_text == "one two"
    story.tell("turn_ended", 1, stop_reason="end_turn", message="fine", exit_status=0)
    assert story.state() == "idle"
    assert story.unfinished() is None
    assert story.fold.last_turn == TurnSummary(
        turn=1, stop_reason="end_turn", message="fine", exit_status=0
    )
    assert story.fold.history() == [
        HistoryEntry(role="user", text="do it", turn=1, seq=4),
        HistoryEntry(role="assistant", text="one two", turn=1, seq=8),
    ]
    assert story.fold.running_text == ""


def test_a_stop_reason_of_a_newer_version_is_not_taken_for_a_success(story: Story) -> None:
    story.start(1)
    story.tell("turn_ended", 1, stop_reason="splendid", exit_status="none")
    assert story.fold.last_turn == TurnSummary(turn=1, stop_reason="error")


def test_questions_make_a_turn_wait_until_all_are_answered(story: Story) -> None:
    story.start(1)
    story.tell("question", 1, question_id="q1", prompt="sure?", options=["y", "n"], default="n",
               deadline=1795262400)  # fmt: skip
    story.tell("question", 1, question_id="q2", prompt="why?", options=None, default=None)
    assert story.state() == "waiting"
    assert story.questions() == [
        OpenQuestion(
            question_id="q1", prompt="sure?", options=("y", "n"), default="n", deadline=1795262400.0
        ),
        OpenQuestion(question_id="q2", prompt="why?"),
    ]
    story.tell("answer", 1, question_id="q1", answer="y", by="client")
    assert story.state() == "waiting"
    story.tell("answer", 1, question_id="q2", answer=None, by="cancelled")
    story.tell("answer", 1, question_id="q2", answer=None, by="cancelled")
    assert story.state() == "working"
    story.tell("question", 1, question_id="q3", prompt="?", options=[], default=None)
    story.tell("turn_ended", 1, stop_reason="cancelled")
    assert story.questions() == []


def test_pause_and_resume_show_while_the_turn_runs(story: Story) -> None:
    story.start(1)
    story.tell("status", state="paused")
    assert story.state() == "paused"
    story.tell("status", state="working")
    assert story.state() == "working"
    story.tell("status", state="paused")
    story.tell("turn_ended", 1, stop_reason="cancelled")
    assert story.state() == "paused"
    story.tell("status", state="unheard of")
    assert story.state() == "paused"
    story.tell("status", state="idle")
    assert story.state() == "idle"


@pytest.mark.parametrize("reason", ["stopped", "failed", "lost"])
def test_an_end_is_final_until_a_new_process_goes_on(story: Story, reason: str) -> None:
    story.tell("status", state="stopping")
    assert story.state() == "stopping"
    story.tell("stopped", reason=reason)
    assert (story.state(), story.fold.ended) == (reason, reason)
    story.tell("restarted", reason="restore")
    assert (story.state(), story.fold.ended) == ("starting", None)
    story.tell("status", state="idle")
    assert story.state() == "idle"


def test_an_end_for_an_unknown_reason_is_a_failure(story: Story) -> None:
    story.tell("stopped", reason="tired")
    assert story.state() == "failed"


def test_a_restart_forgets_questions_and_leaves_the_turn_to_whoever_opens(story: Story) -> None:
    story.start(3)
    story.tell("question", 3, question_id="q", prompt="?", options=[], default=None)
    story.tell("restarted", reason="crash")
    assert story.questions() == []
    assert story.fold.unfinished_turn == 3
    story.tell("turn_ended", 3, stop_reason="lost")
    assert story.fold.last_turn == TurnSummary(turn=3, stop_reason="lost")
    assert story.state() == "starting"


def test_the_queue_keeps_its_order_and_an_interrupt_goes_to_its_front(story: Story) -> None:
    story.start(1)
    story.queue("a")
    story.queue("b", position=2)
    story.queue("c", if_busy="interrupt")
    assert story.fold.queue == (
        QueuedMessage(message_id="c", input="input of c", position=1, accepted=7.0),
        QueuedMessage(message_id="a", input="input of a", position=2, accepted=5.0),
        QueuedMessage(message_id="b", input="input of b", position=3, accepted=6.0),
    )
    story.tell("message_withdrawn", message_id="a", reason="withdrawn")
    story.tell("message_withdrawn", message_id="unknown", reason="withdrawn")
    assert story.waiting() == ["c", "b"]
    assert story.fold.queue_length == 2
    story.tell("turn_ended", 1, stop_reason="cancelled")
    story.tell("turn_started", 2, message_id="c")
    assert story.waiting() == ["b"]
    assert story.fold.history()[-1] == HistoryEntry(
        role="user", text="input of c", turn=2, seq=story.fold.last_seq
    )


def test_a_repeated_message_id_gets_its_first_answer(story: Story) -> None:
    story.start(1, message_id="first")
    story.queue("second", position=4)
    assert story.fold.message("first") == RunResult(message_id="first", state="started", turn=1)
    assert story.fold.message("second") == RunResult(
        message_id="second", state="queued", position=4
    )
    story.tell("turn_ended", 1, stop_reason="end_turn")
    story.tell("turn_started", 2, message_id="second")
    assert story.fold.message("second") == RunResult(
        message_id="second", state="queued", position=4
    )


def test_the_turn_that_a_message_started_may_stand_in_its_data(story: Story) -> None:
    story.tell("message_accepted", message_id="m", input="", state="started", turn=None)
    assert story.fold.message("m") == RunResult(message_id="m", state="started", turn=None)
    event = Event(
        seq=9,
        time=9.0,
        turn=None,
        type="message_accepted",
        data={"message_id": "n", "state": "started", "turn": 7},
    )
    story.fold.apply_many([event])
    assert story.fold.message("n") == RunResult(message_id="n", state="started", turn=7)


def test_notes_wait_for_the_next_turn_and_are_no_turns_themselves(story: Story) -> None:
    def note(message_id: str, state: str, turn: int | None = None) -> None:
        story.tell(
            "message_accepted",
            turn,
            message_id=message_id,
            input=f"about {message_id}",
            if_busy="queue",
            state=state,
            notify=True,
        )

    note("n1", "queued")
    note("n2", "queued")
    assert story.notes() == [
        Note("n1", "about n1", "", 3.0),
        Note("n2", "about n2", "", 4.0),
    ]
    assert (story.waiting(), story.state()) == ([], "idle")
    story.tell("message_withdrawn", message_id="n1", reason="withdrawn")
    note("n3", "started", 1)
    assert [one.message_id for one in story.fold.notes] == ["n2"]
    story.tell("turn_started", 1, message_id="n3")
    assert story.notes() == []
    note("n4", "queued")
    assert story.fold.message("n4") == RunResult(message_id="n4", state="queued")
    story.tell("turn_ended", 1, stop_reason="end_turn")
    assert story.notes() == [Note("n4", "about n4", "", 8.0)]


def test_usage_is_what_the_turns_cost_together(story: Story) -> None:
    story.start(1)
    story.tell("usage", 1, input_tokens=5)
    story.tell("usage", 1, input_tokens=10, cost_usd=0.5, output_tokens=None)
    story.tell("turn_ended", 1, stop_reason="end_turn")
    story.tell("turn_started", 2, message_id="none")
    story.tell("usage", 2, input_tokens=1, output_tokens=2)
    assert story.fold.usage == {"input_tokens": 11, "output_tokens": 2, "cost_usd": 0.5}


def test_a_turn_without_a_number_or_a_message_still_counts(story: Story) -> None:
    story.tell("turn_started")
    assert story.fold.turn == 1
    story.tell("turn_ended")
    assert story.fold.history() == []
    assert story.fold.last_turn == TurnSummary(turn=1, stop_reason="error")
    story.tell("turn_ended", stop_reason="lost")
    assert story.fold.last_turn == TurnSummary(turn=1, stop_reason="lost")
    story.tell("turn_ended", 9, stop_reason="lost")
    assert story.fold.last_turn == TurnSummary(turn=9, stop_reason="lost")


def test_history_pages_by_cursor(story: Story) -> None:
    for turn in (1, 2, 3):
        story.start(turn, text=f"ask {turn}")
        story.tell("text", turn, text=f"say {turn}")
        story.tell("turn_ended", turn, stop_reason="end_turn")
    seen: list[str] = []
    since = 0
    while page := story.fold.history(since, limit=4):
        seen += [entry.text for entry in page]
        since = page[-1].seq
    assert seen == ["ask 1", "say 1", "ask 2", "say 2", "ask 3", "say 3"]


def test_a_turn_that_says_too_much_is_cut_and_says_so(story: Story) -> None:
    story.start(1)
    for _ in range(3):
        story.tell("text_delta", 1, text="x" * (MAX_TURN_TEXT_CHARACTERS // 2))
    story.tell("turn_ended", 1, stop_reason="end_turn")
    text = story.fold.history()[-1].text
    kept, _, remark = text.partition("\n")
    assert len(kept) == MAX_TURN_TEXT_CHARACTERS
    assert (
        remark == f"[cut here: {MAX_TURN_TEXT_CHARACTERS // 2} more characters are in the journal]"
    )


def test_the_kept_conversation_is_bounded_in_entries_and_characters(story: Story) -> None:
    for turn in range(1, MAX_HISTORY_ENTRIES + 10):
        story.start(turn, text=str(turn))
        story.tell("turn_ended", turn, stop_reason="end_turn")
    history = story.fold.history(limit=10**6)
    assert [entry.turn for entry in history] == list(range(10, MAX_HISTORY_ENTRIES + 10))
    for turn in (5000, 5001):
        story.start(turn, text="x" * (MAX_HISTORY_CHARACTERS + turn))
    assert [entry.turn for entry in story.fold.history()] == [5001]


def test_message_ids_are_forgotten_at_the_bound_but_never_one_that_still_waits(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_REMEMBERED_MESSAGES >= 1000
    monkeypatch.setattr(mailbox_module, "MAX_REMEMBERED_MESSAGES", 5)
    story.queue("waits")
    for turn in range(1, 10):
        story.start(turn, message_id=f"m{turn}")
        story.tell("turn_ended", turn, stop_reason="end_turn")
    assert story.fold.message("waits") is not None
    assert story.fold.message("m1") is None
    assert story.fold.message("m9") is not None


def test_every_kind_passes_with_nothing_in_it_and_so_does_an_unknown_one() -> None:
    story = Story()
    for kind in [*EVENT_KINDS, "invented later"] * 2:
        story.tell(kind)
        story.fold.status()
    assert story.fold.last_seq == len(story.events)


def test_what_was_never_delivered_is_known_with_its_sender_and_its_times(story: Story) -> None:
    story.start(1)
    story.tell(
        "message_accepted", message_id="a", input="x" * 1000, if_busy="queue", state="queued",
        position=1, sender="pod lead",
    )  # fmt: skip
    story.tell(
        "message_accepted", message_id="n", input="note", if_busy="queue", state="queued",
        notify=True,
    )  # fmt: skip
    story.queue("b")
    story.tell("message_withdrawn", message_id="b", reason="withdrawn")
    story.tell("message_withdrawn", message_id="a", reason="undelivered")
    story.tell("message_withdrawn", message_id="n", reason="undelivered")
    first, second = story.fold.undelivered
    assert (first.message_id, first.sender, first.accepted, first.given_up) == (
        "a", "pod lead", 5.0, 9.0
    )  # fmt: skip
    assert first.input == "x" * MAX_UNDELIVERED_CHARACTERS + "..."
    assert (second.message_id, second.input, second.sender) == ("n", "note", "")
    assert story.waiting() == []
    assert story.notes() == []
