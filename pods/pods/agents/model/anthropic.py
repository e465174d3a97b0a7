"""Between a conversation and Anthropic's Messages. Pure translation.

Owns the request and the reading of the stream: `message_start`, `content_block_*`, `message_delta`,
`message_stop`, `error`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import orjson

from pods.agents.model.sse import ServerEvent
from pods.agents.model.talk import (
    Assistant,
    BrokenReply,
    Call,
    Gap,
    HttpRequest,
    Message,
    Piece,
    RefusedReply,
    Reply,
    Stop,
    Talk,
    ToolSpec,
    User,
)

VERSION: Final = "2023-06-01"
DEFAULT_MAX_TOKENS: Final = 16_000
"""Of one answer; the API wants to be told."""

MAX_COUNT: Final = 2**53
"""Tokens told of one answer: beyond it readers of JSON take no number exactly."""

Json = dict[str, Any]

_STOPS: Final[dict[str, Stop]] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "tool_use": "tools",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


def request(
    *,
    model: str,
    key: str,
    system: str,
    talk: Talk,
    tools: Sequence[ToolSpec],
    max_tokens: int | None,
) -> HttpRequest:
    """What to post for the next answer."""
    messages = _messages(talk)
    # What is said again in the next request is read from the endpoint's cache.
    messages[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    body: Json = {
        "model": model,
        "max_tokens": max_tokens or DEFAULT_MAX_TOKENS,
        "stream": True,
        "system": [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}],
        "messages": messages,
    }
    if tools:
        body["tools"] = [
            {"name": one.name, "description": one.description, "input_schema": dict(one.schema)}
            for one in tools
        ]
    headers = {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}
    return HttpRequest("/v1/messages", headers, body)


def _messages(talk: Talk) -> list[Json]:
    """Users and models take turns: what several messages tell the model comes as one."""
    messages: list[Json] = []
    for message in talk:
        blocks = list(_blocks(message))
        role = "assistant" if isinstance(message, Assistant) else "user"
        if not blocks:
            continue
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})
    return messages


def _blocks(message: Message) -> Iterator[Json]:
    match message:
        case User() | Gap():
            yield {"type": "text", "text": message.text or "(nothing)"}
        case Assistant():
            if message.text.strip():
                yield {"type": "text", "text": message.text}
            for call in message.calls:
                yield {
                    "type": "tool_use",
                    "id": call.call_id,
                    "name": call.name,
                    "input": dict(call.arguments or {}),
                }
        case _:
            for one in message.results:
                yield {
                    "type": "tool_result",
                    "tool_use_id": one.call_id,
                    "content": one.text or "(nothing)",
                    "is_error": one.is_error,
                }


class ReplyReader:
    """One answer, from its events."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._stop: Stop | None = None
        self._input = self._output = 0
        self._over = False

    def take(self, event: ServerEvent) -> list[Piece]:
        """The pieces of the answer that an event brings.

        Raises:
            RefusedReply: it is the endpoint's word that it failed.
            BrokenReply: it is no event of this API.
        """
        data = json_object(event.data)
        match data.get("type"):
            case "message_start":
                self._count(_part(_part(data, "message"), "usage"))
            case "content_block_start":
                block = _part(data, "content_block")
                if block.get("type") == "tool_use":
                    self._calls[data["index"]] = (str(block["id"]), str(block["name"]), [])
            case "content_block_delta":
                return self._delta(data["index"], _part(data, "delta"))
            case "message_delta":
                self._count(_part(data, "usage"))
                stop = _part(data, "delta").get("stop_reason")
                if stop is not None:
                    self._stop = _STOPS.get(str(stop), "end")
            case "message_stop":
                self._over = True
            case "error":
                error = _part(data, "error")
                raise RefusedReply(str(error.get("type")), str(error.get("message")))
            case _:
                pass  # `ping`, and what comes with later versions
        return []

    def reply(self) -> Reply:
        """The whole answer, once the stream has ended.

        Raises:
            BrokenReply: it ended too early.
        """
        if not self._over or self._stop is None:
            raise BrokenReply("the stream ended before the answer did")
        calls = tuple(
            read_call(call_id, name, "".join(pieces))
            for call_id, name, pieces in self._calls.values()
        )
        said = Assistant("".join(self._text), calls, self._stop)
        return Reply(said, self._input, self._output)

    def _delta(self, index: int, delta: Json) -> list[Piece]:
        match delta.get("type"):
            case "text_delta":
                self._text.append(str(delta["text"]))
                return [Piece(str(delta["text"]))]
            case "thinking_delta":
                return [Piece(str(delta["thinking"]), thought=True)]
            case "input_json_delta" if index in self._calls:
                self._calls[index][2].append(str(delta["partial_json"]))
            case _:
                pass
        return []

    def _count(self, usage: Json) -> None:
        # Each tells totals so far; what was read from the cache is told apart.
        given = sum(
            count_of(usage.get(name))
            for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        )
        self._input = given or self._input
        self._output = count_of(usage.get("output_tokens")) or self._output


def json_object(text: str) -> Json:
    """An event's data as an object.

    Raises:
        BrokenReply: it is none.
    """
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BrokenReply(f"the stream holds {text[:80]!r}, which is no JSON object")
    return cast("Json", data)


def read_call(call_id: str, name: str, raw: str) -> Call:
    """A call with its arguments read; empty arguments are none.

    What the journal could not carry (half a character, a number that is none, brackets without an
    end) is no object either: the model is told so, and the turn goes on.
    """
    # Halves of a character that came in two pieces are joined; one alone becomes a mark.
    whole = raw.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    try:
        arguments: object = json.loads(whole or "{}", parse_constant=_no_number)
        orjson.dumps(arguments)
    except (ValueError, TypeError, RecursionError):
        arguments = None
    given = cast("Json", arguments) if isinstance(arguments, dict) else None
    return Call(call_id, name, given, whole or "{}")


def _no_number(word: str) -> None:
    raise ValueError(word)


def count_of(told: Any) -> int:
    """A number of tokens; one that cannot be one is none.

    Raises:
        TypeError, ValueError, OverflowError: it is no number.
    """
    number = int(told or 0)
    return number if 0 <= number <= MAX_COUNT else 0


def _part(data: Json, name: str) -> Json:
    found = data.get(name)
    return cast("Json", found) if isinstance(found, dict) else {}
