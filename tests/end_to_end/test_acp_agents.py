"""A vendor's agent in a real pod, by the command line: its home, its questions, its crash, its end.

The vendor is our scripted agent under the name of a known one, on a PATH of the test's own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acp_support import PERMISSION, SCRIPTED
from end_to_end_support import Door, open_door
from mcp_support import Host

pytestmark = pytest.mark.slow

SCRIPT: dict[str, Any] = {
    "": {"load": "load", "child": True, "stays": True},
    "env": [["env", "HOME", "CODEX_HOME", "TMPDIR"]],
    "ask": [["permission", PERMISSION]],
    "write": [["terminal", {"command": "echo x > in; echo x > ../out; cat ~/.codex/auth.json"}]],
    "home": [["terminal", {"command": "echo x > $REAL/.codex/auth.json; cat $REAL/.secret"}]],
    "*": [["text", "hello"]],
}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with open_door() as opened:
        home = Path(opened.directory, "home")
        modules = home / "npm" / "node_modules"
        (home / ".codex").mkdir(parents=True)
        (home / ".codex" / "auth.json").write_text('{"key": "dummy"}')
        (home / ".secret").write_text("a secret")
        (modules / "codex").mkdir(parents=True)
        (modules / ".bin").mkdir()
        shutil.copy(SCRIPTED, modules / "codex" / "agent.py")
        (modules / "codex" / "script.json").write_text(json.dumps(SCRIPT))
        script = modules / "codex" / "start"
        script.write_text(
            f'#!/bin/sh\nd="$(dirname "$(readlink -f "$0")")"\n'
            f'exec {sys.executable} -S "$d/agent.py" "$d/script.json"\n'
        )
        script.chmod(0o755)
        (modules / ".bin" / "codex-acp").symlink_to("../codex/start")
        opened.environ["HOME"] = str(home)
        opened.environ["PATH"] = f"{modules}/.bin:{opened.environ['PATH']}"
        os.makedirs(f"{opened.work}/src")
        yield opened


def turn(door: Door, pod: str, message: str) -> str:
    return door("send", pod, message, "--wait").out


def test_a_vendors_agent_lives_in_a_home_of_its_own_and_is_held_to_its_scope(door: Door) -> None:
    spawned = door.ask(
        "spawn", "api", "--agent", "codex", "--write", "src", "--cwd", "src",
        "--env", f"REAL={door.environ['HOME']}",
    )  # fmt: skip
    assert spawned["enforcement"]["backend"] == "landlock"
    variables = json.loads(turn(door, "api", "env"))
    home = variables["HOME"]
    assert home.startswith(door.environ["PODS_STATE_DIR"])
    assert variables["CODEX_HOME"] == f"{home}/.codex"
    tried = json.loads(turn(door, "api", "write"))["output"]["output"]
    assert Path(door.work, "src", "in").read_text() == "x\n"
    assert not Path(door.work, "out").exists()
    assert "ermission denied" in tried
    assert '{"key": "dummy"}' in tried, "it has a copy of the login"
    refused = json.loads(turn(door, "api", "home"))["output"]["output"]
    assert refused.count("ermission denied") == 2, refused
    assert Path(door.environ["HOME"], ".codex", "auth.json").read_text() == '{"key": "dummy"}'
    told = "\n".join(door.ask("inspect", "api")["pod"]["enforcement"]["besides"])
    assert f"write {os.path.dirname(home)} " in told
    assert f"read {door.environ['HOME']}/npm/node_modules " in told
    assert f"a copy of {door.environ['HOME']}/.codex/auth.json" in told
    assert "besides: write " in door("inspect", "api").out


def test_its_question_waits_for_whoever_answers_it(door: Door) -> None:
    door("send", "api", "ask")
    door("wait", "api", "--until", "question")
    (row,) = [pod for pod in door.ask("ls")["pods"] if pod["name"] == "api"]
    assert row["state"] == "waiting"
    (question,) = door.ask("inspect", "api")["open_questions"]
    assert question["options"] == ["allow", "deny", "allow-always"]
    assert "Unanswered it is deny after 600 s." in question["prompt"]
    shown = door("inspect", "api").out
    assert f"{question['question_id']}: " in shown
    assert "m the answer is deny" in shown
    assert "perhaps" in door("answer", "api", "perhaps", code=2).err
    assert "not open" in door("answer", "api", "q1", "allow", code=1).err
    assert door("answer", "api", "allow").out == (
        f"api: question {question['question_id']} answered: allow\n"
    )
    door("wait", "api", "--until", "idle")
    assert '"optionId": "yes"' in door("read", "api").out
    assert "asks nothing" in door("answer", "api", "allow", code=1).err


def test_a_parent_answers_it_by_a_tool(door: Door) -> None:
    with Host(door) as host:
        host.tool("SpawnPod", name="child", agent="codex", prompt="ask")
        door("wait", "child", "--until", "question")
        read = host.tool("ReadPodOutput", pod="child")["structuredContent"]
        assert read["options"] == ["allow", "deny", "allow-always"]
        answer = {"pod": "child", "question_id": read["question_id"], "message": "deny"}
        given = host.tool("SendToPod", **answer)["structuredContent"]
        assert given["state"] == "answered"
        door("wait", "child", "--until", "idle")
        assert '"optionId": "no"' in host.tool("ReadPodOutput", pod="child")["content"][0]["text"]
        host.tool("StopPod", pod="child")


def test_after_a_crash_it_goes_on_with_its_session(door: Door) -> None:
    door("spawn", "phoenix", "--agent", "codex", "--restart", "on-failure", "--prompt", "x",
         "--wait")  # fmt: skip
    pid = door.ask("ls")["pods"][-1]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert turn(door, "phoenix", "again") == "hello\n"
    events = door("logs", "phoenix", "--events", "--json").out
    assert events.count("(new)") == 1
    assert events.count("(taken up again)") == 1


def test_a_stop_leaves_nothing_of_an_agent_that_ignores_the_end_of_its_input(door: Door) -> None:
    door("stop", "api", "phoenix")
    left = [line for line in door.account().processes if "agent.py" in line or "sleep" in line]
    assert left == []


def test_agents_are_listed_with_what_is_missing(door: Door) -> None:
    rows = {row["agent"]: row for row in door.ask("agents")["agents"]}
    assert rows["codex"]["path"].endswith("/.bin/codex-acp")
    assert rows["codex"]["logins_found"] == [".codex/auth.json"]
    assert rows["vibe"]["path"] is None
    text = door("agents").out
    assert "vibe: not installed; uv tool install mistral-vibe" in text
    refused = door("spawn", "none", "--agent", "vibe", code=1)
    assert "[not_installed]" in refused.err
    assert "leave --permissions" in door("spawn", "x", "--permissions", "deny", code=2).err
