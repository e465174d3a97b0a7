"""Pods whose agent is our scripted ACP agent (`scripted_acp`), and what it was told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pod_support
from pod_support import PodFixture
from pods.agents.acp.agent import AcpAgent

SCRIPTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripted_acp.py")

Script = dict[str, Any]

PERMISSION: dict[str, Any] = {
    "toolCall": {"toolCallId": "c1", "title": "Write a file", "kind": "edit"},
    "options": [
        {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
        {"optionId": "ever", "name": "Always Allow", "kind": "allow_always"},
        {"optionId": "no", "name": "Reject", "kind": "reject_once"},
    ],
}


def command(directory: str, script: Script) -> list[str]:
    """The command of an agent with this script, whose home is the directory."""
    path = Path(directory, "script.json")
    path.write_text(json.dumps(script))
    home = f"HOME={directory}"
    return ["env", home, sys.executable, "-S", SCRIPTED, str(path), f"{directory}/heard"]


def scripted(directory: str, script: Script, **options: Any) -> AcpAgent:
    """Our client side of it."""
    return AcpAgent("acp", {"argv": command(directory, script), **options})


def heard(directory: str) -> list[dict[str, Any]]:
    """Every line that the agent got, in order."""
    return [json.loads(line) for line in Path(directory, "heard").read_text().splitlines()]


async def one_turn(
    directory: str, steps: list[Any], message: str = "go", *, own: Script | None = None, **more: Any
) -> PodFixture:
    """The pod after one turn in which the agent did these steps."""
    agent = scripted(directory, {"": own or {}, "*": steps})
    return await pod_support.one_turn(directory, agent, message, **more)
