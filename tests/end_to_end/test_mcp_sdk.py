"""The official MCP SDKs as hosts of `pods mcp`: what they accept is what real hosts accept.

Each lives in an environment of its own, which `.ci/run` makes; elsewhere name their interpreters:
`PODS_MCP1_PYTHON` (an environment with `mcp<2`) and `PODS_MCP2_PYTHON` (`mcp>=2,<3`).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from end_to_end_support import PODS, WAIT_SECONDS, Door, open_door
from pods_tools import export

pytestmark = pytest.mark.slow

CLIENT = """
import asyncio
import json
import os
import sys

from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client

mode, directory, command, *words = sys.argv[1:]
server = StdioServerParameters(command=command, args=words, cwd=directory, env=dict(os.environ))


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


async def drive(session, greeting):
    found = {"greeting": greeting, "tools": plain(await session.list_tools())["tools"], "calls": []}
    for name, arguments in json.load(sys.stdin):
        found["calls"].append(plain(await session.call_tool(name, arguments)))
    progress = []

    async def told(done, total, message):
        progress.append(done)

    await session.call_tool("ListPods", {}, progress_callback=told)
    found["progress"] = progress
    try:
        await asyncio.wait_for(session.call_tool("ReadPodOutput", {"pod": "sdk-slow"}), 0.5)
    except asyncio.TimeoutError:
        found["cancelled"] = True
    found["after"] = plain(await session.call_tool("ListPods", {}))
    return found


async def main():
    if mode == "one":
        from mcp import ClientSession

        async with stdio_client(server) as (reading, writing):
            async with ClientSession(reading, writing) as session:
                greeting = plain(await session.initialize())
                await session.send_ping()
                return await drive(session, greeting)
    from mcp.client import Client

    async with Client(stdio_client(server), mode=mode) as client:
        return await drive(client, {"protocolVersion": client.protocol_version})


print(json.dumps(asyncio.run(main())))
"""
"""Drives `pods mcp` and prints what came of it. Words: how to connect, where, the command."""

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("SpawnPod", {"name": "one", "prompt": "echo hello"}),
    ("SpawnPod", {"title": "one"}),
    ("ReadPodOutput", {"pod": "one"}),
    ("ReadPodOutput", {"pod": "nobody"}),
    ("SendToPod", {"pod": "one", "message": "echo again", "if_busy": "queue"}),
    ("SendToPod", {"pod": "one"}),
    ("ListPods", {}),
    ("ListPods", {"all": True}),
    ("SpawnPod", {"name": "sdk-slow", "prompt": "sleep 1000"}),
    ("StopPod", {"pod": "one", "mode": "never"}),
    ("StopPod", {"pod": "one"}),
]
"""Every tool with right arguments and with wrong ones."""

WRONG = (1, 3, 5, 7, 9)


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with open_door() as made:
        yield made


@pytest.mark.parametrize(
    ("sdk", "how", "version"),
    [("1", "one", "2025-11-25"), ("2", "auto", "2026-07-28"), ("2", "legacy", "2025-11-25")],
)
def test_an_official_client_calls_every_tool(door: Door, sdk: str, how: str, version: str) -> None:
    python = os.environ.get(f"PODS_MCP{sdk}_PYTHON")
    if not python:
        pytest.skip(f"PODS_MCP{sdk}_PYTHON names no Python that has the MCP SDK {sdk}.x")
    done = subprocess.run(
        [python, "-c", CLIENT, how, door.work, *PODS, "mcp", "--on-exit", "stop"],
        input=json.dumps(CALLS),
        env=door.environ,
        cwd=door.work,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert door.ask("ls")["pods"] == [], "its session was to be stopped at the end"
    door("rm", "--all-ended")
    assert found["greeting"]["protocolVersion"] == version
    assert found["cancelled"]
    assert found["progress"] == [], "nothing is said of a call that is over at once"
    definitions = {tool["name"]: tool for tool in export("mcp")}
    for tool in found["tools"]:
        given = definitions.pop(tool["name"])
        assert {key: tool[key] for key in given} == given
    assert not definitions
    schemas = {tool["name"]: tool["outputSchema"] for tool in export("mcp")}
    results = found["calls"] + [found["after"]]
    for at, ((name, _), result) in enumerate(zip([*CALLS, ("ListPods", {})], results, strict=True)):
        assert result["isError"] is (at in WRONG), result
        if at in WRONG:
            assert "Next: " in result["content"][0]["text"]
        else:
            jsonschema.validate(result["structuredContent"], schemas[name])
    assert results[2]["structuredContent"]["text"] == "hello\n"
