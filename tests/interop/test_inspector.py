"""The MCP inspector as a host of `pods mcp`: it takes our tools and calls each, right and wrong.

It has its own opinion of the protocol, and makes typed arguments out of words by our schemas. Each
call is a process and a connection of its own: what holds from one to the next is the session.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from end_to_end_support import PODS, Door, open_door
from pods_tools import export
from vendors import VENDOR_SECONDS, find_node, find_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * VENDOR_SECONDS)]

DEFINITIONS = {tool["name"]: tool for tool in export("mcp")}

RIGHT: list[tuple[str, tuple[str, ...]]] = [
    ("SpawnPod", ("name=one", "prompt=echo hello", 'limits={"turns": 5}', "write=[]")),
    ("ReadPodOutput", ("pod=one", "wait_seconds=30")),
    ("SendToPod", ("pod=one", "message=echo again", "if_busy=queue")),
    ("ListPods", ("skip=0",)),
    ("StopPod", ("pod=one",)),
]

WRONG: list[tuple[str, tuple[str, ...], str]] = [
    ("SpawnPod", ("title=one",), "`name`"),
    ("ReadPodOutput", ("pod=nobody",), "cannot find pod 'nobody'"),
    ("SendToPod", ("pod=one",), "`message`"),
    ("ListPods", ("skip=-1",), "`skip`"),
    ("StopPod", ("pod=one", "mode=never"), "`mode`"),
]
"""What stands in the answer, besides what to do next."""


TOOL_SAYS_ERROR = 5
"""The inspector's exit code for it."""


def inspect(program: str, door: Door, *words: str, code: int = 0) -> Any:
    """What the inspector prints of `pods mcp`.

    It may be gone before its server is, whose session the next one wants: `flock` lets the servers
    follow each other.
    """
    server = ["flock", "-F", f"{door.directory}/turn", *PODS, "mcp"]
    environ = {"HOME": door.directory}  # it keeps a catalogue of servers there
    command = [find_node(), program, *server, *words]
    done = door.run(command, environ=environ, seconds=VENDOR_SECONDS)
    assert done.code == code, done
    return json.loads(done.out)


def call(program: str, door: Door, tool: str, given: tuple[str, ...], *, code: int = 0) -> Any:
    """One call of a tool, with arguments as words."""
    words = ("--method", "tools/call", "--tool-name", tool, "--tool-arg", *given)
    return inspect(program, door, *words, code=code)


def test_the_inspector_lists_the_tools_and_calls_each() -> None:
    assert {tool for tool, _ in RIGHT} == {tool for tool, _, _ in WRONG} == set(DEFINITIONS)
    command = find_program("mcp-inspector", "@modelcontextprotocol/inspector")
    # What the command starts: it would be one more Node.js for each call.
    program = str(Path(command).resolve().parents[2] / "cli" / "build" / "index.js")
    with open_door() as door:
        # Strict: a schema that some client or model could not take fails.
        answer = inspect(program, door, "--method", "tools/list", "--strict")
        listed = {tool["name"]: tool for tool in answer["tools"]}
        assert set(listed) == set(DEFINITIONS)
        for name, given in DEFINITIONS.items():
            assert {key: listed[name][key] for key in given} == given
        answers: dict[str, Any] = {}
        for tool, arguments in RIGHT:
            answer = call(program, door, tool, arguments)
            assert not answer.get("isError"), answer
            jsonschema.validate(answer["structuredContent"], DEFINITIONS[tool]["outputSchema"])
            answers[tool] = answer["structuredContent"]
        assert answers["ReadPodOutput"]["text"] == "hello\n"
        assert [row["pod"] for row in answers["ListPods"]["pods"]] == ["one"]
        for tool, arguments, told in WRONG:
            answer = call(program, door, tool, arguments, code=TOOL_SAYS_ERROR)
            assert answer["isError"], answer
            (content,) = answer["content"]
            assert told in content["text"]
            assert "Next: " in content["text"]
