"""The tool SendToPod: one message to one pod, or the answer to its question.

Owns its texts, its fields and how the answer reads. An accepted message is on disk and has exactly
one fate; the tool never waits for the turn. An answer names its question, so that it can never
become the answer to another one that has taken its place.
"""

from __future__ import annotations

import json
from typing import Final, Literal

from attrs import field, frozen

from pods_protocol.errors import AlreadyRunning, PodsError
from pods_protocol.pod_messages import Run
from pods_protocol.supervisor_messages import AnswerPod, InspectPod
from pods_protocol.values import IfBusy
from pods_tools.bookmarks import Bookmarks
from pods_tools.client import Plan, ask, send
from pods_tools.escape import escape, quoted
from pods_tools.fields import MAX_MESSAGE_LENGTH, pod_field
from pods_tools.result import ToolResult
from pods_tools.schema import about, to_data
from pods_tools.tool import Annotations, Tool

MAX_QUESTION_ID_LENGTH: Final = 40
"""Ours are a letter and a number."""


@frozen(kw_only=True)
class SendToPodInput:
    """Arguments of SendToPod."""

    pod: str = field(metadata=pod_field())
    message: str = field(
        metadata=about(
            "The text. Your other output is not visible to the pod: say everything it must know.",
            also=("prompt", "input", "text", "task", "content", "answer"),
            minLength=1,
            maxLength=MAX_MESSAGE_LENGTH,
        )
    )
    if_busy: IfBusy = field(
        default="fail",
        metadata=about(
            "While a turn runs: `fail` refuses, `queue` lets the message wait its turn, "
            "`interrupt` cancels the turn and runs this instead.",
            also=("mode", "interrupt", "queue"),
        ),
    )
    question_id: str | None = field(
        default=None,
        metadata=about(
            "The pod waits for an answer to this question (ReadPodOutput gives its id): `message` "
            "is that answer. Leave it out for everything else.",
            also=("question", "answer_to", "reply_to"),
            minLength=1,
            maxLength=MAX_QUESTION_ID_LENGTH,
        ),
    )


@frozen(kw_only=True)
class SendToPodOutput:
    """Data of a good SendToPod."""

    pod: str
    message_id: str | None
    state: Literal["started", "queued", "answered"]
    turn: int | None
    position: int | None


def plan(given: SendToPodInput, _bookmarks: Bookmarks) -> Plan[ToolResult]:
    """Send and say what became of it."""
    if given.question_id is not None:
        return (yield from _answer(given, given.question_id))
    try:
        answer = yield from send(given.pod, Run(input=given.message, if_busy=given.if_busy))
    except AlreadyRunning as busy:
        raise (yield from _waiting(given.pod, busy)) from busy
    output = SendToPodOutput(
        pod=given.pod,
        message_id=answer.message_id,
        state=answer.state,
        turn=answer.turn,
        position=answer.position,
    )
    fate = (
        f"began turn {answer.turn} with your message"
        if answer.state == "started"
        else f"took your message, which waits at position {answer.position} of its queue"
    )
    address = json.dumps({"pod": given.pod})
    return ToolResult(
        summary=f"Pod {given.pod} {fate}. There is no answer yet. Next: ReadPodOutput {address} "
        "waits for it.",
        data=to_data(output),
    )


def _answer(given: SendToPodInput, question_id: str) -> Plan[ToolResult]:
    """Answer the pod's question."""
    yield from ask(AnswerPod(pod=given.pod, question_id=question_id, answer=given.message))
    output = SendToPodOutput(
        pod=given.pod, message_id=None, state="answered", turn=None, position=None
    )
    address = json.dumps({"pod": given.pod})
    return ToolResult(
        summary=f"Pod {given.pod} has your answer and goes on with its turn. Next: ReadPodOutput "
        f"{address} waits for more.",
        data=to_data(output),
    )


def _waiting(pod: str, busy: AlreadyRunning) -> Plan[AlreadyRunning]:
    """The same refusal, with what the pod waits for where that is an answer."""
    try:
        questions = (yield from ask(InspectPod(pod=pod))).open_questions
    except PodsError:
        return busy
    if not questions:
        return busy
    asked = [
        {"question_id": one.question_id, "options": [*map(escape, one.options)]}
        for one in questions
    ]
    return AlreadyRunning(
        f"{busy.message}. It waits for an answer to question {questions[0].question_id}: "
        f"{quoted(questions[0].prompt)}",
        **busy.data,
        open_questions=asked,
    )


SEND_TO_POD: Final = Tool(
    name="SendToPod",
    title="Send to a pod",
    description=(
        "Give a pod of yours a message, which begins a turn. Returns once the message is safely "
        "accepted (`started` or `queued`), not when it is answered: read the answer with "
        "ReadPodOutput. A pod that waits for an answer gets it with `question_id`. "
        "already_running: wait with ReadPodOutput and send again, or set if_busy. "
        "pod_ended: read what it left, spawn another. unknown_pod: see ListPods."
    ),
    input=SendToPodInput,
    output=SendToPodOutput,
    annotations=Annotations(),
    example={"pod": "api", "message": "git status --short"},
    plan=plan,
)
