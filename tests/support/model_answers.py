"""What the scripted model says, written in the four dialects that it is asked in. Pure.

Owns the answers of Anthropic Messages, OpenAI Chat Completions and Responses, and Gemini, whole and
as streams, as far as the agents we test with read them. Used by `model_endpoint`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from model_requests import Json
from model_script import Answer, Asked, Call, Dialect


def write_error(dialect: Dialect | None, status: int, words: str = "") -> Json:
    """The body of a refusal."""
    message = words or f"the script says {status}"
    if dialect == "gemini":
        names = {401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED"}
        return {
            "error": {"code": status, "message": message, "status": names.get(status, "INTERNAL")}
        }
    kind = ERROR_TYPES.get(status, "api_error")
    if dialect == "anthropic":
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "param": None, "code": kind}}


ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def write_answer(asked: Asked, answer: Answer) -> Json:
    """The whole answer, for who asked without a stream."""
    return {
        "anthropic": _anthropic_whole,
        "chat": _chat_whole,
        "responses": _responses_whole,
        "gemini": _gemini_whole,
    }[asked.dialect](asked, answer)


def write_stream(asked: Asked, answer: Answer) -> list[bytes]:
    """The answer as the lines of a stream of server-sent events, one piece an event."""
    if asked.dialect == "anthropic":
        return [_event(one, one["type"]) for one in _anthropic_stream(asked, answer)]
    if asked.dialect == "responses":
        numbered = enumerate(_responses_stream(asked, answer))
        return [_event({**one, "sequence_number": at}, one["type"]) for at, one in numbered]
    if asked.dialect == "chat":
        return [*map(_event, _chat_stream(asked, answer)), b"data: [DONE]\n\n"]
    return [*map(_event, _gemini_stream(asked, answer))]


def write_failure(dialect: Dialect, words: str = "") -> bytes:
    """The event by which a stream that has begun tells that it failed."""
    error = write_error(dialect, 529, words)
    if dialect == "responses":
        failed = {"code": "server_error", "message": "the script says fail"}
        return _event(
            {"type": "response.failed", "response": {"status": "failed", "error": failed}},
            "response.failed",
        )
    return _event(error, "error" if dialect == "anthropic" else None)


def _event(data: Json, name: str | None = None) -> bytes:
    line = f"data: {json.dumps(data)}\n\n"
    return (f"event: {name}\n{line}" if name else line).encode()


def _arguments(call: Call) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)


def _halves(text: str) -> Iterator[str]:
    """Arguments come in two pieces, so that whoever joins them is tried."""
    yield text[: len(text) // 2]
    yield text[len(text) // 2 :]


# Anthropic ---------------------------------------------------------------------------------------

_ANTHROPIC_STOPS: Final = {
    "end": "end_turn",
    "tools": "tool_use",
    "length": "max_tokens",
    "refusal": "refusal",
}


def _anthropic_blocks(answer: Answer) -> Iterator[Json]:
    if answer.pieces:
        yield {"type": "text", "text": answer.text}
    for call in answer.calls:
        yield {
            "type": "tool_use", "id": call.call_id, "name": call.tool.name,
            "input": call.arguments,
        }  # fmt: skip


def _anthropic_whole(asked: Asked, answer: Answer) -> Json:
    return {
        "id": f"msg_{answer.number}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": list(_anthropic_blocks(answer)),
        "stop_reason": _ANTHROPIC_STOPS[answer.stop],
        "stop_sequence": None,
        "usage": _anthropic_usage(answer, answer.usage[1]),
    }


def _anthropic_usage(answer: Answer, output: int) -> Json:
    return {
        "input_tokens": answer.usage[0],
        "output_tokens": output,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def _anthropic_stream(asked: Asked, answer: Answer) -> Iterator[Json]:
    head: Json = {**_anthropic_whole(asked, answer), "content": [], "stop_reason": None}
    yield {"type": "message_start", "message": {**head, "usage": _anthropic_usage(answer, 1)}}
    thought: list[Json] = [{"type": "thinking", "thinking": answer.thought, "signature": ""}]
    blocks = [*(thought if answer.thought else ()), *_anthropic_blocks(answer)]
    for at, block in enumerate(blocks):
        if block["type"] == "thinking":
            pieces = [
                {"type": "thinking_delta", "thinking": answer.thought},
                {"type": "signature_delta", "signature": "sig"},
            ]
            empty: Json = {**block, "thinking": ""}
        elif block["type"] == "text":
            pieces = [{"type": "text_delta", "text": one} for one in answer.pieces]
            empty = {**block, "text": ""}
        else:
            pieces = [
                {"type": "input_json_delta", "partial_json": one}
                for one in _halves(json.dumps(block["input"]))
            ]
            empty = {**block, "input": {}}
        yield {"type": "content_block_start", "index": at, "content_block": empty}
        for piece in pieces:
            yield {"type": "content_block_delta", "index": at, "delta": piece}
        yield {"type": "content_block_stop", "index": at}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": _ANTHROPIC_STOPS[answer.stop], "stop_sequence": None},
        "usage": {"output_tokens": answer.usage[1]},
    }
    yield {"type": "message_stop"}


# OpenAI Chat Completions -------------------------------------------------------------------------

_CHAT_STOPS: Final = {
    "end": "stop",
    "tools": "tool_calls",
    "length": "length",
    "refusal": "content_filter",
}


def _chat_usage(answer: Answer) -> Json:
    given, made = answer.usage
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _chat_call(call: Call) -> Json:
    return {
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.tool.name, "arguments": _arguments(call)},
    }


def _chat_head(asked: Asked, answer: Answer, kind: str) -> Json:
    return {"id": f"chatcmpl-{answer.number}", "object": kind, "created": 1, "model": asked.model}


def _chat_whole(asked: Asked, answer: Answer) -> Json:
    message: Json = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = [_chat_call(call) for call in answer.calls]
    choice = {"index": 0, "message": message, "finish_reason": _CHAT_STOPS[answer.stop]}
    return {
        **_chat_head(asked, answer, "chat.completion"),
        "choices": [choice],
        "usage": _chat_usage(answer),
    }


def _chat_stream(asked: Asked, answer: Answer) -> Iterator[Json]:
    head = _chat_head(asked, answer, "chat.completion.chunk")

    def chunk(delta: Json, stop: str | None = None) -> Json:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": stop}]}

    yield chunk({"role": "assistant", "content": ""})
    if answer.thought:
        yield chunk({"reasoning_content": answer.thought})
    for piece in answer.pieces:
        yield chunk({"content": piece})
    for at, call in enumerate(answer.calls):
        whole = _chat_call(call)
        first = {**whole, "index": at, "function": {"name": call.tool.name, "arguments": ""}}
        yield chunk({"tool_calls": [first]})
        for piece in _halves(_arguments(call)):
            yield chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    yield chunk({}, _CHAT_STOPS[answer.stop])
    if asked.with_usage:
        yield {**head, "choices": [], "usage": _chat_usage(answer)}


# OpenAI Responses --------------------------------------------------------------------------------


def _responses_items(answer: Answer) -> Iterator[Json]:
    if answer.pieces:
        part: Json = {"type": "output_text", "text": answer.text, "annotations": []}
        yield {
            "type": "message",
            "id": f"msg_{answer.number}",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    for call in answer.calls:
        item: Json = {
            "id": f"fc_{call.call_id}",
            "call_id": call.call_id,
            "name": call.tool.name,
            "status": "completed",
        }
        if call.tool.namespace is not None:
            item["namespace"] = call.tool.namespace
        if call.tool.custom:
            yield {**item, "type": "custom_tool_call", "input": _arguments(call)}
        else:
            yield {**item, "type": "function_call", "arguments": _arguments(call)}


def _responses_whole(asked: Asked, answer: Answer) -> Json:
    given, made = answer.usage
    cut = answer.stop == "length"
    return {
        "id": f"resp_{answer.number}",
        "object": "response",
        "created_at": 1,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "model": asked.model,
        "output": list(_responses_items(answer)),
        "usage": {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        },
    }


def _responses_stream(asked: Asked, answer: Answer) -> Iterator[Json]:
    whole = _responses_whole(asked, answer)
    begun: Json = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for at, item in enumerate(whole["output"]):
        place: Json = {"item_id": item["id"], "output_index": at}
        added = {"type": "response.output_item.added", "output_index": at}
        if item["type"] == "message":
            part: Json = item["content"][0]
            empty = {**part, "text": ""}
            place["content_index"] = 0
            yield {**added, "item": {**item, "status": "in_progress", "content": []}}
            yield {"type": "response.content_part.added", **place, "part": empty}
            for piece in answer.pieces:
                yield {"type": "response.output_text.delta", **place, "delta": piece}
            yield {"type": "response.output_text.done", **place, "text": part["text"]}
            yield {"type": "response.content_part.done", **place, "part": part}
        else:
            custom = item["type"] == "custom_tool_call"
            word = "input" if custom else "arguments"
            kind = f"response.{'custom_tool_call_input' if custom else 'function_call_arguments'}"
            yield {**added, "item": {**item, "status": "in_progress", word: ""}}
            for piece in _halves(item[word]):
                yield {"type": f"{kind}.delta", **place, "delta": piece}
            yield {"type": f"{kind}.done", **place, word: item[word]}
        yield {"type": "response.output_item.done", "output_index": at, "item": item}
    yield {"type": f"response.{whole['status']}", "response": whole}


# Gemini ------------------------------------------------------------------------------------------

_GEMINI_STOPS: Final = {"end": "STOP", "tools": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}


def _gemini_part(call: Call) -> Json:
    return {"functionCall": {"id": call.call_id, "name": call.tool.name, "args": call.arguments}}


def _gemini_chunk(asked: Asked, answer: Answer, parts: Sequence[Json], last: bool) -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": list(parts)}}
    if last:
        candidate["finishReason"] = _GEMINI_STOPS[answer.stop]
    given, made = answer.usage
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": given,
            "candidatesTokenCount": made,
            "totalTokenCount": given + made,
        },
        "modelVersion": asked.model,
        "responseId": f"response-{answer.number}",
    }


def _gemini_whole(asked: Asked, answer: Answer) -> Json:
    said: list[Mapping[str, Any]] = [{"text": answer.text}] if answer.pieces else []
    parts = [*said, *map(_gemini_part, answer.calls)]
    return _gemini_chunk(asked, answer, cast("list[Json]", parts), last=True)


def _gemini_stream(asked: Asked, answer: Answer) -> Iterator[Json]:
    parts = [*({"text": one} for one in answer.pieces), *map(_gemini_part, answer.calls)]
    for at, part in enumerate(parts):
        yield _gemini_chunk(asked, answer, [part], last=at == len(parts) - 1)
