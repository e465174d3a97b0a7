"""The scripted model endpoint itself: each dialect, whole and streamed, errors and broken streams.

What reads here is as small as can be; agents that were written by others read the same answers in
the tests of real programs.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from model_endpoint import WAIT_SECONDS, ModelEndpoint

Json = dict[str, Any]
SPAWN: Json = {"prompt": "hi"}


def paths(dialect: str, stream: bool) -> str:
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return {
        "anthropic": "/v1/messages?beta=true",
        "chat": "/v1/chat/completions",
        "responses": "/v1/responses",
        "gemini": f"/v1beta/models/m:{method}",
    }[dialect]


def question(dialect: str, said: str, tools: tuple[str, ...], stream: bool) -> Json:
    """A request of the dialect, as short as it can be."""
    if dialect == "gemini":
        return {
            "contents": [{"role": "user", "parts": [{"text": said}]}],
            "tools": [{"functionDeclarations": [{"name": name} for name in tools]}],
        }
    offered: list[Json] = [
        {"type": "function", "name": name, "function": {"name": name}} for name in tools
    ]
    key = "input" if dialect == "responses" else "messages"
    return {
        "model": "m",
        "stream": stream,
        "stream_options": {"include_usage": True},
        key: [{"role": "user", "content": said}],
        "tools": offered,
    }


@contextmanager
def posted(endpoint: ModelEndpoint, path: str, body: Json) -> Generator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(
        endpoint.url.removeprefix("http://"), timeout=WAIT_SECONDS
    )
    try:
        connection.request("POST", path, json.dumps(body))
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def ask(
    endpoint: ModelEndpoint,
    dialect: str,
    said: str = "hi",
    tools: tuple[str, ...] = ("SpawnPod",),
    *,
    stream: bool = True,
) -> list[Json]:
    """The events of the answer, or the answer alone."""
    body = question(dialect, said, tools, stream)
    with posted(endpoint, paths(dialect, stream), body) as response:
        assert response.status == 200
        text = response.read().decode()
    if not stream:
        return [json.loads(text)]
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def found(value: object, name: str) -> list[Any]:
    """Every value under that name, in order."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [one for inner in items for one in found(inner, name)]
    if not isinstance(value, dict):
        return []
    fields = cast("dict[str, object]", value)
    here = [fields[name]] if name in fields else []
    return here + [one for inner in fields.values() for one in found(inner, name)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("dialect", "words", "usage"),
    [
        ("anthropic", "text", "output_tokens"),
        ("chat", "content", "completion_tokens"),
        ("responses", "delta", "output_tokens"),
        ("gemini", "text", "candidatesTokenCount"),
    ],
)
def test_each_dialect_says_the_text_in_its_pieces_and_tells_what_it_cost(
    dialect: str, words: str, usage: str, stream: bool
) -> None:
    with ModelEndpoint([{"text": "hel|lo", "usage": [3, 4]}]) as endpoint:
        answer = ask(endpoint, dialect, stream=stream)
        said = [one for one in found(answer, words if stream else "text") if isinstance(one, str)]
        if not said:
            said = found(answer, "content")
        assert "".join(said) == "hello"
        assert found(answer, usage)[-1] == 4
        assert endpoint.left == 0
        assert endpoint.asked[0].users == ("hi",)
        assert endpoint.problems == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", ["anthropic", "chat", "responses", "gemini"])
def test_each_dialect_calls_a_tool_by_the_name_under_which_it_was_offered(
    dialect: str, stream: bool
) -> None:
    with ModelEndpoint([{"tool": "SpawnPod", "arguments": SPAWN}]) as endpoint:
        answer = ask(endpoint, dialect, tools=("other", "mcp__pods__SpawnPod"), stream=stream)
    names = [one for one in found(answer, "name") if one]
    assert set(names) == {"mcp__pods__SpawnPod"}
    key = {"anthropic": "input", "gemini": "args"}.get(dialect, "arguments")
    pieces = found(answer, "partial_json" if dialect == "anthropic" and stream else key)
    if stream and dialect in ("anthropic", "chat"):
        assert json.loads("".join(pieces)) == SPAWN
    else:
        assert (json.loads(pieces[-1]) if isinstance(pieces[-1], str) else pieces[-1]) == SPAWN


def test_a_namespace_of_tools_comes_back_with_the_call() -> None:
    body = question("responses", "hi", (), stream=False)
    body["tools"] = [
        {"type": "namespace", "name": "mcp__pods", "tools": [{"name": "SpawnPod"}]},
        {"type": "web_search"},
    ]
    with (
        ModelEndpoint([{"tool": "SpawnPod", "arguments": SPAWN}]) as endpoint,
        posted(endpoint, "/v1/responses", body) as response,
    ):
        item = json.loads(response.read())["output"][0]
    assert (item["namespace"], item["name"]) == ("mcp__pods", "SpawnPod")


