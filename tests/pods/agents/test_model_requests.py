"""What a model is asked in either dialect, and what the failures of its endpoint lead to."""

from __future__ import annotations

import json

import pytest

from pods.agents.model import anthropic, openai
from pods.agents.model.faults import (
    LONGEST_WISH_SECONDS,
    Fault,
    explain,
    judge,
    words_of,
    words_within,
)
from pods.agents.model.talk import (
    Assistant,
    Call,
    Gap,
    HttpRequest,
    Message,
    Result,
    Results,
    ToolSpec,
    User,
)

CALL = Call("c1", "read_file", {"path": "a"}, '{"path": "a"}')
TOOL = ToolSpec("read_file", "Read.", {"type": "object"})


def test_a_request_shows_no_header() -> None:
    assert "sk-1" not in repr(HttpRequest("/x", {"x-api-key": "sk-1"}, {}))


BROKEN = Call("c2", "t", None, "{no json")
TALK: list[Message] = [
    User("a"), Gap(2), Assistant("say", (CALL, BROKEN), "tools"),
    Results((Result("c1", ""), Result("c2", "bad", is_error=True))), Assistant(""), User("b"),
]  # fmt: skip


def test_anthropic_gets_turns_by_turns_and_what_it_may_keep() -> None:
    request = anthropic.request(
        model="m", key="k", system="s", talk=TALK, tools=[TOOL], max_tokens=None
    )
    messages = request.body["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[2]["content"]] == [
        "tool_result", "tool_result", "text",
    ]  # fmt: skip
    assert messages[1]["content"][2]["input"] == {}
    assert messages[2]["content"][0]["content"] == "(nothing)"
    assert messages[2]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert request.headers["x-api-key"] == "k"
    bare = anthropic.request(model="m", key="", system="s", talk=TALK, tools=[], max_tokens=5)
    assert "tools" not in bare.body
    assert (bare.body["max_tokens"], "x-api-key" in bare.headers) == (5, False)
    assert request.body["tools"][0]["input_schema"] == {"type": "object"}


def test_openai_gets_a_message_for_each_result_and_no_header_without_a_key() -> None:
    request = openai.request(model="m", key="", system="s", talk=TALK, tools=[], max_tokens=9)
    assert [one["role"] for one in request.body["messages"]] == [
        "system", "user", "user", "assistant", "tool", "tool", "user",
    ]  # fmt: skip
    assert request.body["messages"][3]["tool_calls"][1]["function"]["arguments"] == "{}"
    assert request.headers == {}
    assert request.body["max_tokens"] == 9
    assert "tools" not in request.body


# Failures


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (Fault("refused", "x", status=429), True),
        (Fault("refused", "x", status=529), True),
        (Fault("refused", "x", status=400), False),
        (Fault("refused", "x", status=401), False),
        (Fault("refused", "x", status=429, retry_after=LONGEST_WISH_SECONDS + 1), False),
        (Fault("unreachable", "x"), True),
        (Fault("slow", "x"), True),
        (Fault("broken", "x"), True),
        (Fault("forbidden", "x"), False),
    ],
)
def test_what_may_pass_is_tried_again_and_nothing_else(fault: Fault, again: bool) -> None:
    verdict = judge(fault, attempt=1, max_attempts=2, chance=0.0)
    assert (verdict.pause is not None) == again
    assert judge(fault, attempt=2, max_attempts=2, chance=0.0).pause is None


def test_pauses_double_up_to_a_bound_and_an_endpoints_wish_counts() -> None:
    fault = Fault("broken", "x")
    pauses = [judge(fault, attempt=n, max_attempts=99, chance=1.0).pause for n in range(1, 12)]
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses[-1] == 30.0
    assert judge(fault, attempt=1, max_attempts=9, chance=0.0).pause == 0.25
    wish = Fault("refused", "x", status=429, retry_after=7.0)
    assert judge(wish, attempt=1, max_attempts=9, chance=0.0).pause == 7.0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no\\n such"}}', "no such"),
        (b'{"error": "no"}', "no"),
        (b'{"detail": "no"}', "no"),
        (b"<html>", "<html>"),
        (b"", ""),
        (b"x" * 1000, f"{'x' * 400}..."),
        (b"[" * 100_000, f"{'[' * 400}..."),
    ],
)
def test_an_endpoints_words_are_found_wherever_they_stand(body: bytes, words: str) -> None:
    assert words_of(body) == words


def test_the_key_is_in_no_words_of_an_endpoint() -> None:
    body = json.dumps({"error": {"message": "x" * 390 + " no such key: sk-1234567890"}}).encode()
    assert "sk-" not in words_of(body, "sk-1234567890")
    assert words_within("Bearer sk-1\n?", "sk-1") == "Bearer [the key] ?"


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Fault("refused", "x", status=403), "--key-file"),
        (Fault("refused", "x", status=404), "--base-url"),
        (Fault("refused", "x", status=429), "later"),
        (Fault("forbidden", "x"), "network open"),
        (Fault("slow", "x"), "may use the network"),
        (Fault("refused", "your prompt is too long", status=400), "context_tokens"),
        (Fault("broken", "x"), "send the message again"),
    ],
)
@pytest.mark.parametrize("has_key", [True, False])
def test_each_end_says_what_to_do(fault: Fault, advice: str, has_key: bool) -> None:
    words = explain(fault, "http://u", attempts=2, has_key=has_key)
    assert words.startswith("cannot ask the model at http://u (2 attempts): ")
    assert advice in words.partition(";")[2]
