"""A pod whose agent speaks ACP: what it says, asks and does becomes of the turn what it should."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from acp_support import PERMISSION, heard, one_turn, scripted
from pod_support import WAIT_SECONDS, connected, data, living_pod, until, until_idle
from pods.agents.acp import agent as agent_module
from pods.agents.acp.agent import AcpAgent
from pods.agents.loading import load_agent
from pods_protocol.errors import AgentError
from pods_protocol.pod_messages import AnswerQuestion, Cancel, GetStatus, Notify, Run


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def read(path: str) -> str:
    return Path(path).read_text()


def blocks(directory: str) -> list[list[str]]:
    prompts = [line for line in heard(directory) if line.get("method") == "session/prompt"]
    return [[block["text"] for block in one["params"]["prompt"]] for one in prompts]


async def test_what_an_agent_says_is_journaled_in_order_and_joined(short_dir: str) -> None:
    call = {"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "Read x", "kind": "read"}
    done = {"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "completed"}
    steps: list[Any] = [
        ["thought", "hm"],
        ["text", "one "],
        ["text", "two"],
        ["update", {**call, "locations": [{"path": "/x", "line": 3}], "status": "pending"}],
        ["update", {**done, "content": [{"type": "content", "content": {
            "type": "text", "text": "what was in it"}}]}],
        ["update", {"sessionUpdate": "plan", "entries": [
            {"content": "look", "priority": "high", "status": "completed"},
            {"content": "act", "priority": "low", "status": "pending"}]}],
        ["update", {"sessionUpdate": "usage_update", "used": 9, "size": 99,
                    "cost": {"amount": 0.5, "currency": "USD"}}],
        ["update", {"sessionUpdate": "of_the_future", "x": 1}],
        ["text", "three"],
        ["stop", "max_tokens", {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12}],
    ]  # fmt: skip
    pod = await one_turn(short_dir, steps)
    assert pod.texts() == "one twothree"
    assert data(pod, "thought") == [{"text": "hm"}]
    (begun,) = data(pod, "tool_call")
    assert (begun["name"], begun["arguments"]) == (
        "Read x", {"kind": "read", "locations": ["/x:3"]},
    )  # fmt: skip
    (result,) = data(pod, "tool_result")
    assert (result["summary"], result["content"]) == ("Read x (/x:3)", "what was in it")
    session, plan = data(pod, "progress")
    assert "scripted" not in session["message"], "the kind has no other name than its program's"
    assert "ACP session s" in session["message"]
    assert (plan["step"], plan["of"], plan["message"]) == (1, 2, "plan:\n[x] look\n[ ] act")
    assert data(pod, "usage") == [{"cost_usd": 0.5}, {"input_tokens": 5, "output_tokens": 7}]
    assert pod.ends()[0]["stop_reason"] == "max_tokens"
    order = [kind for kind in pod.kinds() if kind in ("thought", "tool_call", "tool_result")]
    assert order == ["thought", "tool_call", "tool_result"]


async def test_a_new_session_is_told_where_it_is_and_later_turns_their_notes(
    short_dir: str,
) -> None:
    agent = scripted(short_dir, {"*": [["text", "ok"]]})
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="first"))
        await until_idle(client)
        await client.request(Notify(message="the wind has turned"))
        await client.request(Run(input="second"))
        await until_idle(client)
    first, second = blocks(short_dir)
    assert first[0].startswith("You are an agent in the pod `worker`")
    assert first[1:] == ["first"]
    assert second == ["[note] the wind has turned\n\nsecond"]
    begins = [line["method"] for line in heard(short_dir) if "method" in line]
    assert begins == ["initialize", "session/new", "session/prompt", "session/prompt"]


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [("allow", "yes"), ("allow-always", "ever"), ("deny", "no")],
)
async def test_a_permission_is_a_question_and_the_answer_an_option(
    short_dir: str, answer: str, chosen: str
) -> None:
    agent = scripted(short_dir, {"*": [["permission", PERMISSION]]})
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until(lambda: "question" in pod.kinds(), pod)
        status = await client.request(GetStatus())
        (question,) = status.questions
        assert status.state == "waiting"
        assert question.options == ("allow", "deny", "allow-always")
        assert question.default == "deny"
        assert "Write a file (edit)" in question.prompt
        assert "`pods answer worker WORD`" in question.prompt
        await client.request(AnswerQuestion(question_id=question.question_id, answer=answer))
        await until_idle(client)
        assert json.loads(pod.texts()) == {"outcome": "selected", "optionId": chosen}


async def test_a_permission_that_nobody_gives_is_denied_at_its_deadline(short_dir: str) -> None:
    agent = scripted(short_dir, {"*": [["permission", PERMISSION]]}, permission_seconds=0.05)
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        assert json.loads(pod.texts()) == {"outcome": "selected", "optionId": "no"}
        assert data(pod, "answer")[0]["by"] == "default"


async def test_by_its_policy_a_pod_denies_all_or_allows_what_is_in_its_scope(
    short_dir: str,
) -> None:
    def about(path: str) -> list[Any]:
        call = {**PERMISSION["toolCall"], "locations": [{"path": path}]}
        return ["permission", {**PERMISSION, "toolCall": call}]

    inside, outside = about(f"{short_dir}/new"), about("/etc/passwd")
    os.mkdir(f"{short_dir}/2")
    denying = scripted(short_dir, {"*": [inside]}, permissions="deny")
    async with living_pod(short_dir, denying) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        assert json.loads(pod.texts())["optionId"] == "no"
        assert "question" not in pod.kinds()
    script = {"in": [inside], "out": [outside]}
    allowing = scripted(short_dir, script, permissions="allow-in-scope", permission_seconds=0.05)
    second = {"state_directory": f"{short_dir}/2"}
    async with living_pod(short_dir, allowing, **second) as pod, connected(pod) as client:
        await client.request(Run(input="in"))
        await until_idle(client)
        assert json.loads(pod.texts())["optionId"] == "yes"
        await client.request(Run(input="out"))
        await until_idle(client)
        assert "question" in pod.kinds(), "what is outside is asked"


async def test_files_are_read_and_written_within_the_scope_alone(short_dir: str) -> None:
    write(f"{short_dir}/old", "1\n2\n3\n")
    steps: list[Any] = [
        ["ask", "fs/read_text_file", {"path": f"{short_dir}/old", "line": 2, "limit": 1}],
        ["ask", "fs/write_text_file", {"path": f"{short_dir}/d/new", "content": "écrit"}],
        ["ask", "fs/read_text_file", {"path": f"{short_dir}/none"}],
        ["ask", "fs/write_text_file", {"path": "/etc/x", "content": ""}],
        ["ask", "fs/read_text_file", {"path": "/root/.profile"}],
        ["ask", "fs/read_text_file", {"path": "relative"}],
        ["ask", "fs/read_text_file", {"path": 7}],
        ["ask", "fs/rename", {}],
    ]
    pod = await one_turn(short_dir, [one for step in steps for one in (step, ["text", "\n"])])
    answers = [json.loads(line) for line in pod.texts().splitlines()]
    assert answers[0] == {"content": "2\n"}
    assert answers[1] == {}
    assert read(f"{short_dir}/d/new") == "écrit"
    codes = [answer["code"] for answer in answers[2:]]
    assert codes == [-32002, -32602, -32602, -32602, -32602, -32601]
    assert "outside of this pod's scope" in answers[3]["message"]


async def test_commands_run_in_the_pod_and_their_end_is_told(short_dir: str) -> None:
    steps: list[Any] = [
        ["terminal", {"command": "sh", "args": ["-c", "echo $X; exit 3"], "env": [
            {"name": "X", "value": "é"}]}],
        ["text", "\n"],
        ["terminal", {"command": "echo line | tr a-z A-Z; pwd", "cwd": short_dir}],
        ["text", "\n"],
        ["terminal", {"command": "seq", "args": ["1000"], "outputByteLimit": 9}],
        ["text", "\n"],
        ["terminal", {"command": "/no/such", "args": ["x"]}],
        ["text", "\n"],
        ["terminal", {"command": "pwd", "cwd": "/root"}],
    ]  # fmt: skip
    pod = await one_turn(short_dir, steps)
    first, line, cut, missing, outside = map(json.loads, pod.texts().splitlines())
    assert first["ended"] == {"exitCode": 3, "signal": None}
    assert first["output"]["output"] == "é\n"
    assert line["output"]["output"] == f"LINE\n{short_dir}\n"
    assert cut["output"] == {
        "output": "999\n1000\n"[-9:], "truncated": True,
        "exitStatus": {"exitCode": 0, "signal": None},
    }  # fmt: skip
    assert missing["ended"]["exitCode"] == 127
    assert "cannot start '/no/such'" in missing["output"]["output"]
    assert "outside of this pod's scope" in outside["message"]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that answers a cancel has long to do so."""
    monkeypatch.setattr(agent_module, "CANCEL_SECONDS", WAIT_SECONDS)


