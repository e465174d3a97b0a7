"""Whether journals keep what clients were promised: the invariants of issue 3, over plain JSON.

Owns every rule by which a round is judged, and nothing of the product: events are the dictionaries
that the files hold. Pure. Each function returns sentences; none means that all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from ledger import Page, Submission, Tape

Event: TypeAlias = Mapping[str, Any]

TOLD: Final = "was told "
"""What the agent says of an answer that it got begins with this (`campaign_agent`)."""

TOLD_KINDS: Final = frozenset({"turn_ended", "question", "restarted", "stopped"})
"""The events of a child that its parent is told of."""


def holes(events: Sequence[Event]) -> list[str]:
    """Seqs are 1, 2, 3 and so on."""
    for number, event in enumerate(events, 1):
        if event["seq"] != number:
            return [f"event {number} should be there, and it is {event['seq']}"]
    return []


def judge_turns(events: Sequence[Event], *, ended: bool) -> list[str]:
    """One turn at a time, each begun by one message and ended once; messages in their order.

    Args:
        events: a pod's journal.
        ended: the pod is said to be over, so nothing may be open.
    """
    wrong: list[str] = []
    queue: list[str] = []
    notes: list[str] = []
    open_questions: set[str] = set()
    last_answer: str | None = None
    fates: dict[str, list[str]] = {}
    running: int | None = None
    running_message = ""
    newest = 0
    stopped = 0
    for event in events:
        kind, data, turn = event["type"], event["data"], event["turn"]
        message = data.get("message_id", "")
        if kind == "message_accepted":
            if message in fates:
                wrong.append(f"message {message} was accepted twice")
            fates[message] = []
            if stopped:
                wrong.append(f"message {message} was accepted after the pod's end")
            if data["state"] == "started":
                if running is not None:
                    wrong.append(f"message {message} is to start while a turn runs")
                queue.insert(0, message)  # where a crash tore its turn away, it waits
            elif data.get("notify"):
                notes.append(message)
            elif data["if_busy"] == "interrupt":
                queue.insert(0, message)
            else:
                queue.append(message)
        elif kind == "turn_started":
            if running is not None:
                wrong.append(f"turn {turn} began while turn {running} ran")
            if turn != newest + 1:
                wrong.append(f"turn {turn} came after turn {newest}")
            if not queue or queue[0] != message:
                wrong.append(f"turn {turn} began with {message}; {queue} waited")
            if message in queue:
                queue.remove(message)
            running, newest, running_message = turn, turn, message
            for note in notes:
                fates[note].append("told")
            notes = []
        elif kind == "turn_ended":
            if turn != running:
                wrong.append(f"turn {turn} ended while {running} ran")
            fates.setdefault(running_message, []).append(data["stop_reason"])
            running = None
            open_questions.clear()
            last_answer = None
        elif kind in ("question", "answer") and turn == running and turn is not None:
            question = data["question_id"]
            if kind == "question":
                open_questions.add(question)
            elif question not in open_questions:
                wrong.append(f"question {question} was answered and is not open")
            else:
                open_questions.remove(question)
                last_answer = data["answer"]
        elif kind == "text" and data["text"].startswith(TOLD) and turn == running:
            if data["text"] != f"{TOLD}{last_answer}":
                wrong.append(f"turn {turn} {data['text']}; the answer was {last_answer}")
        elif kind == "message_withdrawn":
            if message not in queue and message not in notes:
                wrong.append(f"message {message} was {data['reason']} and did not wait")
            queue = [one for one in queue if one != message]
            notes = [one for one in notes if one != message]
            fates.setdefault(message, []).append(data["reason"])
        elif kind == "stopped":
            stopped += 1
            if stopped > 1:
                wrong.append("the pod ended twice")
        elif kind == "restarted":
            stopped = 0
        elif turn is not None and turn != running:
            wrong.append(f"event {event['seq']} ({kind}) of turn {turn} came while {running} ran")
    if ended:
        if not stopped:
            wrong.append("the pod is over and its journal does not say so")
        for message, fate in fates.items():
            if len(fate) != 1:
                wrong.append(f"message {message} was accepted and has the fates {fate}")
    return wrong


def judge_submission(events: Sequence[Event], sent: Submission) -> list[str]:
    """A message has one effect and was answered with what the journal says of it."""
    accepted = [
        event["data"]
        for event in events
        if event["type"] == "message_accepted" and event["data"]["message_id"] == sent.message_id
    ]
    name = f"message {sent.message_id}"
    wrong: list[str] = []
    if sent.answers:
        if not accepted:
            wrong.append(f"{name} was answered {sent.answers[0]} and is not in the journal")
        if len(set(sent.answers)) > 1:
            wrong.append(f"{name} was answered differently: {sent.answers}")
        for data in accepted:
            state, turn, _ = sent.answers[0]
            # A note is answered `noted`, which its event calls `queued`.
            if (data["state"] == "started") != (state == "started") or (
                state == "started" and data.get("turn") != turn
            ):
                wrong.append(f"{name} was answered {sent.answers[0]}; the journal has {data}")
    elif accepted and not sent.doubtful:
        wrong.append(f"{name} was refused ({sent.refused}) and is in the journal")
    return wrong


def judge_seen(tape: Tape, seen: Sequence[Event]) -> list[str]:
    """What a reader got is in the journal, letter for letter, and a gap is one."""
    for event in seen:
        seq = event["seq"]
        if event["type"] == "gap":
            if seq >= tape.kept:
                return [f"a reader got the gap {event['data']}; {tape.kept} is still there"]
        elif seq > len(tape.events):
            return [f"a reader got {event}; the journal has {len(tape.events)} events"]
        elif tape.events[seq - 1] != event:
            return [f"a reader got {event}; the journal has {tape.events[seq - 1]}"]
    return []


def judge_page(page: Page) -> list[str]:
    """A page goes on where it was asked to, without a hole or a repeat, and says where it ends."""
    after = page.since
    for event in page.events:
        first = event["data"]["first"] if event["type"] == "gap" else event["seq"]
        if first != after + 1:
            return [f"a read after {page.since} got event {first} after {after}"]
        after = event["seq"]
    if page.next != after:
        return [f"a read after {page.since} ended at {after} and says {page.next}"]
    if page.truncated and not page.events:
        return [f"a read after {page.since} got nothing and says that there is more"]
    return []


def judge_answers(events: Sequence[Event], answered: Mapping[str, str]) -> list[str]:
    """What a client answered, and was told is taken, is the answer."""
    taken = {
        event["data"]["question_id"]: event["data"]["answer"]
        for event in events
        if event["type"] == "answer" and event["data"]["by"] == "client"
    }
    return [
        f"question {one} was answered {answer}; the journal has {taken.get(one)}"
        for one, answer in answered.items()
        if taken.get(one) != answer
    ]


def judge_marks(events: Sequence[Event], marks: Sequence[str]) -> list[str]:
    """No message ran twice, and each that ended well ran."""
    wrong = [f"message {one} ran {marks.count(one)} times" for one in set(marks)
             if marks.count(one) > 1]  # fmt: skip
    begun: dict[int, str] = {}
    waking: set[str] = set()  # turns about children, whose message is none of ours
    for event in events:
        if event["type"] == "message_accepted" and not event["data"]["input"].startswith("{"):
            waking.add(event["data"]["message_id"])
        elif event["type"] == "turn_started":
            begun[event["turn"]] = event["data"]["message_id"]
        elif event["type"] == "turn_ended" and event["data"]["stop_reason"] == "end_turn":
            message = begun.get(event["turn"], "")
            if message not in marks and message not in waking:
                wrong.append(f"the turn of {message} ended well and it never ran")
    ran_unasked = set(marks) - set(begun.values())
    if ran_unasked:
        wrong.append(f"{sorted(ran_unasked)} ran without a turn")
    return wrong


def judge_children(journals: Mapping[str, Sequence[Event]], followed: Iterable[str]) -> list[str]:
    """Every event of a child that concerns its parents is in one of their journals, once.

    What retention took of a child before they were told is a `gap` there.

    Args:
        journals: pod id -> events, of all pods.
        followed: ids of the pods that have somebody to be told of them now.
    """
    wrong: list[str] = []
    told: dict[str, list[int]] = {}
    gone: dict[str, set[int]] = {}
    for parent, events in journals.items():
        last: dict[str, int] = {}
        for event in events:
            if event["type"] != "child_event":
                continue
            data = event["data"]
            child, seq = data["id"], data["seq"]
            if seq <= last.get(child, 0):
                wrong.append(f"{parent} was told event {seq} of {child} after {last[child]}")
            last[child] = seq
            if data["type"] == "gap":
                gap = data["data"]
                gone.setdefault(child, set()).update(range(gap["first"], gap["last"] + 1))
                continue
            told.setdefault(child, []).append(seq)
            there = journals.get(child)
            if there is None:
                continue  # removed, and nobody could read it before
            if seq > len(there) or there[seq - 1]["type"] != data["type"]:
                wrong.append(f"{parent} was told of event {seq} of {child}, which is no such one")
    for child, seqs in told.items():
        twice = sorted({seq for seq in seqs if seqs.count(seq) > 1})
        if twice:
            wrong.append(f"the events {twice} of {child} were told twice")
    for child in followed:
        due = {event["seq"] for event in journals.get(child, ()) if event["type"] in TOLD_KINDS}
        missing = sorted(due - set(told.get(child, ())) - gone.get(child, set()))
        if missing:
            wrong.append(f"the events {missing} of {child} were told to nobody")
    return wrong
