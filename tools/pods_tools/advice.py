"""What a model should do after each error.

Owns one sentence a code. An error is an instruction: what failed (the error's own message), whether
to retry (its class says), and the next right call (the table here). A test holds the table to every
code there is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pods_protocol.errors import PodsError
from pods_tools.escape import escape
from pods_tools.result import ToolResult

_DOCTOR: Final = "tell the user to run `pods doctor`, which says what is wrong; `ListPods {}` shows"
_OUR_FAULT: Final = f"{_DOCTOR} whether your pods are still there."

ADVICE: Final[Mapping[str, str]] = {
    "parse_error": "make the arguments one JSON object, then call TOOL again.",
    "invalid_request": _OUR_FAULT,
    "unknown_method": "the running supervisor is of another version and cannot do this; go on "
    "without it, or tell the user to run `pods down` and call `ListPods {}` again.",
    "invalid_params": "correct the field that the message names, then call TOOL again.",
    "internal_error": _OUR_FAULT,
    "not_authorized": "you may use your own pods only; `ListPods {}` shows them.",
    "unsupported_protocol": "tell the user to run `pods down` so that a supervisor of this version "
    "starts, then call `ListPods {}`.",
    "too_large": "write the long text into a file inside the pod's scope, then call TOOL with a "
    "short text that names the file.",
    "unknown_pod": "call `ListPods {}` and use a name that it shows; if the pod was never there, "
    "SpawnPod makes it.",
    "ambiguous_pod": "call `ListPods {}` and use the whole name.",
    "pod_ended": "`ReadPodOutput {POD}` still shows what it said; to go on, call SpawnPod with "
    "another name.",
    "name_taken": 'if that pod is yours, use it: `SendToPod {NAME, "message": "..."}`; else '
    "call SpawnPod with another name.",
    "invalid_name": "call TOOL again with a name of letters, digits, `.`, `_` and `-`.",
    "already_running": "`ReadPodOutput {POD}` waits for the turn to end, then call TOOL again; or "
    'call it now with `"if_busy": "queue"` or `"interrupt"`.',
    "queue_full": "call `ReadPodOutput {POD}` until its turns have ended, then call TOOL again; or "
    'use `"if_busy": "interrupt"`.',
    "unknown_message": "its turn has begun or is over: call `ReadPodOutput {POD}`.",
    "unknown_question": "call `ReadPodOutput {POD}` to see what it asks, if anything.",
    "invalid_scope": "call SpawnPod again with absolute paths that exist and do not hold pods' own "
    "directories.",
    "scope_conflict": "call SpawnPod with paths that the owner does not hold, or wait for it "
    "(`ReadPodOutput`) and free its scope with StopPod first; `ListPods {}` shows who holds what.",
    "scope_not_delegable": "call SpawnPod with paths inside what you may lend (the message names "
    "them), or leave `write` out; do not ask for more than you hold.",
    "capacity_reached": "stop a pod that is done with StopPod (`ListPods {}` shows them), or "
    "finish the work yourself.",
    "not_enforceable": "the kernel here cannot enforce scopes as demanded: tell the user, or call "
    "SpawnPod without that demand.",
    "agent_error": "call SpawnPod with an `agent` and `options` that exist, for example "
    '`"agent": "shell"`.',
    "start_failed": "nothing was left behind. Call SpawnPod once more; if it fails again, "
    f"{_DOCTOR} what runs.",
    "timed_out": "it may still be under way: call `ListPods {}` to see before you repeat TOOL.",
    "pod_running": "call `StopPod {POD}` first, or leave it running.",
    "not_supported": "go on without it; `SendToPod` and `ReadPodOutput` work with every pod.",
    "storage_failed": "the disk refused: tell the user to make room, then call TOOL again; "
    "`ListPods {}` still works.",
    "registry_broken": _OUR_FAULT,
    "unsafe_directory": _OUR_FAULT,
    "path_too_long": "tell the user to set PODS_RUNTIME_DIR to a shorter path; until then finish "
    "the work without SpawnPod.",
    "not_connected": "call `ListPods {}`: if it answers, look there whether TOOL had its effect "
    "before you repeat it; if not, tell the user to run `pods doctor`.",
    "client_closed": "this session's tools are closed: do not call TOOL again; finish with what "
    "you have.",
    "platform_unsupported": "pods cannot run on this machine: do not call TOOL again; finish the "
    "work yourself.",
    "undelivered": "`ReadPodOutput {POD}` shows how the pod ended; call SpawnPod to have the work "
    "done by another.",
    "pod_paused": 'somebody paused it: call TOOL again with `"if_busy": "queue"`, and the message '
    "runs once the pod is resumed; or go on without it.",
    "busy": "wait until your other calls have returned, then call TOOL again.",
}
"""Code -> what to do. TOOL is the tool that was called; POD and NAME are filled from its fields."""


WAITING: Final = (
    "it goes on once it is answered: if that is yours to decide, call `SendToPod` with its "
    "`question_id` and one of its options as `message`; else tell the user. "
    '`"if_busy": "interrupt"` gives it your message instead.'
)
"""What to do about a pod that is busy because it waits for an answer."""


ALONE: Final = (
    "do the work yourself, without the tools of pods; if it needs pods, say so in your answer to "
    "whoever gave you the task."
)
"""What to do where the asker may have no pods at all."""


def error_result(tool: str, arguments: Mapping[str, Any], error: PodsError) -> ToolResult:
    """The refusal as a result that tells a model what to do."""
    return ToolResult(
        summary=escape(
            f"{tool} failed: {error.message.rstrip('.')}. "
            f"{_retry(error)} Next: {advice_for(tool, arguments, error)}"
        ),
        data={
            **error.data,
            "code": error.CODE,
            "retryable": error.RETRYABLE,
            "message": escape(error.message),
        },
        is_error=True,
    )


def advice_for(tool: str, arguments: Mapping[str, Any], error: PodsError) -> str:
    """The next right call."""
    pod = arguments.get("pod", arguments.get("name", error.data.get("pod", "...")))
    quoted = json.dumps(pod if isinstance(pod, str) else "...")
    advice = ADVICE.get(error.CODE, _OUR_FAULT)
    if error.CODE == "already_running" and error.data.get("open_questions"):
        advice = WAITING
    if error.CODE == "not_supported" and error.data.get("feature") == "call_back":
        advice = ALONE
    return (
        advice.replace("TOOL", tool)
        .replace("{POD}", f'{{"pod": {quoted}}}')
        .replace("{NAME, ", f'{{"pod": {quoted}, ')
    )


def _retry(error: PodsError) -> str:
    if error.RETRYABLE:
        return "The same call may succeed later."
    return "Do not repeat the same call: it would fail again."
