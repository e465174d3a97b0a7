"""Vendors' agents as pods: each works in its scope and not outside, asks, is cancelled, ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import open_door
from model_endpoint import ModelEndpoint
from vendors import CONTENT, VENDOR_SECONDS, VENDORS, Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * VENDOR_SECONDS)]

TASK = "Write where you may and where you may not."


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendors_agent_works_in_a_pod_and_is_held_to_its_scope(name: str, tmp_path: Path) -> None:
    vendor = VENDORS[name]
    program = vendor.find_speaker()
    with open_door() as door:
        scope, stray = Path(door.work, "scope"), Path(door.work, "stray")
        scope.mkdir()
        made = scope / "made"
        wrote = (
            vendor.command(f"printf '{CONTENT}' > {made}")
            if vendor.write is None
            else vendor.write(str(made))
        )
        steps: list[dict[str, Any]] = [
            wrote,
            vendor.command(f"echo out > {stray}; echo still here"),
            {"text": "That is all I could do."},
            {"text": "I am going on and on", "hold": True},
            {"text": "I was interrupted."},
        ]
        with ModelEndpoint([{"match": TASK, "steps": steps}]) as endpoint:
            told = vendor.prepare(Home(path=tmp_path, url=endpoint.url), None)
            before = sorted(str(one) for one in tmp_path.rglob("*") if one.is_file())
            path = f"{os.path.dirname(program)}:{door.environ['PATH']}"
            door(
                "spawn", "api", "--agent", name, "--write", str(scope), "--cwd", str(scope),
                *(word for pair in told.environ.items() for word in ("--env", "=".join(pair))),
                "--prompt", TASK,
                environ={"HOME": str(tmp_path), "PATH": path},
            )  # fmt: skip
            for _ in range(2 if vendor.asks else 0):
                door("wait", "api", "--until", "question", seconds=VENDOR_SECONDS)
                door("answer", "api", "allow")
            door("wait", "api", seconds=VENDOR_SECONDS)
            told_of = endpoint.asked[2].everything
            assert made.read_text() == CONTENT
            assert not stray.exists()
            assert "Permission denied" in told_of
            assert "still here" in told_of
            door("send", "api", "Go on.")
            endpoint.wait_for(4, VENDOR_SECONDS)
            answer = door(
                "send", "api", "Stop that.", "--if-busy", "interrupt", "--wait",
                seconds=VENDOR_SECONDS,
            )  # fmt: skip
            assert "I was interrupted." in answer.out
            assert (endpoint.problems, endpoint.left) == ([], 0)
        ends = [
            event["data"]["stop_reason"]
            for event in door.ask("read", "api", "--since", "0")["events"]
            if event["type"] == "turn_ended"
        ]
        assert ends == ["end_turn", "cancelled", "end_turn"]
        (stopped,) = door.ask("stop", "api")["stopped"]
        assert stopped["state"] == "stopped"
        assert sorted(str(one) for one in tmp_path.rglob("*") if one.is_file()) == before
