"""Vendors' agents as parents: each drives all five tools through `pods mcp` in one conversation."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import open_door
from model_endpoint import ModelEndpoint
from pods.cli.mcp_hosts import HOSTS
from vendor_homes import Home
from vendors import VENDOR_SECONDS, VENDORS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * VENDOR_SECONDS)]

TASK = "Have a pod called worker write a file and show it to you."


WRONG = {"tool": "SendToPod", "arguments": {"pod": "walker", "message": "echo lost"}}
WHAT_NEXT = "Next: call `ListPods {}` and use a name that it shows"
"""A call that names no pod of its own, and what its model hears of it."""


def conversation(scope: str) -> list[dict[str, Any]]:
    """What the model does: one step for each of its requests."""
    return [
        {
            "tool": "SpawnPod",
            "arguments": {
                "name": "worker",
                "agent": "shell",
                "write": [scope],
                "prompt": f"echo from the worker > {scope}/made; echo it is written",
            },
        },
        {"tool": "ReadPodOutput", "arguments": {"pod": "worker", "wait_seconds": 30}},
        WRONG,
        {
            "tool": "SendToPod",
            "arguments": {"pod": "worker", "message": f"cat {scope}/made", "if_busy": "queue"},
        },
        {"tool": "ReadPodOutput", "arguments": {"pod": "worker", "wait_seconds": 30}},
        {"tool": "ListPods", "arguments": {}},
        {"tool": "StopPod", "arguments": {"pod": "worker"}},
        {"text": "The worker is done."},
    ]


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendors_agent_drives_a_pod_by_all_five_tools(name: str, tmp_path: Path) -> None:
    vendor = VENDORS[name]
    program = vendor.find()
    with open_door() as door:
        scope = Path(door.work, "scope")
        scope.mkdir()
        mcp = door("mcp", "--config", vendor.host).out
        steps = [vendor.ours(step) for step in conversation(str(scope))]
        with ModelEndpoint([{"match": TASK, "steps": steps}]) as endpoint:
            told = vendor.prepare(Home(path=tmp_path, url=endpoint.url), mcp)
            # opencode works where PWD says, which would be the repository, and unpacks a library of
            # its own into TMPDIR, where it leaves it.
            places = {"HOME": str(tmp_path), "PWD": door.work, "TMPDIR": str(tmp_path)}
            environ = {**told.environ, **places}
            done = door.run([program, *told.words, TASK], environ=environ, seconds=VENDOR_SECONDS)
            assert (endpoint.problems, endpoint.left) == ([], 0), done
            after_wrong, heard = endpoint.asked[3].everything, endpoint.asked[-1].everything
        assert done.code == 0
        assert "The worker is done." in done.out
        assert "cannot find pod 'walker'" in after_wrong
        assert WHAT_NEXT in after_wrong
        assert "it is written" in heard
        assert "from the worker" in heard
        assert (scope / "made").read_text() == "from the worker\n"
        (row,) = door.ask("ls", "--all")["pods"]
        assert (row["name"], row["state"]) == ("worker", "stopped")


@pytest.mark.parametrize(
    "name", [name for name, one in HOSTS.items() if one.add and name in VENDORS]
)
def test_what_is_installed_by_a_vendors_own_command_is_used(name: str, tmp_path: Path) -> None:
    vendor = VENDORS[name]
    program = vendor.find()
    with open_door() as door:
        steps: list[dict[str, Any]] = [
            {"tool": "ListPods", "arguments": {}},
            {"text": "There are none."},
        ]
        with ModelEndpoint([{"match": TASK, "steps": steps}]) as endpoint:
            told = vendor.prepare(Home(path=tmp_path, url=endpoint.url), None)
            path = f"{os.path.dirname(program)}:{door.environ['PATH']}"
            places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": path}
            environ = {**told.environ, **places}
            door("mcp", "--install", name, environ=environ)
            if name == "codex":
                printed = tomllib.loads(door("mcp", "--config", name).out)
                written = tomllib.loads((tmp_path / ".codex" / "config.toml").read_text())
                assert written["mcp_servers"] == printed["mcp_servers"]
            done = door.run([program, *told.words, TASK], environ=environ, seconds=VENDOR_SECONDS)
            assert (endpoint.problems, endpoint.left) == ([], 0), done
        assert done.code == 0
        assert "There are none." in done.out
