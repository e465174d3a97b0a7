"""The built-in agents, and what a turn offers, in a pod with a real journal."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from pod_support import WAIT_SECONDS, PodFixture, connected, living_pod, until, until_idle
from pods.agents import jsonl, programs, recorder
from pods.agents.base import Agent
from pods.agents.command import CommandAgent
from pods.agents.programs import find_shell
from pods.agents.shell import ShellAgent
from pods.agents.turn import Turn
from pods_protocol import errors
from pods_protocol.events import Event
from pods_protocol.pod_messages import Cancel, Notify, Run


async def one_turn(
    directory: str, agent: Agent | Callable[[Turn], Awaitable[Any]], message: str = "x", **spec: Any
) -> PodFixture:
    """The pod after one turn."""
    async with living_pod(directory, agent, **spec) as pod, connected(pod) as client:
        await client.request(Run(input=message))
        await until_idle(client)
    return pod


def only(pod: PodFixture, kind: str) -> list[Event]:
    return [event for event in pod.events() if event.type == kind]


def data(pod: PodFixture, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in only(pod, kind)]


# shell


async def test_a_message_is_a_command_line(short_dir: str) -> None:
    pod = await one_turn(short_dir, ShellAgent(), "pwd; echo $PODS_NAME; [[ -n x ]] && echo bash")
    assert pod.texts() == f"{short_dir}\nworker\nbash\n"
    assert pod.ends()[0]["stop_reason"] == "end_turn"
    assert pod.ends()[0]["exit_status"] == 0


async def test_a_command_that_fails_is_no_success(short_dir: str) -> None:
    pod = await one_turn(short_dir, ShellAgent(), "exit 3")
    end = pod.ends()[0]
    assert (end["stop_reason"], end["exit_status"], end["message"]) == (
        "error", 3, "exit status 3",
    )  # fmt: skip


async def test_a_command_line_that_the_kernel_does_not_take_says_what_to_do(short_dir: str) -> None:
    pod = await one_turn(short_dir, ShellAgent(), "echo " + "x" * 200_000)
    assert "write the text to a file" in pod.ends()[0]["message"]


async def test_a_command_can_be_cancelled_and_keeps_what_it_said(short_dir: str) -> None:
    async with living_pod(short_dir, ShellAgent()) as pod, connected(pod) as client:
        await client.request(Run(input="echo begun; sleep 60"))
        await until(lambda: "text_delta" in pod.kinds(), pod)
        await client.request(Cancel())
        await until_idle(client)
        assert pod.texts() == "begun\n"
        assert pod.ends()[0]["stop_reason"] == "cancelled"


async def test_commands_see_the_scope_and_the_notes_and_no_secret(short_dir: str) -> None:
    async with living_pod(short_dir, ShellAgent()) as pod, connected(pod) as client:
        await client.request(Notify(message="one"))
        line = 'echo "$PODS_NOTES $PODS_SCOPE_WRITE $PODS_SCOPE_READ [$PODS_TOKEN_FILE]"; env'
        await client.request(Run(input=line))
        await until_idle(client)
        assert pod.texts().startswith(f"one {short_dir} /usr []\n")
        assert pod.spec.token not in pod.texts()


async def test_a_pod_that_may_call_back_tells_its_commands_where(short_dir: str) -> None:
    line = 'echo "$PODS_SOCKET $PODS_TOKEN_FILE"'
    pod = await one_turn(short_dir, ShellAgent(), line, call_back=True)
    assert pod.texts() == f"{short_dir}/s {short_dir}/run/token\n"


async def test_output_beyond_the_bound_is_dropped_and_counted(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder.Recorder.__init__, "__kwdefaults__", {"max_output_bytes": 50_000})
    pod = await one_turn(short_dir, ShellAgent(), "head -c 200000 /dev/zero | tr '\\0' x; echo >&2")
    assert len(pod.texts()) <= 50_000
    (warning,) = data(pod, "warning")
    assert warning["code"] == "output_dropped"
    assert str(200_001 - len(pod.texts())) in warning["message"]
    assert pod.ends()[0]["stop_reason"] == "end_turn"


async def test_a_process_left_running_is_told(short_dir: str) -> None:
    pod = await one_turn(short_dir, ShellAgent(), "sleep 60 & echo $!")
    assert data(pod, "warning")[0]["code"] == "left_running"
    os.kill(int(pod.texts()), 9)


def test_the_shell_is_bash_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_shell() == "/bin/bash"
    monkeypatch.setattr(programs, "SHELLS", ("/no/bash", "/no/sh"))
    assert find_shell() == "/no/sh"


# command


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


# Turn


async def test_long_text_is_split_between_characters(short_dir: str) -> None:
    async def agent(turn: Turn) -> None:
        await turn.text("ä" * 10_000)
        await turn.text_delta("b" * 20_000)
        await turn.thought("c" * 20_000)
        await turn.text("")

    pod = await one_turn(short_dir, agent)
    assert pod.texts() == "ä" * 10_000 + "b" * 20_000
    assert len(data(pod, "text")) == 2
    assert len(data(pod, "thought")) == 2


async def test_tool_calls_are_bounded(short_dir: str) -> None:
    async def agent(turn: Turn) -> None:
        first = await turn.tool_call("Write", {"content": "x" * 100_000})
        await turn.tool_result(first, "s" * 10_000, content="\x01" * 1_000_000, is_error=True)
        second = await turn.tool_call("Read", {}, call_id="mine")
        await turn.tool_result(second, "ok")
        with pytest.raises(errors.InvalidParams):
            await turn.tool_call("Bad", {"what": object()})

    pod = await one_turn(short_dir, agent)
    calls, results = data(pod, "tool_call"), data(pod, "tool_result")
    assert [call["call_id"] for call in calls] == ["call-1", "mine"]
    assert calls[0]["arguments"]["size_bytes"] == 100_014
    assert "cut here" in results[0]["content"]
    assert results[1] == {"call_id": "mine", "summary": "ok", "is_error": False}


async def test_progress_and_usage_say_what_they_are_told(short_dir: str) -> None:
    async def agent(turn: Turn) -> None:
        await turn.progress("half", step=1, of=2)
        await turn.progress("on it")
        await turn.usage(input_tokens=3)
        await turn.usage()

    pod = await one_turn(short_dir, agent)
    assert data(pod, "progress") == [{"message": "half", "step": 1, "of": 2}, {"message": "on it"}]
    assert data(pod, "usage") == [{"input_tokens": 3}]


def check_stored(path: str, directory: str, content: bytes) -> None:
    assert os.path.dirname(path) == directory
    assert Path(path).read_bytes() == content
    assert os.stat(path).st_mode & 0o777 == 0o600


def make_file(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


async def test_results_travel_inline_or_as_files(short_dir: str) -> None:
    make_file(f"{short_dir}/out.bin", b"\0" * 10)

    async def agent(turn: Turn) -> None:
        await turn.artifact("small", "text")
        await turn.artifact("../../large", "L" * 300_000)
        await turn.artifact("controls", "\x01" * 200_000)
        await turn.artifact("bytes", b"\xff", media_type="image/x")
        await turn.artifact("file", path="out.bin")
        for wrong in ({}, {"data": "x", "path": "y"}, {"path": "missing"}, {"path": "."}):
            with pytest.raises(errors.InvalidParams):
                await turn.artifact("wrong", **wrong)

    pod = await one_turn(short_dir, agent)
    assert pod.ends()[0]["stop_reason"] == "end_turn", pod.ends()
    small, large, controls, octets, file = data(pod, "artifact")
    assert small["text"] == "text"
    assert small["sha256"] == hashlib.sha256(b"text").hexdigest()
    for stored, content in ((large, b"L" * 300_000), (controls, b"\x01" * 200_000)):
        check_stored(stored["path"], f"{pod.spec.state_directory}/journal/artifacts", content)
    assert octets["media_type"] == "image/x"
    assert (file["path"], file["size"]) == (f"{short_dir}/out.bin", 10)


async def test_a_result_over_the_limit_is_refused(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pods.agents.artifacts.MAX_ARTIFACT_BYTES", 5)
    make_file(f"{short_dir}/six", b"123456")

    async def agent(turn: Turn) -> None:
        with pytest.raises(errors.TooLarge):
            await turn.artifact("x", "123456")
        with pytest.raises(errors.TooLarge):
            await turn.artifact("x", path="six")

    assert (await one_turn(short_dir, agent)).ends()[0]["stop_reason"] == "end_turn"


async def test_a_result_that_cannot_be_stored_is_an_error(short_dir: str) -> None:
    os.makedirs(f"{short_dir}/state/journal")
    make_file(f"{short_dir}/state/journal/artifacts", b"in the way")

    async def agent(turn: Turn) -> None:
        await turn.artifact("x", b"octets")

    assert "cannot store" in (await one_turn(short_dir, agent)).ends()[0]["message"]


async def test_an_agent_knows_its_pod(short_dir: str) -> None:
    async def agent(turn: Turn) -> None:
        assert (turn.name, turn.cwd, turn.number) == ("worker", short_dir, 1)
        assert turn.options == {"colour": "red"}
        assert turn.scope.allow
        assert [entry.text for entry in turn.history()] == ["x"]
        assert turn.may_write("new/file")
        assert not turn.may_write("../elsewhere")
        assert turn.may_read("/usr/bin/env")
        assert not turn.may_read("/etc/passwd")
        assert repr(turn) == "Turn(pod='worker', number=1)"

    pod = await one_turn(short_dir, agent, options={"colour": "red"})
    assert pod.ends()[0]["stop_reason"] == "end_turn", pod.ends()


async def test_a_symlink_does_not_lead_out_of_the_scope(short_dir: str) -> None:
    os.symlink("/etc", f"{short_dir}/link")

    async def agent(turn: Turn) -> None:
        assert not turn.may_write("link/passwd")

    assert (await one_turn(short_dir, agent)).ends()[0]["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": [str(number) for number in range(17)]},
        {"options": ["yes"], "default": "no"},
        {"timeout_seconds": -1.0},
        {"timeout_seconds": float("nan")},
    ],
)
async def test_a_question_that_cannot_be_one_is_refused(short_dir: str, wrong: Any) -> None:
    async def agent(turn: Turn) -> None:
        with pytest.raises(errors.InvalidParams):
            await turn.ask("?", **wrong)

    assert (await one_turn(short_dir, agent)).ends()[0]["stop_reason"] == "end_turn"


async def test_a_program_runs_where_and_with_what_it_is_told(short_dir: str) -> None:
    os.makedirs(f"{short_dir}/sub")

    async def agent(turn: Turn) -> None:
        line = 'pwd; echo "$EXTRA"; cat; exit 4'
        assert await turn.run_process(line, cwd="sub", env={"EXTRA": "e"}, stdin="in") == 4

    pod = await one_turn(short_dir, agent)
    assert pod.texts() == f"{short_dir}/sub\ne\nin"


async def test_a_chatty_agent_lets_others_run(short_dir: str) -> None:
    async def agent(turn: Turn) -> None:
        while True:
            await turn.text_delta("x")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        with trio.fail_after(WAIT_SECONDS):
            await client.request(Cancel())
            await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == "cancelled"
