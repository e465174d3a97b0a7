"""Vendors' agents as pods: each works in its scope and not outside, asks, is cancelled, ends."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import Door, open_door
from model_endpoint import ModelEndpoint
from vendor_homes import Home
from vendors import CONTENT, VENDOR_SECONDS, VENDORS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * VENDOR_SECONDS)]

TASK = "Write where you may and where you may not."


@contextmanager
def pod_of(
    name: str, home: Path, steps: list[dict[str, Any]], door: Door, *words: str
) -> Generator[ModelEndpoint]:
    """A pod `api` with a vendor's agent that works through the steps of a model."""
    vendor = VENDORS[name]
    program = vendor.find_speaker()
    with ModelEndpoint([{"match": TASK, "steps": steps}]) as endpoint:
        told = vendor.prepare(Home(path=home, url=endpoint.url), None)
        before = _files(home)
        door(
            "spawn", "api", "--agent", name, "--write", door.work, "--cwd", door.work, *words,
            *(word for pair in told.environ.items() for word in ("--env", "=".join(pair))),
            "--prompt", TASK,
            environ={
                "HOME": str(home),
                "PATH": f"{os.path.dirname(program)}:{door.environ['PATH']}",
            },
        )  # fmt: skip
        yield endpoint
        assert (endpoint.problems, endpoint.left) == ([], 0)
        assert _files(home) == before, "it keeps to a home of its own"


def allow(door: Door, questions: int) -> None:
    """Answer so many questions, one after the other, and wait for the end of the turn."""
    for _ in range(questions):
        door("wait", "api", "--until", "question", seconds=VENDOR_SECONDS)
        door("answer", "api", "allow")
    door("wait", "api", seconds=VENDOR_SECONDS)


STAYING = {"default", "default/ctl.sock", "default/launcher.sock", "default/owner.token"}
"""Of a supervisor that is up and has no pods."""


def left_of_pods(door: Door) -> tuple[list[str], list[str], list[str]]:
    """Processes, files and leases that are there beside the supervisor's own."""
    account = door.account()
    own = ("-m pods.supervisor ", "-m pods.launcher ")
    processes = [line for line in account.processes if not any(one in line for one in own)]
    assert len(account.processes) - len(processes) == len(own)
    return processes, [path for path in account.runtime if path not in STAYING], account.leases


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


def _files(home: Path) -> list[str]:
    return sorted(str(one) for one in home.rglob("*") if one.is_file())
