"""The official ACP SDK on both sides of us: as an agent in a pod, as the editor of `pods acp`.

What its models take and give is what real agents and editors do. It lives in an environment of its
own, which `.ci/run` makes; elsewhere name its interpreter: `PODS_ACP_PYTHON` (an environment with
`agent-client-protocol`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acp_support import PERMISSION, SCRIPTED
from end_to_end_support import PODS, WAIT_SECONDS, Door, open_door

pytestmark = pytest.mark.slow

AGENT = """
import asyncio, json, sys
import acp
from acp import schema

class Sdk(acp.Agent):
    def on_connect(self, conn):
        self.client = conn

    async def initialize(self, protocol_version, client_capabilities=None, client_info=None, **_):
        self.can = client_capabilities.model_dump(by_alias=True, exclude_none=True)
        self.who = client_info.name
        return acp.InitializeResponse(
            protocol_version=protocol_version,
            agent_capabilities=schema.AgentCapabilities(load_session=False),
            agent_info=schema.Implementation(name="sdk", version="0"),
        )

    async def new_session(self, cwd, mcp_servers=None, **_):
        self.servers = [type(one).__name__ for one in mcp_servers]
        self.cwd = cwd
        return acp.NewSessionResponse(session_id="one")

    async def cancel(self, session_id, **_):
        self.cancelled.set()

    async def say(self, **words):
        text = acp.update_agent_message(acp.text_block(json.dumps(words) + "\\n"))
        await self.client.session_update("one", text)

    async def prompt(self, prompt, session_id, **_):
        self.cancelled = asyncio.Event()
        asked = prompt[-1].text
        client, path = self.client, self.cwd + "/file"
        if asked == "hang":
            await self.say(hanging=True)
            await self.cancelled.wait()
            return acp.PromptResponse(stop_reason="cancelled")
        await self.say(blocks=len(prompt), can=self.can, who=self.who, servers=self.servers)
        call = acp.start_tool_call("c1", "Write", kind="edit", status="pending",
                                   locations=[schema.ToolCallLocation(path=path)])
        await client.session_update("one", call)
        options = [schema.PermissionOption(option_id="y", name="Yes", kind="allow_once")]
        answer = await client.request_permission(
            "one", schema.ToolCallUpdate(tool_call_id="c1"), options)
        await self.say(outcome=answer.outcome.model_dump(by_alias=True, exclude_none=True))
        await client.write_text_file(session_id="one", path=path, content="a\\nb\\n")
        read = await client.read_text_file(session_id="one", path=path, line=2)
        await self.say(read=read.content)
        try:
            await client.read_text_file(session_id="one", path="/etc/shadow")
        except acp.RequestError as error:
            await self.say(refused=error.code)
        made = await client.create_terminal(session_id="one", command="echo hi")
        ended = await client.wait_for_terminal_exit("one", made.terminal_id)
        output = await client.terminal_output("one", made.terminal_id)
        await client.release_terminal("one", made.terminal_id)
        await self.say(code=ended.exit_code, output=output.output, cut=output.truncated)
        await client.session_update("one", acp.update_tool_call("c1", status="completed"))
        usage = schema.Usage(input_tokens=3, output_tokens=4, total_tokens=7)
        return acp.PromptResponse(stop_reason="end_turn", usage=usage)

asyncio.run(acp.run_agent(Sdk()))
"""

EDITOR = """
import asyncio, json, os, sys
import acp
from acp import schema

class Editor:
    def __init__(self):
        self.updates, self.asked, self.hanging = [], [], asyncio.Event()

    def on_connect(self, conn):
        pass

    async def session_update(self, session_id, update, **_):
        self.updates.append(update.model_dump(mode="json", by_alias=True, exclude_none=True))
        if getattr(getattr(update, "content", None), "text", "") == "hanging":
            self.hanging.set()

    async def request_permission(self, options, session_id, tool_call, **_):
        self.asked.append([tool_call.title, [[one.option_id, one.kind] for one in options]])
        chosen = schema.AllowedOutcome(outcome="selected", option_id=options[0].option_id)
        return schema.RequestPermissionResponse(outcome=chosen)

async def main(mode, cwd, command, *words):
    editor, found = Editor(), {"ends": {}}
    spawned = acp.spawn_agent_process(editor, command, *words, env=dict(os.environ))
    async with spawned as (agent, _):
        greeting = await agent.initialize(protocol_version=1)
        found["title"] = greeting.agent_info.title
        session = (await agent.new_session(cwd=cwd, mcp_servers=[])).session_id
        if mode == "load":
            await agent.load_session(cwd=cwd, mcp_servers=[], session_id=session)
        for prompt in sys.stdin.read().split():
            asked = agent.prompt(session_id=session, prompt=[acp.text_block(prompt)])
            task = asyncio.ensure_future(asked)
            if prompt == "hang":
                await editor.hanging.wait()
                await agent.cancel(session_id=session)
            try:
                answer = await task
                usage = answer.usage and answer.usage.total_tokens
                found["ends"][prompt] = [answer.stop_reason, usage]
            except acp.RequestError as error:
                found["ends"][prompt] = [str(error), error.code]
        try:
            await agent.prompt(session_id="another", prompt=[acp.text_block("x")])
        except acp.RequestError as error:
            found["unknown"] = error.code
    print(json.dumps({**found, "updates": editor.updates, "asked": editor.asked}))