@pytest.mark.usefixtures("patient")
async def test_a_cancel_reaches_the_agent_which_goes_on_with_its_session(short_dir: str) -> None:
    agent = scripted(short_dir, {"wait": [["text", "begun"], ["hang"]], "*": [["text", "again"]]})
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="wait"))
        await until(lambda: "text_delta" in pod.kinds(), pod)
        await client.request(Cancel())
        await until_idle(client)
        await client.request(Run(input="x"))
        await until_idle(client)
        assert [end["stop_reason"] for end in pod.ends()] == ["cancelled", "end_turn"]
        assert pod.texts() == "begunagain"
    methods = [line.get("method") for line in heard(short_dir)]
    assert methods.count("session/cancel") == 1
    assert methods.count("session/new") == 1, "the same process answers both"


@pytest.mark.usefixtures("patient")
async def test_a_cancel_settles_the_open_permission_as_cancelled(short_dir: str) -> None:
    agent = scripted(short_dir, {"*": [["permission", PERMISSION]]})
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until(lambda: "question" in pod.kinds(), pod)
        await client.request(Cancel())
        await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == "cancelled"
        assert data(pod, "answer")[0]["by"] == "cancelled"
    answers = [line["result"] for line in heard(short_dir) if "result" in line]
    assert answers == [{"outcome": {"outcome": "cancelled"}}]


