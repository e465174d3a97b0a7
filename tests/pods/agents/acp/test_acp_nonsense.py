"""A pod whose agent speaks ACP badly: what cannot be used is told, and the turn goes on."""

from __future__ import annotations

import json
from typing import Any

from acp_support import PERMISSION, heard, one_turn, scripted
from pod_support import connected, data, living_pod, until_idle
from pods_protocol.pod_messages import Run


async def test_what_an_agent_prints_to_the_wire_is_passed_over_and_told(short_dir: str) -> None:
    pod = await one_turn(short_dir, [["print", "debug: x"], ["text", "fine"], ["stop", "refusal"]])
    assert pod.texts() == "fine"
    assert "'debug: x'" in data(pod, "warning")[0]["message"]
    assert pod.ends()[0]["stop_reason"] == "refusal"


async def test_paths_that_no_file_can_have_are_refused_and_the_turn_goes_on(
    short_dir: str,
) -> None:
    call = {**PERMISSION["toolCall"], "locations": [{"path": f"{short_dir}/a\0b"}]}
    steps: list[Any] = [
        ["permission", {**PERMISSION, "toolCall": call}],
        ["text", "\n"],
        ["terminal", {"command": "pwd", "cwd": "/tmp\0"}],
        ["text", "\n"],
        ["terminal", {"command": "env", "env": [{"name": "A", "value": "\0"}]}],
    ]
    agent = scripted(short_dir, {"*": steps}, permissions="allow-in-scope", permission_seconds=0.05)
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
    assert pod.ends()[0]["stop_reason"] == "end_turn", pod.ends()
    permission, directory, variable = map(json.loads, pod.texts().splitlines())
    assert permission["optionId"] == "no"
    assert "outside of this pod's scope" in directory["message"]
    assert variable["ended"]["exitCode"] == 127


async def test_what_an_agent_nests_too_deeply_is_told_as_text_and_what_follows_is_heard(
    short_dir: str,
) -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    update = {"sessionUpdate": "tool_call", "toolCallId": "c", "title": "T", "status": "completed",
              "rawInput": {"x": deep}, "rawOutput": deep}  # fmt: skip
    pod = await one_turn(short_dir, [["update", update], ["text", "fine"]])
    assert pod.texts() == "fine"
    assert [len(data(pod, kind)) for kind in ("tool_call", "tool_result")] == [1, 1]


async def test_a_request_that_is_refused_unread_is_answered_at_once(short_dir: str) -> None:
    agent = scripted(short_dir, {"*": [["again"]]}, permission_seconds=60)
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        assert "an id of its own" in pod.texts()


async def test_what_cannot_even_be_shown_is_passed_over_and_what_follows_is_heard(
    short_dir: str,
) -> None:
    """As deep as JSON is read and deeper than Python writes it; newer ones write on."""
    deep = "[" * 1010 + "]" * 1010
    update = f'{{"sessionUpdate":"tool_call","toolCallId":"d","status":{deep}}}'
    steps: list[Any] = [
        ["print", f'{{"method":"session/update","params":{{"update":{update}}}}}'],
        ["print", '{"id":"deep","method":"session/request_permission",'
         f'"params":{{"options":[{{"optionId":"a","kind":{deep}}}]}}}}'],
        ["ask", "session/request_permission", PERMISSION],
    ]  # fmt: skip
    agent = scripted(short_dir, {"*": steps}, permission_seconds=0.05)
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
    assert pod.ends()[0]["stop_reason"] == "end_turn", pod.ends()
    assert json.loads(pod.texts())["outcome"]["optionId"] == "no"
    assert [line for line in heard(short_dir) if line.get("id") == "deep"]