@pytest.mark.parametrize("search", ["ToolSearch", "tool_search"])
def test_a_tool_that_is_hidden_is_searched_for_before_the_step_is_used_up(search: str) -> None:
    said = "deferred: mcp__pods__SpawnPod"
    with ModelEndpoint([{"tool": "SpawnPod", "arguments": SPAWN}]) as endpoint:
        searched = ask(endpoint, "anthropic", said, (search,), stream=False)
        assert searched[0]["content"][0]["input"] == {"query": "select:mcp__pods__SpawnPod"}
        assert endpoint.left == 1
        called = ask(endpoint, "anthropic", said, (search, "mcp__pods__SpawnPod"), stream=False)
        assert called[0]["content"][0]["name"] == "mcp__pods__SpawnPod"
        assert endpoint.left == 0


def test_a_tool_that_nobody_offers_is_a_problem_that_a_test_sees() -> None:
    with ModelEndpoint([{"tool": "SpawnPod"}]) as endpoint:
        ask(endpoint, "chat", tools=("other",))
        assert endpoint.problems == ["the tool SpawnPod is not offered; there are other"]


def test_conversations_are_told_apart_and_side_questions_use_up_nothing() -> None:
    script = [
        {"match": "parent", "steps": [{"text": "I am the parent"}]},
        {"match": "child", "steps": [{"text": "I am the child"}]},
    ]
    with ModelEndpoint(script) as endpoint:
        assert found(ask(endpoint, "chat", "a title", ()), "content")[1] == "ok"
        assert found(ask(endpoint, "chat", "you child"), "content")[1] == "I am the child"
        assert found(ask(endpoint, "chat", "you parent"), "content")[1] == "I am the parent"
        assert endpoint.problems == []
        ask(endpoint, "chat", "you parent")
        assert endpoint.problems == ["one more request than 'parent' has steps"]


@pytest.mark.parametrize("dialect", ["anthropic", "chat", "responses", "gemini"])
def test_refusals_come_with_their_status_and_the_time_to_retry_after(dialect: str) -> None:
    script: list[Json] = [{"error": 429, "retry_after": 0.5}, {"error": 401}, {"text": "now"}]
    body = question(dialect, "hi", ("x",), stream=True)
    with ModelEndpoint(script) as endpoint:
        with posted(endpoint, paths(dialect, True), body) as response:
            assert (response.status, response.headers["retry-after"]) == (429, "0.5")
            assert "error" in json.loads(response.read())
        with posted(endpoint, paths(dialect, True), body) as response:
            assert (response.status, response.headers["retry-after"]) == (401, None)
        assert ask(endpoint, dialect)


@pytest.mark.parametrize("dialect", ["anthropic", "chat", "responses", "gemini"])
def test_a_stream_can_break_off_in_the_middle(dialect: str) -> None:
    body = question(dialect, "hi", ("x",), stream=True)
    with (
        ModelEndpoint([{"text": "a|b|c", "cut": True}]) as endpoint,
        posted(endpoint, paths(dialect, True), body) as response,
        pytest.raises(http.client.IncompleteRead),
    ):
        response.read()


def test_a_stream_that_holds_ends_with_its_caller_or_with_the_endpoint() -> None:
    body = question("chat", "hi", ("x",), stream=True)
    with ModelEndpoint([{"text": "a|b", "hold": True, "repeat": 2}]) as endpoint:
        with posted(endpoint, "/v1/chat/completions", body) as response:
            assert response.readline().startswith(b"data: ")
        connection = http.client.HTTPConnection(
            endpoint.url.removeprefix("http://"), timeout=WAIT_SECONDS
        )
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        endpoint.wait_for(2)
    connection.close()


def test_what_wants_an_instance_of_a_schema_gets_one_beside_the_script() -> None:
    schema = {
        "type": "object",
        "properties": {"choice": {"enum": ["flash"]}, "n": {"type": "integer"}},
    }
    body = question("gemini", "route", (), stream=False)
    body["generationConfig"] = {"responseJsonSchema": schema}
    with (
        ModelEndpoint([{"text": "unused"}]) as endpoint,
        posted(endpoint, paths("gemini", False), body) as response,
    ):
        text = json.loads(response.read())["candidates"][0]["content"]["parts"][0]["text"]
        assert json.loads(text) == {"choice": "flash", "n": 1}
        assert endpoint.left == 1
