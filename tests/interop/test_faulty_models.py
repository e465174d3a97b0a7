"""Vendors' agents in pods whose model's endpoint fails: they ask again, or say what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import open_door
from vendor_pods import left_of_pods, pod_of
from vendors import VENDOR_SECONDS, VENDORS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * VENDOR_SECONDS)]

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"error": 500, "words": "it broke"},
    "cut": {"text": "one|two|three|four", "cut": True},
    "429": {"error": 429, "retry_after": 0.05, "words": "slow down"},
    "401": {"error": 401, "words": "bad key", "repeat": 0},
}
AGAIN = "asked again"

SEEN = {
    "claude": {"500": AGAIN, "cut": AGAIN, "429": AGAIN},  # a refused key it shows for minutes
    "codex": {"500": AGAIN, "cut": AGAIN, "429": "429 Too Many Requests", "401": "bad key"},
    "opencode": {"500": AGAIN, "cut": AGAIN, "429": AGAIN, "401": "bad key"},
}
"""Agent -> fault -> what the pod's turn comes to: it goes on, or ends with these words."""


@pytest.mark.parametrize("name", SEEN)
def test_a_fault_of_its_model_is_gone_over_or_told_and_leaves_nothing(
    name: str, tmp_path: Path
) -> None:
    VENDORS[name].find_speaker()
    steps: list[dict[str, Any]] = []
    for fault, outcome in SEEN[name].items():
        steps.append(FAULTS[fault])
        if outcome == AGAIN:
            steps.append({"text": f"after {fault}"})
    with open_door() as door:
        with pod_of(name, tmp_path, steps, door):
            for number, (fault, outcome) in enumerate(SEEN[name].items()):
                if number == 0:
                    done = door("wait", "api", seconds=VENDOR_SECONDS)
                else:
                    done = door(
                        "send", "api", "Go on.", "--wait", code=None, seconds=VENDOR_SECONDS
                    )
                if outcome != AGAIN:
                    assert (done.code, outcome in done.err) == (1, True), done
                    assert "the turn of api ended: error: " in done.err
                elif number:
                    assert f"after {fault}" in done.out
        (stopped,) = door.ask("stop", "api")["stopped"]
        assert stopped["state"] == "stopped"
        assert left_of_pods(door) == ([], [], [])
