"""A pod's events in the words of ACP, and an editor's prompt in those of a pod.

Owns the translation for `pods acp`, the other way round than `pods.agents.acp.updates`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from pods_protocol.events import Event
from pods_protocol.pod_messages import HistoryEntry

TOOL_KINDS: Final = frozenset(
    {
        "read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode",
        "other",
    }
)  # fmt: skip
"""ACP's kinds of tool calls."""

STOP_REASONS: Final = frozenset(
    {"end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled"}
)
"""The ends of a turn that ACP has a word for; any other is an error there."""

OPTION_KINDS: Final[Mapping[str, str]] = {
    "allow": "allow_once",
    "yes": "allow_once",
    "allow-always": "allow_always",
    "deny": "reject_once",
    "no": "reject_once",
    "deny-always": "reject_always",
}
"""Answer -> what an editor makes of it; every other answer is one to choose for this once."""

Json: TypeAlias = dict[str, Any]


def text_of(prompt: object) -> str:
    """A prompt's blocks as one message: text as it is, files by their address or content."""
    pieces: list[str] = []
    for block in cast("list[object]", prompt) if isinstance(prompt, list) else []:
        if not isinstance(block, dict):
            continue
        given = cast("Json", block)
        kind = given.get("type")
        if kind == "text":
            pieces.append(str(given.get("text", "")))
        elif kind == "resource_link":
            pieces.append(f"[{given.get('name')}]({given.get('uri')})")
        elif kind == "resource" and isinstance(given.get("resource"), dict):
            resource = cast("Json", given["resource"])
            pieces.append(f"{resource.get('uri')}:\n{resource.get('text', '(not text)')}")
        else:
            pieces.append(f"[{kind}: left out, this pod takes text]")
    return "\n".join(pieces)


def updates_of(event: Event) -> list[Json]:
    """What an editor is told of an event; nothing of many."""
    data = event.data
    match event.type:
        case "text" | "text_delta":
            return [_chunk("agent_message_chunk", str(data.get("text", "")))]
        case "thought":
            return [_chunk("agent_thought_chunk", str(data.get("text", "")))]
        case "progress":
            return [_chunk("agent_thought_chunk", f"{data.get('message')}\n")]
        case "warning":
            return [_chunk("agent_thought_chunk", f"warning: {data.get('message')}\n")]
        case "tool_call":
            return [_tool_call(event.turn, data)]
        case "tool_result":
            return [_tool_result(event.turn, data)]
        case "artifact":
            return [_artifact(data)]
        case _:
            return []


def past(entries: Sequence[HistoryEntry]) -> list[Json]:
    """The conversation so far, as an editor that loads it is told."""
    kinds = {"user": "user_message_chunk", "assistant": "agent_message_chunk"}
    return [_chunk(kinds[entry.role], entry.text) for entry in entries]


def permission_of(data: Mapping[str, Any]) -> Json | None:
    """The request for a question's answer; None where any text would be one, which ACP has not."""
    options = [str(word) for word in data.get("options") or ()]
    if not options:
        return None
    prompt = str(data.get("prompt"))
    return {
        "toolCall": {
            "toolCallId": str(data.get("question_id")),
            "title": prompt.partition("\n")[0],
            "kind": "other",
            "status": "pending",
            "content": [_content(prompt)],
        },
        "options": [
            {"optionId": word, "name": word, "kind": OPTION_KINDS.get(word, "allow_once")}
            for word in options
        ],
    }


def chosen(answer: Mapping[str, Any]) -> str | None:
    """The option in an editor's answer; None where it was cancelled."""
    outcome = answer.get("outcome")
    if not isinstance(outcome, dict):
        return None
    option = cast("Json", outcome).get("optionId")
    return option if isinstance(option, str) else None


def usage_of(data: Mapping[str, Any]) -> Json | None:
    """A turn's usage, where both numbers are known."""
    given, made = data.get("input_tokens"), data.get("output_tokens")
    if type(given) is not int or type(made) is not int:
        return None
    return {"inputTokens": given, "outputTokens": made, "totalTokens": given + made}


def _chunk(kind: str, text: str) -> Json:
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}}


def _content(text: str) -> Json:
    return {"type": "content", "content": {"type": "text", "text": text}}


def _tool_call(turn: int | None, data: Mapping[str, Any]) -> Json:
    arguments = data.get("arguments")
    given: Json = cast("Json", arguments) if isinstance(arguments, dict) else {}
    kind = given.get("kind")
    found: Json = {
        "sessionUpdate": "tool_call",
        "toolCallId": _call_id(turn, data),
        "title": str(data.get("name")),
        "kind": kind if kind in TOOL_KINDS else "other",
        "status": "in_progress",
        "rawInput": given.get("input", given),
    }
    places = given.get("locations")
    if isinstance(places, list):
        found["locations"] = [_location(str(place)) for place in cast("list[object]", places)]
    return found


def _location(place: str) -> Json:
    found = re.fullmatch(r"(.+):(\d+)", place)
    return {"path": place} if found is None else {"path": found[1], "line": int(found[2])}


def _tool_result(turn: int | None, data: Mapping[str, Any]) -> Json:
    text = data.get("content") or data.get("summary") or ""
    return {
        "sessionUpdate": "tool_call_update",
        "toolCallId": _call_id(turn, data),
        "status": "failed" if data.get("is_error") else "completed",
        "content": [_content(str(text))],
    }


def _call_id(turn: int | None, data: Mapping[str, Any]) -> str:
    """Ids begin anew with each turn of a pod; an editor's session is all of them."""
    return f"{turn}.{data.get('call_id')}"


def _artifact(data: Mapping[str, Any]) -> Json:
    name, path = str(data.get("name")), data.get("path")
    if isinstance(path, str):
        link = {"type": "resource_link", "name": name, "uri": f"file://{path}"}
        return {"sessionUpdate": "agent_message_chunk", "content": link}
    return _chunk("agent_message_chunk", f"\n{name}:\n{data.get('text', '')}\n")
