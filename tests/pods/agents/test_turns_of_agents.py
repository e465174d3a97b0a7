"""What a turn offers to any agent, in a pod with a real journal."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from pod_support import WAIT_SECONDS, connected, data, living_pod, one_turn, until_idle
from pods.agents.turn import Turn
from pods_protocol import errors
from pods_protocol.pod_messages import Cancel, Run


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
