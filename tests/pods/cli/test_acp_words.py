"""A pod's events in the words of ACP, and the editor's words in those of a pod."""

from __future__ import annotations

from typing import Any

import pytest

from pods.cli.acp_words import chosen, past, permission_of, text_of, updates_of, usage_of
from pods_protocol.events import Event
from pods_protocol.pod_messages import HistoryEntry


def told(kind: str, **data: Any) -> list[dict[str, Any]]:
    return updates_of(Event(seq=1, time=0.0, turn=3, type=kind, data=data))


def chunk(kind: str, text: str) -> list[dict[str, Any]]:
    return [{"sessionUpdate": kind, "content": {"type": "text", "text": text}}]


def test_a_prompt_is_one_text_whatever_its_blocks_are() -> None:
    blocks = [
        {"type": "text", "text": "see"},
        {"type": "resource_link", "name": "a", "uri": "file:///a"},
        {"type": "resource", "resource": {"uri": "file:///b", "text": "b"}},
        {"type": "resource", "resource": {"uri": "file:///c", "blob": "AA"}},
        {"type": "resource"},
        {"type": "image", "data": "AA"},
        "no block",
    ]
    assert text_of(blocks) == (
        "see\n[a](file:///a)\nfile:///b:\nb\nfile:///c:\n(not text)\n"
        "[resource: left out, this pod takes text]\n[image: left out, this pod takes text]"
    )
    assert text_of("no list") == ""


def test_words_thoughts_and_what_went_wrong_are_chunks() -> None:
    assert (
        told("text", text="a") == told("text_delta", text="a") == chunk("agent_message_chunk", "a")
    )
    assert told("thought", text="b") == chunk("agent_thought_chunk", "b")
    assert told("progress", message="c") == chunk("agent_thought_chunk", "c\n")
    assert told("warning", message="d") == chunk("agent_thought_chunk", "warning: d\n")
    assert told("turn_started") == []


def test_a_call_and_its_result_have_one_id_in_all_turns() -> None:
    (call,) = told(
        "tool_call",
        call_id="c",
        name="Edit",
        arguments={"kind": "edit", "input": {"path": "/x"}, "locations": ["/x:7", "/y"]},
    )
    assert call["toolCallId"] == "3.c"
    assert (call["title"], call["kind"], call["rawInput"]) == ("Edit", "edit", {"path": "/x"})
    assert call["locations"] == [{"path": "/x", "line": 7}, {"path": "/y"}]
    (bare,) = told("tool_call", call_id="c", name="odd", arguments="none")
    assert (bare["kind"], bare["rawInput"]) == ("other", {})
    assert "locations" not in bare
    (result,) = told("tool_result", call_id="c", summary="done")
    assert (result["toolCallId"], result["status"]) == ("3.c", "completed")
    (failed,) = told("tool_result", call_id="c", content="no", is_error=True)
    assert failed["status"] == "failed"


def test_an_artifact_is_a_link_to_its_file_or_its_text() -> None:
    (link,) = told("artifact", name="report", path="/r.md")
    assert link["content"] == {"type": "resource_link", "name": "report", "uri": "file:///r.md"}
    assert told("artifact", name="n", text="t") == chunk("agent_message_chunk", "\nn:\nt\n")


def test_a_conversation_that_is_loaded_has_both_voices() -> None:
    entries = [
        HistoryEntry(seq=1, turn=1, role="user", text="q"),
        HistoryEntry(seq=2, turn=1, role="assistant", text="a"),
    ]
    assert past(entries) == [
        *chunk("user_message_chunk", "q"),
        *chunk("agent_message_chunk", "a"),
    ]


def test_only_a_question_with_options_is_a_permission() -> None:
    assert permission_of({"question_id": "q1", "prompt": "your name?"}) is None
    asked = permission_of(
        {"question_id": "q1", "prompt": "may I?\nmore", "options": ["allow", "deny", "later"]}
    )
    assert asked is not None
    assert asked["toolCall"]["title"] == "may I?"
    assert [one["kind"] for one in asked["options"]] == ["allow_once", "reject_once", "allow_once"]


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ({"outcome": {"outcome": "selected", "optionId": "allow"}}, "allow"),
        ({"outcome": {"outcome": "cancelled"}}, None),
        ({"outcome": "odd"}, None),
        ({}, None),
    ],
)
def test_an_answer_names_an_option_or_none(answer: dict[str, Any], option: str | None) -> None:
    assert chosen(answer) == option


def test_usage_is_told_where_both_numbers_are_known() -> None:
    assert usage_of({"input_tokens": 2, "output_tokens": 3}) == {
        "inputTokens": 2,
        "outputTokens": 3,
        "totalTokens": 5,
    }
    assert usage_of({"input_tokens": 2}) is None
