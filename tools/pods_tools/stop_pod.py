"""The tool StopPod: end a pod and have its scope back.

Owns its texts, its fields, and a grace short enough that the call ends in time. The supervisor
promises that on return the processes are gone before the scope is free.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.supervisor_messages import StopPod as StopRequest
from pods_protocol.values import PodState, ScopeRule, StopMode, StopStep
from pods_tools.bookmarks import Bookmarks
from pods_tools.client import Plan, ask
from pods_tools.fields import pod_field, rule_text
from pods_tools.result import ToolResult
from pods_tools.schema import about, to_data
from pods_tools.tool import Annotations, Tool

MAX_TOOL_GRACE_SECONDS: Final = 12.0
"""A stop has two graces and then some twenty seconds at worst for the kill and the disk; the whole
must stay below the 50 s that a tool call may take."""

_STEPS: Final = {
    "shutdown": "it ended when asked (shutdown)",
    "terminate": "it had to be told with SIGTERM (terminate)",
    "kill": "it had to be killed (kill)",
}


@frozen(kw_only=True)
class StopPodInput:
    """Arguments of StopPod."""

    pod: str = field(metadata=pod_field())
    mode: StopMode = field(
        default="now",
        metadata=about(
            "`now` cancels the turn, `finish` lets it go on for the grace, `kill` says no "
            "farewell. After each grace the next harsher step follows."
        ),
    )
    grace_seconds: float = field(
        default=DEFAULT_GRACE_SECONDS,
        metadata=about(
            "How long each step may take.",
            also=("grace_s", "grace", "timeout", "timeout_seconds"),
            minimum=0,
            maximum=MAX_TOOL_GRACE_SECONDS,
        ),
    )


@frozen(kw_only=True)
class StopPodOutput:
    """Data of a good StopPod."""

    pod: str
    previous_state: PodState
    state: PodState
    step: StopStep
    stopped_descendants: tuple[str, ...]
    released: tuple[ScopeRule, ...]
    seconds: float


def plan(given: StopPodInput, _bookmarks: Bookmarks) -> Plan[ToolResult]:
    """Stop and say which step worked and what is free."""
    answer = yield from ask(
        StopRequest(pod=given.pod, mode=given.mode, grace_seconds=given.grace_seconds)
    )
    output = StopPodOutput(
        pod=answer.pod,
        previous_state=answer.previous_state,
        state=answer.state,
        step=answer.step,
        stopped_descendants=answer.stopped_descendants,
        released=answer.released,
        seconds=answer.seconds,
    )
    return ToolResult(summary=_summary(output), data=to_data(output))


def _summary(output: StopPodOutput) -> str:
    read = f'What it said can still be read: ReadPodOutput {{"pod": "{output.pod}"}}.'
    if output.step == "already_ended":
        return f"Pod {output.pod} had already ended ({output.state}). {read}"
    free = dict.fromkeys(rule_text(rule) for rule in output.released)
    scope = f"Free again: {', '.join(free)}." if free else "It held no scope."
    along = (
        f" Stopped with it: {', '.join(output.stopped_descendants)}."
        if output.stopped_descendants
        else ""
    )
    return (
        f"Pod {output.pod} and all its processes are gone after {output.seconds:.1f} s: "
        f"{_STEPS[output.step]}; it was {output.previous_state}. {scope}{along} {read}"
    )


STOP_POD: Final = Tool(
    name="StopPod",
    title="Stop a pod",
    description=(
        "End a pod of yours and the pods below it. Use it when a pod is done or goes wrong: it "
        "gives its scope and its place back. Returns when all its processes are gone, with the "
        "step that worked, the scope that is free and the descendants that were stopped. Files it "
        "wrote stay, and its output can still be read. Stopping it again does nothing. timed_out: "
        'call it again with mode "kill".'
    ),
    input=StopPodInput,
    output=StopPodOutput,
    annotations=Annotations(idempotent=True),
    example={"pod": "api"},
    plan=plan,
)
