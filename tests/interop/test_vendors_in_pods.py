"""Vendors' agents as pods: each works in its scope and not outside, asks, is cancelled, ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import open_door
from vendor_pods import allow, left_of_pods, pod_of
from vendors import CONTENT, VENDOR_SECONDS, VENDORS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * VENDOR_SECONDS)]


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendors_agent_works_in_a_pod_and_is_held_to_its_scope(name: str, tmp_path: Path) -> None:
    vendor = VENDORS[name]
    vendor.find_speaker()
    with open_door() as door:
        made, stray = Path(door.work, "made"), Path(door.directory, "stray")
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
        with pod_of(name, tmp_path, steps, door) as endpoint:
            allow(door, vendor.asks)
            heard = endpoint.asked[2].everything
            assert made.read_text() == CONTENT
            assert not stray.exists()
            assert "Permission denied" in heard
            assert "still here" in heard
            door("send", "api", "Go on.")
            endpoint.wait_for(4, VENDOR_SECONDS)
            answer = door(
                "send", "api", "Stop that.", "--if-busy", "interrupt", "--wait",
                seconds=VENDOR_SECONDS,
            )  # fmt: skip
            assert "I was interrupted." in answer.out
        ends = [
            event["data"]["stop_reason"]
            for event in door.ask("read", "api", "--since", "0")["events"]
            if event["type"] == "turn_ended"
        ]
        assert ends == ["end_turn", "cancelled", "end_turn"]
        (stopped,) = door.ask("stop", "api")["stopped"]
        assert stopped["state"] == "stopped"
        assert left_of_pods(door) == ([], [], [])


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendors_agent_in_a_pod_has_a_pod_below_it(name: str, tmp_path: Path) -> None:
    vendor = VENDORS[name]
    vendor.find_speaker()
    with open_door() as door:
        part = Path(door.work, "part")
        part.mkdir()
        child = {
            "name": "child",
            "agent": "shell",
            "write": [str(part)],
            "prompt": f"echo by a child > {part}/made; echo it is made",
        }
        steps: list[dict[str, Any]] = [
            {"tool": "SpawnPod", "arguments": child},
            {"tool": "ReadPodOutput", "arguments": {"pod": "child", "wait_seconds": 30}},
            {"text": "My child has made it."},
        ]
        called = [vendor.ours(step) for step in steps]
        with pod_of(name, tmp_path, called, door, "--call-back") as endpoint:
            allow(door, vendor.asks_for_ours)
            assert "it is made" in endpoint.asked[-1].everything
        assert (part / "made").read_text() == "by a child\n"
        rows = {row["name"]: row for row in door.ask("ls")["pods"]}
        assert rows["child"]["parent"] == "api"
        told = [
            event["data"]["type"]
            for event in door.ask("read", "api", "--since", "0")["events"]
            if event["type"] == "child_event"
        ]
        assert told == ["turn_ended"]