async def test_an_agent_that_is_deaf_to_a_cancel_is_ended_and_started_anew(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "CANCEL_SECONDS", 0.1)
    script = {"": {"load": "load"}, "deaf": [["text", "x"], ["deaf"]], "*": [["text", "hi"]]}
    async with living_pod(short_dir, scripted(short_dir, script)) as pod:
        async with connected(pod) as client:
            await client.request(Run(input="deaf"))
            await until(lambda: "text_delta" in pod.kinds(), pod)
            await client.request(Cancel())
            await until_idle(client)
            await client.request(Run(input="x"))
            await until_idle(client)
        assert [end["stop_reason"] for end in pod.ends()] == ["cancelled", "end_turn"]
        assert pod.texts() == "xhi", "what the agent repeats of its session is not said again"
        assert "(taken up again)" in data(pod, "progress")[1]["message"]


@pytest.mark.parametrize("way", ["load", "resume"])
async def test_the_next_process_of_a_pod_takes_the_session_up_again(
    short_dir: str, way: str
) -> None:
    for _ in range(2):
        await one_turn(short_dir, [["text", "said"]], own={"load": way})
    methods = [line["method"] for line in heard(short_dir)]
    assert methods == [
        "initialize", "session/new", "session/prompt",
        "initialize", f"session/{way}", "session/prompt",
    ]  # fmt: skip
    assert [len(one) for one in blocks(short_dir)] == [2, 1], "it is told once where it is"


