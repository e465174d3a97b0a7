"""What models are asked, read from the four dialects that they are asked in. Pure.

Owns the requests of Anthropic Messages, OpenAI Chat Completions and Responses, and Gemini, as far
as a script wants to know of them; `model_answers` writes the answers. Used by `model_endpoint`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, cast

from model_script import Asked, Dialect, Offered

Json: TypeAlias = dict[str, Any]


def dialect_of(path: str) -> Dialect | None:
    """Which dialect a POST to this path is in; None where it asks for no model's words."""
    bare = path.partition("?")[0]
    if bare.endswith("/messages"):
        return "anthropic"
    if bare.endswith("/chat/completions"):
        return "chat"
    if bare.endswith("/responses"):
        return "responses"
    return "gemini" if bare.endswith((":generateContent", ":streamGenerateContent")) else None


def read_request(dialect: Dialect, path: str, body: Json) -> Asked:
    """What is asked."""
    match dialect:
        case "anthropic":
            messages: list[Json] = body.get("messages", [])
            found: Json = {
                "system": texts(body.get("system", "")),
                "users": [
                    texts(one["content"], "text") for one in messages if one["role"] == "user"
                ],
                "tools": _anthropic_tools(body),
                "results": count_parts(messages, "tool_result"),
                "schema": _inner(body, "output_config", "format", "schema")
                or _inner(body, "output_format", "schema"),
            }
        case "chat":
            messages = body.get("messages", [])
            found = {
                "system": _by_roles(messages, "system", "developer"),
                "users": [texts(one["content"]) for one in messages if one["role"] == "user"],
                "tools": [Offered(name=one["function"]["name"]) for one in body.get("tools") or ()],
                "results": sum(one["role"] == "tool" for one in messages),
                "schema": _inner(body, "response_format", "json_schema", "schema"),
                "with_usage": bool(_inner(body, "stream_options", "include_usage")),
            }
        case "responses":
            given: Any = body.get("input", [])
            items: list[Json] = (
                [{"role": "user", "content": given}] if isinstance(given, str) else given
            )
            found = {
                "system": (body.get("instructions") or "")
                + _by_roles(items, "system", "developer"),
                "users": [texts(one["content"]) for one in items if one.get("role") == "user"],
                "tools": _responses_tools(body.get("tools") or ()),
                "results": sum(str(one.get("type")).endswith("_call_output") for one in items),
                "schema": _inner(body, "text", "format", "schema"),
            }
        case "gemini":
            contents: list[Json] = body.get("contents", [])
            config: Json = body.get("generationConfig") or {}
            found = {
                "system": texts(_inner(body, "systemInstruction", "parts") or ""),
                "users": [
                    texts(one["parts"]) for one in contents if one.get("role", "user") == "user"
                ],
                "tools": [
                    Offered(name=one["name"])
                    for group in body.get("tools") or ()
                    for one in group.get("functionDeclarations") or ()
                ],
                "results": count_parts(contents, "functionResponse"),
                "schema": config.get("responseJsonSchema") or config.get("responseSchema"),
            }
    return Asked(
        dialect=dialect,
        model=body.get("model") or path.rpartition("/models/")[2].partition(":")[0],
        stream=":streamGenerateContent" in path or bool(body.get("stream")),
        system=found.pop("system"),
        users=tuple(found.pop("users")),
        tools=tuple(found.pop("tools")),
        everything=json.dumps(body, ensure_ascii=False),
        **found,
    )


def texts(content: Any, kind: str | None = None) -> str:
    """The text of a message's content, whatever it is made of."""
    if isinstance(content, str):
        return content
    parts = cast("Sequence[Json]", content or ())
    return "\n".join(
        part["text"] for part in parts if "text" in part and kind in (None, part.get("type"))
    )


def count_parts(messages: Sequence[Json], word: str) -> int:
    """How many parts of messages are of a kind."""
    return sum(
        word in part or part.get("type") == word
        for message in messages
        if not isinstance(message.get("content"), str)
        for part in message.get("content") or message.get("parts") or ()
    )


def _by_roles(messages: Sequence[Json], *roles: str) -> str:
    return "\n".join(texts(one["content"]) for one in messages if one.get("role") in roles)


def _inner(body: Json, *names: str) -> Any:
    found: Any = body
    for name in names:
        found = cast("Json", found).get(name) if isinstance(found, dict) else None
    return found


def _anthropic_tools(body: Json) -> Iterator[Offered]:
    # A deferred tool is the model's to use once a search has referred to it.
    everything = json.dumps(body.get("messages", []))
    for one in body.get("tools") or ():
        reference = f'"tool_reference", "tool_name": "{one["name"]}"'
        hidden = bool(one.get("defer_loading")) and reference not in everything
        yield Offered(name=one["name"], hidden=hidden)


def _responses_tools(tools: Sequence[Json]) -> Iterator[Offered]:
    for one in tools:
        if one["type"] == "namespace":
            for inner in one["tools"]:
                yield Offered(name=inner["name"], namespace=one["name"])
        elif "name" in one:
            yield Offered(name=one["name"], custom=one["type"] == "custom")
