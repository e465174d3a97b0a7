"""The command agent in a pod with a real journal: a program that prints text or events."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from pod_support import connected, data, living_pod, one_turn, only, until_idle
from pods.agents import jsonl
from pods.agents.command import CommandAgent
from pods_protocol import errors
from pods_protocol.pod_messages import Notify, Run


async def test_a_program_gets_the_message_on_its_input(short_dir: str) -> None:
    async with living_pod(short_dir, CommandAgent({"argv": ["cat"]})) as pod:
        async with connected(pod) as client:
            await client.request(Notify(message="a note"))
            await client.request(Run(input="the message"))
            await until_idle(client)
        assert pod.texts() == "a note\n\nthe message"


async def test_a_program_that_fails_is_an_error(short_dir: str) -> None:
    pod = await one_turn(short_dir, CommandAgent({"argv": ["false"]}))
    assert (pod.ends()[0]["stop_reason"], pod.ends()[0]["exit_status"]) == ("error", 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "`argv` is not a list"),
        ({"argv": []}, "at least one"),
        ({"argv": ["x", 1]}, "at least one"),
        ({"argv": "ls -l"}, "`argv` is not a list"),
        ({"argv": ["x"], "jsonl": "yes"}, "true or false"),
        ({"argv": ["x"], "josnl": True}, "no option `josnl`"),
    ],
)
def test_bad_options_of_a_command_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.AgentError, match=words):
        CommandAgent(options)


def printing(*lines: Any, code: int = 0, end: str = "\n") -> CommandAgent:
    """An agent whose program prints these lines: JSON of them, or bytes as they are."""
    output = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + end.encode()
        for line in lines
    )
    script = (
        f"import sys; sys.stdout.buffer.write({output!r}); sys.stderr.write('oops'); "
        f"sys.exit({code})"
    )
    return CommandAgent({"argv": [sys.executable, "-c", script], "jsonl": True})


async def test_lines_become_events(short_dir: str) -> None:
    said: list[tuple[str, dict[str, Any]]] = [
        ("thought", {"text": "hm"}),
        ("progress", {"message": "reading", "step": 1, "of": 2}),
        ("tool_call", {"call_id": "c", "name": "Read", "arguments": {"path": "x"}}),
        ("tool_result", {"call_id": "c", "summary": "ok", "is_error": False, "content": "..."}),
        ("text_delta", {"text": "Hel"}),
        ("text", {"text": "lo"}),
        ("usage", {"input_tokens": 5, "cost_usd": 0.5}),
    ]
    lines = [{"type": kind, "data": content} for kind, content in said]
    pod = await one_turn(short_dir, printing(*lines))
    seen = [
        (event.type, event.data)
        for event in pod.events()
        if event.turn == 1 and "stream" not in event.data
    ]
    assert seen[2:-1] == said
    assert [event.data for event in only(pod, "text_delta") if "stream" in event.data] == [
        {"text": "oops", "stream": "stderr"}
    ]


async def test_a_line_can_hand_over_a_result(short_dir: str) -> None:
    line = {"type": "artifact", "data": {"name": "report.md", "text": "# done"}}
    pod = await one_turn(short_dir, printing(line, end=""))
    (artifact,) = data(pod, "artifact")
    assert (artifact["name"], artifact["text"], artifact["size"]) == ("report.md", "# done", 6)


@pytest.mark.parametrize(
    ("said", "code", "reason", "message"),
    [
        ({"stop_reason": "refusal", "message": "no"}, 0, "refusal", "no"),
        ({"stop_reason": "end_turn"}, 0, "end_turn", None),
        ({"stop_reason": "end_turn"}, 2, "error", "exit status 2"),
        ({"stop_reason": "max_tokens"}, 2, "max_tokens", "exit status 2"),
        ({"stop_reason": "lost"}, 0, "end_turn", None),
    ],
)
async def test_a_program_can_say_how_its_turn_ended(
    short_dir: str, said: Any, code: int, reason: str, message: str | None
) -> None:
    line = {"type": "stop_reason", "data": said}
    pod = await one_turn(short_dir, printing(line, code=code))
    assert pod.ends()[0]["stop_reason"] == reason
    assert pod.ends()[0].get("message") == message


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"plain words", "no event"),
        ([1], "not a JSON object"),
        ({"type": "question", "data": {}}, "its type is 'question'"),
        ({"type": 3, "data": {}}, "its type is 3"),
        ({"type": "text"}, "`data` is not an object"),
        ({"type": "text", "data": {}}, "`text` is missing"),
        ({"type": "text", "data": {"text": 3}}, "`text` is not a str"),
        ({"type": "text", "data": {"text": "x", "txt": 1}}, "no field `txt`"),
        ({"type": "progress", "data": {"message": "x", "step": True}}, "`step` is not a int"),
        (b"\xff\xfe", "no event"),
    ],
)
async def test_a_line_that_is_no_event_is_text_and_a_warning(
    short_dir: str, line: Any, fault: str
) -> None:
    pod = await one_turn(short_dir, printing(line))
    (warning,) = data(pod, "warning")
    assert warning["code"] == "bad_line"
    assert fault in warning["message"]
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    assert raw.decode("utf-8", "replace") + "\n" in pod.texts()
    assert pod.ends()[0]["stop_reason"] == "end_turn"


async def test_a_bad_line_after_a_text_is_a_line_of_its_own(short_dir: str) -> None:
    said = {"type": "text", "data": {"text": "hello"}}
    delta = {"type": "text_delta", "data": {"text": "more"}}
    empty = {"type": "text_delta", "data": {"text": ""}}
    pod = await one_turn(short_dir, printing(said, b"words", b"again", delta, empty, b"last"))
    assert pod.texts().startswith("hello\nwords\nagain\nmore\nlast\n")


async def test_many_bad_lines_make_few_warnings(short_dir: str) -> None:
    pod = await one_turn(short_dir, printing(*[b"words"] * 50, b""))
    assert len(data(pod, "warning")) == jsonl.MAX_LINE_WARNINGS
    assert "not reported" in data(pod, "warning")[-1]["message"]
    assert pod.texts().count("words\n") == 50


async def test_a_line_over_the_bound_is_cut(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "MAX_JSON_LINE_BYTES", 100)
    pod = await one_turn(
        short_dir, printing(b"x" * 1000, {"type": "text", "data": {"text": "after"}})
    )
    assert data(pod, "warning")[0]["code"] == "line_cut"
    assert "900 bytes" in data(pod, "warning")[0]["message"]
    assert "x" * 100 + "\n" in pod.texts()
    assert data(pod, "text") == [{"text": "after"}]