asyncio.run(main(*sys.argv[1:]))
"""

SCRIPT: dict[str, Any] = {
    "hello": [
        ["thought", "hm"],
        ["text", "hello "],
        ["update", {"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "Look",
                    "kind": "read", "locations": [{"path": "/x", "line": 2}]}],
        ["update", {"sessionUpdate": "tool_call_update", "toolCallId": "c1",
                    "status": "completed"}],
        ["stop", "end_turn", {"inputTokens": 1, "outputTokens": 2}],
    ],
    "ask": [["permission", PERMISSION]],
    "hang": [["text", "hanging"], ["hang"]],
    "fail": [["die", 4]],
}  # fmt: skip


@pytest.fixture(scope="module")
def python() -> str:
    found = os.environ.get("PODS_ACP_PYTHON")
    if not found:
        pytest.skip("PODS_ACP_PYTHON names no Python that has the official ACP SDK")
    return found


@pytest.fixture(scope="module")
def door(python: str) -> Iterator[Door]:
    with open_door() as opened:
        Path(opened.work, "sdk_agent.py").write_text(AGENT)
        Path(opened.work, "editor.py").write_text(EDITOR)
        Path(opened.work, "script.json").write_text(json.dumps(SCRIPT))
        shutil.copy(SCRIPTED, f"{opened.work}/scripted.py")
        yield opened


def test_the_official_agent_is_served_in_a_pod_and_finds_nothing_wrong(
    door: Door, python: str
) -> None:
    door("spawn", "sdk", "--agent", f"acp: {python} sdk_agent.py", "--write", ".", "--call-back")
    door("send", "sdk", "x")
    door("wait", "sdk", "--until", "question")
    door("answer", "sdk", "allow")
    door("wait", "sdk")
    said = [json.loads(line) for line in door("read", "sdk").out.splitlines() if line[:1] == "{"]
    assert said[0] == {
        "blocks": 2,
        "can": {
            "fs": {"readTextFile": True, "writeTextFile": True},
            "terminal": True,
            "auth": {"terminal": False},  # the SDK's own default
        },
        "who": "pods",
        "servers": ["McpServerStdio"],
    }
    assert said[1:] == [
        {"outcome": {"outcome": "selected", "optionId": "y"}},
        {"read": "b\n"},
        {"refused": -32602},
        {"code": 0, "output": "hi\n", "cut": False},
    ]
    door("send", "sdk", "hang")
    door("stop", "sdk")
    ended = [
        event["data"]["stop_reason"]
        for event in map(json.loads, door("logs", "sdk", "--events", "--json").out.splitlines())
        if event["type"] == "turn_ended"
    ]
    assert ended == ["end_turn", "cancelled"]


def edit(door: Door, python: str, mode: str, prompts: str) -> Any:
    """What an editor by the SDK makes of the pod."""
    done = subprocess.run(
        [python, "editor.py", mode, door.work, *PODS, "acp", "inner"],
        input=prompts,
        env=door.environ,
        cwd=door.work,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_the_official_editor_drives_a_pod(door: Door, python: str) -> None:
    door("spawn", "inner", "--agent", f"acp: {python} scripted.py script.json")
    found = edit(door, python, "new", "hello ask hang fail")
    assert found["title"] == "pod inner"
    assert found["unknown"] == -32002
    assert found["ends"]["hello"] == ["end_turn", 3]
    assert found["ends"]["ask"] == ["end_turn", None]
    assert found["ends"]["hang"] == ["cancelled", None]
    assert "[agent_died]" in found["ends"]["fail"][0]
    ((title, options),) = found["asked"]
    assert title.endswith("asks for permission: Write a file (edit)")
    assert options == [
        ["allow", "allow_once"], ["deny", "reject_once"], ["allow-always", "allow_always"],
    ]  # fmt: skip
    kinds = [update["sessionUpdate"] for update in found["updates"]]
    assert {"agent_thought_chunk", "agent_message_chunk", "tool_call", "tool_call_update"} == set(
        kinds
    )
    call, asked_for = [one for one in found["updates"] if one["sessionUpdate"] == "tool_call"]
    assert (call["title"], call["kind"], call["locations"]) == (
        "Look", "read", [{"path": "/x", "line": 2}],
    )  # fmt: skip
    assert asked_for["title"] == "Write a file", "a permission is asked for a call"
    assert door.ask("ls")["pods"][-1]["state"] == "idle", "the pod lives on"
    loaded = edit(door, python, "load", "")
    said = [[one["sessionUpdate"], one["content"]["text"]] for one in loaded["updates"]]
    assert said[:2] == [["user_message_chunk", "hello"], ["agent_message_chunk", "hello "]]
    assert "cannot find" in door("acp", "nobody", code=4).err
