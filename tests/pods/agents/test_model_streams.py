"""What an endpoint streams, in either of two dialects, becomes one reply however it is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_answers import write_stream
from model_requests import read_request
from model_script import Answer, Offered
from model_script import Call as ScriptedCall
from pods.agents.model import anthropic, openai
from pods.agents.model.sse import EventReader, ServerEvent
from pods.agents.model.talk import Assistant, BrokenReply, Call, RefusedReply


def scripted(api: str, answer: Answer) -> bytes:
    """The stream that the scripted endpoint writes."""
    path = "/v1/messages" if api == "anthropic" else "/v1/chat/completions"
    dialect: Any = "anthropic" if api == "anthropic" else "chat"
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    return b"".join(write_stream(read_request(dialect, path, body), answer))


def read(api: str, stream: bytes, cuts: list[int]) -> tuple[str, Any]:
    """The text as it streamed, and the whole reply, with the stream cut at these places."""
    reader = anthropic.ReplyReader() if api == "anthropic" else openai.ReplyReader()
    events, said, start = EventReader(), "", 0
    for end in [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]:
        for event in events.feed(stream[start:end]):
            said += "".join(piece.text for piece in reader.take(event))
        start = max(start, end)
    return said, reader.reply()


@pytest.mark.parametrize("api", ["anthropic", "openai"])
@settings(max_examples=40)
@given(
    pieces=st.lists(st.text(min_size=1, max_size=8), max_size=4),
    arguments=st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=6)), max_size=3),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
)
def test_an_answer_is_the_same_however_its_bytes_are_cut(
    api: str, pieces: list[str], arguments: list[dict[str, str]], cuts: list[int]
) -> None:
    calls = tuple(
        ScriptedCall(tool=Offered(name="t"), arguments=one, call_id=f"id{at}")
        for at, one in enumerate(arguments)
    )
    answer = Answer(
        pieces=tuple(pieces), calls=calls, stop="tools" if calls else "end", usage=(11, 4)
    )
    said, reply = read(api, scripted(api, answer), cuts)
    assert said == reply.said.text == "".join(pieces)
    assert [call.arguments for call in reply.said.calls] == arguments
    assert [call.call_id for call in reply.said.calls] == [f"id{at}" for at in range(len(calls))]
    assert reply.said.stop == ("tools" if calls else "end")
    assert (reply.input_tokens, reply.output_tokens) == (11, 4)


@pytest.mark.parametrize("api", ["anthropic", "openai"])
def test_an_answer_that_ends_too_early_is_none(api: str) -> None:
    stream = scripted(api, Answer(pieces=("a", "b")))
    with pytest.raises(BrokenReply):
        read(api, stream[: len(stream) // 2], [])


def test_separators_within_a_line_are_text_and_the_rest_is_by_the_book() -> None:
    reader = EventReader()
    text = "data: a\u2028b\x85c\r\nevent: x\n: comment\ndata:d\n\n\n"
    assert reader.feed(text.encode()) == [ServerEvent("x", "a\u2028b\x85c\nd")]


def test_an_event_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pods.agents.model.sse.MAX_EVENT_BYTES", 10)
    with pytest.raises(BrokenReply, match="more than 10 bytes"):
        EventReader().feed(b"data: " + b"x" * 10)


def test_what_a_stream_says_of_its_own_failure_is_a_refusal() -> None:
    overloaded = '{"type": "error", "error": {"type": "overloaded_error", "message": "later"}}'
    with pytest.raises(RefusedReply, match="later") as caught:
        anthropic.ReplyReader().take(ServerEvent("error", overloaded))
    assert caught.value.kind == "overloaded_error"
    with pytest.raises(RefusedReply, match="later"):
        openai.ReplyReader().take(ServerEvent("", '{"error": "later"}'))
    with pytest.raises(BrokenReply, match="no JSON object"):
        anthropic.ReplyReader().take(ServerEvent("", "{"))
    with pytest.raises(BrokenReply, match="no JSON object"):
        openai.ReplyReader().take(ServerEvent("", "[1]"))


def test_servers_that_leave_out_ids_and_indexes_are_understood() -> None:
    reader = openai.ReplyReader()
    call = {"function": {"name": "t", "arguments": "{}"}}
    reader.take(ServerEvent("", json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]})))
    reader.take(ServerEvent("", '{"choices": [{"finish_reason": "function_call", "delta": null}]}'))
    assert reader.take(ServerEvent("", " [DONE]")) == []
    assert reader.reply().said == Assistant("", (Call("call_0", "t", {}, "{}"),), "tools")


def test_thoughts_are_apart_from_what_is_said() -> None:
    thinking = {"type": "thinking_delta", "thinking": "hm"}
    event = {"type": "content_block_delta", "index": 0, "delta": thinking}
    (piece,) = anthropic.ReplyReader().take(ServerEvent("", json.dumps(event)))
    assert (piece.text, piece.thought) == ("hm", True)
    event = {"choices": [{"delta": {"reasoning_content": "hm", "content": "ha"}}]}
    pieces = openai.ReplyReader().take(ServerEvent("", json.dumps(event)))
    assert [(one.text, one.thought) for one in pieces] == [("hm", True), ("ha", False)]


def test_what_is_no_part_of_an_answer_is_passed_over() -> None:
    reader = anthropic.ReplyReader()
    for data in (
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta"}},
        {"type": "message_delta", "delta": {"stop_reason": None}},
    ):
        assert reader.take(ServerEvent("", json.dumps(data))) == []
    with pytest.raises(BrokenReply):
        reader.reply()
    odd = anthropic.read_call("c", "t", "[1]")
    assert (odd.arguments, odd.raw) == (None, "[1]")
    assert anthropic.read_call("c", "t", "{").arguments is None


@pytest.mark.parametrize(
    "raw",
    [
        '{"a": "\\ud800"}',
        '{"a": NaN}',
        '{"a": ' + "[" * 400 + "]" * 400 + "}",
        '{"a": ' + "[" * 9999,
        '{"a": 1' + "0" * 40 + "}",
    ],
)
def test_arguments_that_no_journal_takes_are_no_object(raw: str) -> None:
    assert anthropic.read_call("c", "t", raw).arguments is None


def test_halves_of_a_character_that_came_apart_are_joined() -> None:
    call = anthropic.read_call("c", "t", '{"a": "\ud83d\ude00"}')
    assert call.arguments == {"a": "\U0001f600"}
    assert anthropic.read_call("c", "t", "\ud83d").raw == "\ufffd"


def test_counts_that_cannot_be_are_none() -> None:
    assert [anthropic.count_of(told) for told in (7, None, -1, 10**30, "3")] == [7, 0, 0, 0, 3]
    with pytest.raises(BrokenReply, match="no JSON object"):
        anthropic.json_object("[" * 100_000)
