"""The tool SendToPod: one message to one pod.

Owns its texts, its fields and how the answer reads. An accepted message is on disk and has exactly
one fate; the tool never waits for the turn.
"""

from __future__ import annotations

import json
from typing import Final, Literal

from attrs import field, frozen

from pods_protocol.pod_messages import Run
from pods_protocol.values import IfBusy
from pods_tools.bookmarks import Bookmarks
from pods_tools.client import Plan, send
from pods_tools.fields import MAX_MESSAGE_LENGTH, pod_field
from pods_tools.result import ToolResult
from pods_tools.schema import about, to_data
from pods_tools.tool import Annotations, Tool


@frozen(kw_only=True)
class SendToPodInput:
    """Arguments of SendToPod."""

    pod: str = field(metadata=pod_field())
    message: str = field(
        metadata=about(
            "The text. Your other output is not visible to the pod: say everything it must know.",
            also=("prompt", "input", "text", "task", "content"),
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


@frozen(kw_only=True)
class SendToPodOutput:
    """Data of a good SendToPod."""

    pod: str
    message_id: str
    state: Literal["started", "queued"]
    turn: int | None
    position: int | None


def plan(given: SendToPodInput, _bookmarks: Bookmarks) -> Plan[ToolResult]:
    """Send and say what became of it."""
    answer = yield from send(given.pod, Run(input=given.message, if_busy=given.if_busy))
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


SEND_TO_POD: Final = Tool(
    name="SendToPod",
    title="Send to a pod",
    description=(
        "Give a pod of yours a message, which begins a turn. Returns once the message is safely "
        "accepted (`started` or `queued`), not when it is answered: read the answer with "
        "ReadPodOutput. already_running: wait with ReadPodOutput and send again, or set if_busy. "
        "pod_ended: read what it left, spawn another. unknown_pod: see ListPods."
    ),
    input=SendToPodInput,
    output=SendToPodOutput,
    annotations=Annotations(),
    example={"pod": "api", "message": "git status --short"},
    plan=plan,
)