async def test_a_session_that_cannot_be_taken_up_again_is_told(short_dir: str) -> None:
    await one_turn(short_dir, [])
    pod = await one_turn(short_dir, [])
    assert [one["code"] for one in data(pod, "warning")] == ["acp_session_lost"]
    await one_turn(short_dir, [], own={"load": "load"})
    write(f"{short_dir}/sessions", "another")
    pod = await one_turn(short_dir, [], own={"load": "load"})
    assert "(no such session)" in data(pod, "warning")[-1]["message"]
    assert {end["stop_reason"] for end in pod.ends()} == {"end_turn"}


async def test_an_agent_that_dies_ends_the_turn_with_its_last_words_and_comes_back(
    short_dir: str,
) -> None:
    agent = scripted(short_dir, {"die": [["text", "x"], ["die", 3]], "*": [["text", "hi"]]})
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="die"))
        await until_idle(client)
        await client.request(Run(input="x"))
        await until_idle(client)
        died, fine = pod.ends()
        assert died["stop_reason"] == "error"
        assert (
            "[agent_died]: exit status 3; its last words: these are my last words"
            in (died["message"])
        )
        assert fine["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("own", "problem"), [({"auth": True}, "login_required"), ({"version": 2}, "protocol_version")]
)
async def test_what_keeps_an_agent_from_a_session_says_what_to_do(
    short_dir: str, own: dict[str, Any], problem: str
) -> None:
    pod = await one_turn(short_dir, [], own=own)
    (end,) = pod.ends()
    assert end["stop_reason"] == "error"
    assert f"[{problem}]" in end["message"]


async def test_an_agent_that_does_not_end_with_its_input_ends_with_its_pod(short_dir: str) -> None:
    agent = scripted(short_dir, {"": {"stays": True}, "*": [["text", "x"]]})
    with trio.fail_after(2 * WAIT_SECONDS):
        async with living_pod(short_dir, agent) as pod, connected(pod) as client:
            await client.request(Run(input="x"))
            await until_idle(client)
    # The fixture of all tests fails where it is left behind.


async def test_our_tools_come_with_the_session_where_the_pod_may_call_back(short_dir: str) -> None:
    await one_turn(short_dir, [])
    await one_turn(short_dir, [], call_back=True)
    without, with_tools = (
        line["params"]["mcpServers"] for line in heard(short_dir) if line["method"] == "session/new"
    )
    assert without == []
    (server,) = with_tools
    assert [server["command"], *server["args"]] == [sys.executable, "-P", "-m", "pods", "mcp"]
    env = {one["name"]: one["value"] for one in server["env"]}
    assert env["PODS_TOKEN_FILE"] == f"{short_dir}/run/token"


def test_options_that_are_none_and_programs_that_are_not_there_say_what_to_do() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "`argv` is missing"),
        ({"argv": []}, "`argv` is missing"),
        ({"argv": [1]}, "`argv` is not a list"),
        ({"argv": ["sh"], "permission": "ask"}, "no option `permission`"),
        ({"argv": ["sh"], "permissions": "yes"}, "use one of ask, allow-in-scope, deny"),
        ({"argv": ["sh"], "permission_seconds": 0}, "more than 0"),
        ({"argv": ["sh"], "permission_seconds": "1"}, "no number"),
        ({"argv": ["/no/such/agent"]}, "[not_installed]"),
    ]
    for options, words in wrong:
        with pytest.raises(AgentError) as caught:
            load_agent("acp", options, cwd="/")
        assert words in caught.value.message
    with pytest.raises(AgentError) as caught:
        load_agent("vibe", {}, cwd="/")
    assert "`uv tool install mistral-vibe` installs it" in caught.value.message
    assert "on the PATH that the supervisor was started with" in caught.value.message
    assert "`pods down`" in caught.value.message
    assert caught.value.data["problem"] == "not_installed"
    assert isinstance(load_agent("claude", {"argv": ["sh"]}, cwd="/"), AcpAgent)
