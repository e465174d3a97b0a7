"""The tool SpawnPod: a new child with its own process, journal and scope.

Owns its texts, its fields and how they become the supervisor's request. The supervisor promises the
rest: on return the first message was accepted; any failure left nothing behind.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import attrs
from attrs import field, frozen

from pods_protocol.bounds import MAX_NAME_LENGTH
from pods_protocol.supervisor_messages import SpawnPod as SpawnRequest
from pods_protocol.supervisor_messages import SpawnPodResult
from pods_protocol.values import (
    Capacity,
    Enforcement,
    Limits,
    PodState,
    ScopeGrant,
    ScopeRule,
    WakeOn,
)
from pods_tools.bookmarks import Bookmarks
from pods_tools.client import Plan, ask
from pods_tools.escape import escape
from pods_tools.fields import (
    ABSOLUTE_PATTERN,
    MAX_MESSAGE_LENGTH,
    MAX_PATH_LENGTH,
    NAME_PATTERN,
    PathRule,
    path_list,
    rule_text,
    rules,
)
from pods_tools.result import ToolResult
from pods_tools.schema import about, to_data
from pods_tools.tool import Annotations, Tool

MAX_DESCRIPTION_LENGTH: Final = 200
"""Characters; it stands in one row of a table."""

MAX_TURN_SECONDS: Final = 7 * 24 * 3600.0
"""A week: a turn that may take longer has no limit worth the name."""

MAX_LIFE_SECONDS: Final = 365 * 24 * 3600.0
"""A year, for what is counted over the life of a pod."""

MAX_OPEN_FILES: Final = 1_000_000

MAX_BYTES: Final = 2**50
"""More than any machine has."""

MAX_NUMBER: Final = 1_000_000
"""Of processes and turns."""


@frozen(kw_only=True)
class SpawnLimits:
    """Ceilings of the pod."""

    turn_seconds: float | None = field(
        default=None,
        metadata=about(
            "A turn is ended after this many seconds.",
            also=("timeout", "timeout_seconds", "timeout_s"),
            exclusiveMinimum=0,
            maximum=MAX_TURN_SECONDS,
        ),
    )
    wall_seconds: float | None = field(
        default=None,
        metadata=about(
            "The pod is ended this many seconds after its spawn.",
            also=("lifetime", "max_seconds"),
            exclusiveMinimum=0,
            maximum=MAX_LIFE_SECONDS,
        ),
    )
    idle_seconds: float | None = field(
        default=None,
        metadata=about(
            "The pod is ended after this many seconds without a running turn.",
            exclusiveMinimum=0,
            maximum=MAX_LIFE_SECONDS,
        ),
    )
    memory_bytes: int | None = field(
        default=None,
        metadata=about(
            "Memory of all its processes together; a turn that takes more is ended.",
            also=("memory",),
            minimum=16 * 1024 * 1024,
            maximum=MAX_BYTES,
        ),
    )
    processes: int | None = field(
        default=None,
        metadata=about(
            "Processes at once; a turn that starts more is ended.",
            minimum=1,
            maximum=MAX_NUMBER,
        ),
    )
    open_files: int | None = field(
        default=None,
        metadata=about("Open files of each of its processes.", minimum=1, maximum=MAX_OPEN_FILES),
    )
    output_bytes: int | None = field(
        default=None,
        metadata=about(
            "Output of one turn; a turn that says more is ended.", minimum=1024, maximum=MAX_BYTES
        ),
    )
    turns: int | None = field(
        default=None,
        metadata=about(
            "Turns it may have in all; messages beyond them are refused.",
            also=("max_turns",),
            minimum=1,
            maximum=MAX_NUMBER,
        ),
    )


@frozen(kw_only=True)
class SpawnPodInput:
    """Arguments of SpawnPod."""

    name: str = field(
        metadata=about(
            "What to call the pod from now on: letters, digits, `.`, `_`, `-`.",
            also=("pod", "task_name", "label", "agent_name"),
            pattern=NAME_PATTERN,
            minLength=1,
            maxLength=MAX_NAME_LENGTH,
        )
    )
    prompt: str | None = field(
        default=None,
        metadata=about(
            "Its first message: the whole task, with everything it must know. Without it the pod "
            "waits for SendToPod.",
            also=("task", "message", "input", "instruction", "instructions"),
            minLength=1,
            maxLength=MAX_MESSAGE_LENGTH,
        ),
    )
    agent: str = field(
        default="shell",
        metadata=about(
            "What runs in it: `shell` (each message is a shell command), `command` (a "
            "program given in `options.argv` gets each message on its input), `model` (a model "
            "with tools for files, commands and pods) or a vendor's coding agent where it is "
            "installed (`claude`, `codex`, `gemini`, `opencode`, `qwen`, `copilot`, `vibe`, "
            "`fast-agent`), or another that is installed.",
            also=("agent_type", "subagent_type", "agent_profile", "profile", "kind"),
            minLength=1,
            maxLength=200,
        ),
    )
    options: dict[str, Any] | None = field(
        default=None,
        metadata=about(
            "Settings of the agent. For `command`: `argv` (the program and its arguments, a list "
            "of strings) and `jsonl` (true if it writes events as JSON lines). For `model`: "
            "`model`, `api` (`anthropic` or `openai`) and `base_url`; yours, where you run in such "
            "a pod. For a vendor's agent: `permissions`: `ask` (you are asked), `allow-in-scope` "
            "or `deny`."
        ),
    )
    write: tuple[str | PathRule, ...] = field(
        default=(),
        metadata=path_list(
            "What it may read and write: absolute paths, each with its whole tree; "
            "`{target, recursive: false}` is a directory and its direct entries. No two pods may "
            "hold the same, so keep siblings disjoint. You cannot write there yourself until the "
            "pod is gone.",
            also=("paths", "write_paths", "scope", "allow"),
        ),
    )
    read: tuple[str | PathRule, ...] = field(
        default=(),
        metadata=path_list("What it may only read, in the same form.", also=("read_paths",)),
    )
    deny: tuple[str | PathRule, ...] = field(
        default=(),
        metadata=path_list("What it and its descendants may not even read, out of all that."),
    )
    delegable: tuple[str | PathRule, ...] | None = field(
        default=None,
        metadata=path_list(
            "What it may lend to pods of its own. Left out: all of its scope; `[]`: nothing."
        ),
    )
    cwd: str | None = field(
        default=None,
        metadata=about(
            "Absolute directory to work in; it grants no access.",
            also=("working_directory", "workdir", "directory"),
            pattern=ABSOLUTE_PATTERN,
            maxLength=MAX_PATH_LENGTH,
        ),
    )
    wake_on: WakeOn = field(
        default="none",
        metadata=about(
            "Only where you run in a pod yourself: what of it gives you a turn when you are idle. "
            "`none`: nothing, you are told with your next message; `ended`: the end of each of its "
            "turns and its own; `question`: those and its questions."
        ),
    )
    limits: SpawnLimits | None = field(
        default=None,
        metadata=about("Ceilings of the pod, at most what you have left of your own."),
    )
    description: str | None = field(
        default=None,
        metadata=about("What it is for, in a few words.", maxLength=MAX_DESCRIPTION_LENGTH),
    )


@frozen(kw_only=True)
class SpawnPodOutput:
    """Data of a good SpawnPod."""

    pod: str
    id: str
    state: PodState
    agent: str
    cwd: str
    message_state: Literal["none", "started", "queued"]
    turn: int | None
    scope: ScopeGrant
    enforcement: Enforcement
    capacity: Capacity
    next: tuple[str, ...]


def plan(given: SpawnPodInput, _bookmarks: Bookmarks) -> Plan[ToolResult]:
    """Spawn and say what came of it."""
    limits = given.limits or SpawnLimits()
    request = SpawnRequest(
        name=given.name,
        agent=given.agent,
        options=dict(given.options or {}),
        prompt=given.prompt,
        allow=rules(given.write, "write") + rules(given.read, "read"),
        deny=rules(given.deny, "read"),
        delegable=None if given.delegable is None else rules(given.delegable, "write"),
        cwd=given.cwd,
        wake_on=given.wake_on,
        limits=Limits(**attrs.asdict(limits)),
        description=given.description or "",
    )
    answer = yield from ask(request)
    output = _output(answer)
    return ToolResult(summary=_summary(output), data=to_data(output))


def _output(answer: SpawnPodResult) -> SpawnPodOutput:
    pod, message = answer.pod, answer.message
    address = f'{{"pod": {json.dumps(pod.name)}}}'
    if message is None:
        steps: tuple[str, ...] = (f'SendToPod {address[:-1]}, "message": "..."}} gives it work',)
    else:
        steps = (f"ReadPodOutput {address} waits for its answer",)
    if pod.parent_id is not None:
        steps += ("what becomes of it is told with your next message too",)
    return SpawnPodOutput(
        pod=pod.name,
        id=pod.id,
        state=pod.state,
        agent=pod.agent,
        cwd=pod.cwd,
        message_state="none" if message is None else message.state,
        turn=None if message is None else message.turn,
        scope=pod.scope,
        enforcement=answer.enforcement,
        capacity=answer.capacity,
        next=(*steps, f"StopPod {address} ends it and frees its scope"),
    )


def _summary(output: SpawnPodOutput) -> str:
    scope, enforcement, room = output.scope, output.enforcement, output.capacity
    taken = {
        "none": "It has no message yet.",
        "started": f"It accepted your prompt: turn {output.turn} runs; there is no answer yet.",
        "queued": "It accepted your prompt, which waits for its turn.",
    }[output.message_state]
    gaps = f" Not enforced: {'; '.join(enforcement.gaps)}." if enforcement.gaps else ""
    why = f" ({enforcement.reason})" if enforcement.reason else ""
    more = max(0, min(room.children_limit - room.children, room.pods_limit - room.pods))
    return escape(
        f"Pod {output.pod} ({output.id}) is up with agent {output.agent} in {output.cwd}. {taken}\n"
        f"Scope: writes {_paths(scope.allow, 'write')}; reads {_paths(scope.allow, 'read')}; "
        f"denied {_paths(scope.deny)}; may lend {_paths(scope.delegable)}.\n"
        f"Enforcement: {enforcement.summary}{why}.{gaps}\n"
        f"Room: you may have {more} more children "
        f"({room.children} of {room.children_limit} in use; of all pods {room.pods} of "
        f"{room.pods_limit}; depth {room.depth} of {room.depth_limit}).\n"
        f"Next: {'; '.join(output.next)}."
    )


def _paths(given: tuple[ScopeRule, ...], permission: str | None = None) -> str:
    chosen = [rule_text(rule) for rule in given if permission in (None, rule.permission)]
    return ", ".join(chosen) or "nothing"


SPAWN_POD: Final = Tool(
    name="SpawnPod",
    title="Spawn a pod",
    description=(
        "Start a pod: a child agent with its own process, journal and file scope. Use it for work "
        "that can go on beside yours and writes to files that no other pod writes. Returns at once "
        "when the first message is accepted, with the scope as granted and the room left; the "
        "answer comes later through ReadPodOutput: never guess it. On an error nothing was left "
        "behind: scope_conflict names the owner, choose other paths; name_taken, choose another "
        "name; capacity_reached, do not retry but stop a pod or do the work yourself."
    ),
    input=SpawnPodInput,
    output=SpawnPodOutput,
    annotations=Annotations(),
    example={"name": "api", "prompt": "pytest -q tests/api", "write": ["/work/project/api"]},
    plan=plan,
)
