"""The pure parts of the model agent: the loop, what is left out, streams, what failures lead to."""

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
from pods.agents.model import anthropic, compaction, openai
from pods.agents.model.faults import (
    LONGEST_WISH_SECONDS,
    Fault,
    explain,
    judge,
    words_of,
    words_within,
)
from pods.agents.model.loop import (
    MAX_PARALLEL_CALLS,
    MAX_REMEMBERED,
    Ask,
    End,
    RunCalls,
    batches,
    from_history,
    next_action,
    settled,
)
from pods.agents.model.sse import EventReader, ServerEvent
from pods.agents.model.talk import (
    Assistant,
    BrokenReply,
    Call,
    Gap,
    HttpRequest,
    Message,
    RefusedReply,
    Result,
    Results,
    ToolSpec,
    User,
)
from pods_protocol.pod_messages import HistoryEntry

CALL = Call("c1", "read_file", {"path": "a"}, '{"path": "a"}')
ANSWERED = Results((Result("c1", "text"),))
TOOL = ToolSpec("read_file", "Read.", {"type": "object"})


# The loop


@pytest.mark.parametrize(
    ("talk", "action"),
    [
        ([User("go")], Ask()),
        ([User("go"), Gap(3)], Ask()),
        ([User("go"), Assistant("", (CALL,), "tools")], RunCalls((CALL,))),
        # Some servers say that they are done and want a tool all the same.
        ([User("go"), Assistant("", (CALL,), "end")], RunCalls((CALL,))),
        ([User("go"), Assistant("", (CALL,), "tools"), ANSWERED], Ask()),
        ([User("go"), Assistant("hi")], End("end_turn")),
        ([User("go"), Assistant("hi", (), "tools")], End("end_turn")),
    ],
)
def test_the_last_message_decides_what_comes_next(talk: list[Message], action: object) -> None:
    assert next_action(talk, asked=1, max_requests=9) == action


@pytest.mark.parametrize(("stop", "reason"), [("length", "max_tokens"), ("refusal", "refusal")])
def test_a_call_of_an_answer_that_was_cut_is_never_run(stop: Any, reason: str) -> None:
    action = next_action([User("go"), Assistant("", (CALL,), stop)], asked=1, max_requests=9)
    assert isinstance(action, End)
    assert action.stop_reason == reason


def test_the_bound_of_requests_ends_the_turn_before_the_next_one() -> None:
    action = next_action([User("go"), Assistant("", (CALL,)), ANSWERED], asked=2, max_requests=2)
    assert isinstance(action, End)
    assert action.stop_reason == "max_turn_requests"


def test_what_writes_runs_alone_and_in_its_order_the_rest_side_by_side() -> None:
    names = ["read", "read", "edit", "edit", "read"]
    assert batches(names, lambda name: name == "edit") == [[0, 1], [2], [3], [4]]
    many = batches(["read"] * (MAX_PARALLEL_CALLS + 1), lambda _: False)
    assert [len(group) for group in many] == [MAX_PARALLEL_CALLS, 1]


def test_calls_that_never_ran_get_an_answer_and_others_keep_theirs() -> None:
    asked = Assistant("", (CALL,), "tools")
    talk = settled([User("a"), asked, ANSWERED, asked, User("b")])
    assert talk[:4] == [User("a"), asked, ANSWERED, asked]
    made = talk[4]
    assert isinstance(made, Results)
    assert made.results[0].is_error
    assert talk[5:] == [User("b")]
    assert settled(talk) == talk


def test_a_history_becomes_a_conversation_up_to_the_running_turn() -> None:
    entries = [
        HistoryEntry(role="user", text="a", turn=1, seq=1),
        HistoryEntry(role="assistant", text=" ", turn=1, seq=2),
        HistoryEntry(role="user", text="now", turn=2, seq=3),
    ]
    assert from_history(entries, 2) == [User("a")]


def test_a_history_that_is_cut_begins_with_a_gap_and_never_with_the_model() -> None:
    entries = [
        HistoryEntry(role=role, text=f"{role}{turn}", turn=turn, seq=turn * 2)
        for turn in range(1, MAX_REMEMBERED)
        for role in ("user", "assistant")
    ][1:]
    talk = from_history(entries, MAX_REMEMBERED + 1)
    assert talk[0] == Gap(len(entries) - MAX_REMEMBERED)
    assert len(talk) == MAX_REMEMBERED + 1
    assert from_history(entries[:1], 2) == [Gap(1), Assistant("assistant1")]
    assert from_history([], 1) == []


# What is left out


def long_talk(rounds: int, size: int = 4000) -> list[Message]:
    talk: list[Message] = [User("the task")]
    for number in range(rounds):
        call = Call(f"c{number}", "run_command", {}, "{}")
        talk += [Assistant("", (call,), "tools"), Results((Result(f"c{number}", "x" * size),))]
    return talk


def test_what_fits_is_left_as_it_is() -> None:
    talk = long_talk(3)
    assert compaction.fit(talk, compaction.size_of(talk)) == (talk, 0)


def test_the_oldest_rounds_go_and_the_task_and_the_newest_stay() -> None:
    talk = long_talk(10)
    room = compaction.size_of(talk) - 1
    fitted, left_out = compaction.fit(talk, room)
    assert fitted[0] == User("the task")
    assert fitted[1] == Gap(left_out)
    assert fitted[-2:] == talk[-2:]
    assert compaction.size_of(fitted) <= room * compaction.TARGET_SHARE + 100
    again, more = compaction.fit([*fitted, *long_talk(10)[1:]], room)
    assert again[1] == Gap(left_out + more)


def test_a_later_message_that_began_the_turn_stays_too() -> None:
    talk = [*long_talk(3), User("the second task"), *long_talk(10)[1:]]
    fitted, _ = compaction.fit(talk, 4000)
    assert User("the task") in fitted
    assert User("the second task") in fitted


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 3000), max_size=12),
    st.lists(st.integers(0, 11), max_size=3),
    st.integers(50, 6000),
)
def test_no_call_is_ever_parted_from_its_result(
    sizes: list[int], messages: list[int], room: int
) -> None:
    talk: list[Message] = [User("task")]
    for number, size in enumerate(sizes):
        talk += long_talk(1, size)[1:]
        if number in messages:
            talk.append(User(f"task {number}"))
    fitted, left_out = compaction.fit(talk, room)
    assert fitted[0] == talk[0]
    assert settled(fitted) == fitted
    for before, after in zip([None, *fitted], fitted, strict=False):
        if isinstance(after, Results):
            assert isinstance(before, Assistant)
            assert before.calls
    newest = [one for one in talk if isinstance(one, User)][-1]
    assert newest in fitted
    counted = sum(one.count if isinstance(one, Gap) else 1 for one in fitted)
    assert counted == len(talk)
    assert left_out == len(talk) - sum(not isinstance(one, Gap) for one in fitted)


# Streams


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


def test_a_request_shows_no_header() -> None:
    assert "sk-1" not in repr(HttpRequest("/x", {"x-api-key": "sk-1"}, {}))


# Requests


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
