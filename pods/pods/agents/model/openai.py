"""Between a conversation and OpenAI's Chat Completions, as many servers speak it. Pure translation.

Owns the request and the reading of the stream of chunks. Servers differ in what they leave out: the
usage, the ids of calls, the index, the last `[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, assert_never, cast

from pods.agents.model.anthropic import Json, count_of, json_object, read_call
from pods.agents.model.sse import ServerEvent
from pods.agents.model.talk import (
    Assistant,
    BrokenReply,
    Gap,
    HttpRequest,
    Message,
    Piece,
    RefusedReply,
    Reply,
    Results,
    Stop,
    Talk,
    ToolSpec,
    User,
)

DONE: Final = "[DONE]"

_STOPS: Final[dict[str, Stop]] = {
    "stop": "end",
    "tool_calls": "tools",
    "function_call": "tools",
    "length": "length",
    "content_filter": "refusal",
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
    messages: list[Json] = [{"role": "system", "content": system}]
    for message in talk:
        messages += _messages(message)
    body: Json = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": messages,
    }
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    if tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": one.name,
                    "description": one.description,
                    "parameters": dict(one.schema),
                },
            }
            for one in tools
        ]
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return HttpRequest("/chat/completions", headers, body)


def _messages(message: Message) -> Iterator[Json]:
    match message:
        case User() | Gap():
            yield {"role": "user", "content": message.text}
        case Assistant():
            if not message.text.strip() and not message.calls:
                return
            said: Json = {"role": "assistant", "content": message.text or None}
            if message.calls:
                said["tool_calls"] = [
                    {
                        "id": call.call_id,
                        "type": "function",
                        # Servers read it again: what was no JSON is told by the result.
                        "function": {
                            "name": call.name,
                            "arguments": json.dumps(dict(call.arguments or {})),
                        },
                    }
                    for call in message.calls
                ]
            yield said
        case Results():
            for one in message.results:
                yield {"role": "tool", "tool_call_id": one.call_id, "content": one.text}
        case _:
            assert_never(message)


class ReplyReader:
    """One answer, from its chunks."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._stop: Stop | None = None
        self._input = self._output = 0

    def take(self, event: ServerEvent) -> list[Piece]:
        """The pieces of the answer that an event brings.

        Raises:
            RefusedReply: it is the endpoint's word that it failed.
            BrokenReply: it is no event of this API.
        """
        if event.data.strip() == DONE:
            return []
        data = json_object(event.data)
        error: Any = data.get("error")
        if error is not None:
            words = cast("Json", error) if isinstance(error, dict) else {"message": error}
            raise RefusedReply(str(words.get("type")), str(words.get("message")))
        usage: Any = data.get("usage")
        if isinstance(usage, dict):
            told = cast("Json", usage)
            self._input = count_of(told.get("prompt_tokens"))
            self._output = count_of(told.get("completion_tokens"))
        choices: Any = data.get("choices")
        pieces: list[Piece] = []
        for choice in cast("list[Json]", choices or []):
            pieces += self._delta(cast("Json", choice.get("delta") or {}))
            if choice.get("finish_reason"):
                self._stop = _STOPS.get(str(choice["finish_reason"]), "end")
        return pieces

    def reply(self) -> Reply:
        """The whole answer, once the stream has ended.

        Raises:
            BrokenReply: it ended too early.
        """
        if self._stop is None:
            raise BrokenReply("the stream ended before the answer did")
        calls = tuple(
            read_call(call_id or f"call_{at}", name, "".join(pieces))
            for at, (call_id, name, pieces) in self._calls.items()
        )
        return Reply(Assistant("".join(self._text), calls, self._stop), self._input, self._output)

    def _delta(self, delta: Json) -> list[Piece]:
        pieces: list[Piece] = []
        thought: Any = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            pieces.append(Piece(thought, thought=True))
        if said := delta.get("content") or delta.get("refusal"):
            self._text.append(str(said))
            pieces.append(Piece(str(said)))
        for call in cast("list[Json]", delta.get("tool_calls") or []):
            at = int(call.get("index") or 0)
            function = cast("Json", call.get("function") or {})
            call_id, name, arguments = self._calls.get(at, ("", "", []))
            arguments.append(str(function.get("arguments") or ""))
            self._calls[at] = (
                call_id or str(call.get("id") or ""),
                name or str(function.get("name") or ""),
                arguments,
            )
        return pieces
