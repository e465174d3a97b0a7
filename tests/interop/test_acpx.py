"""`acpx`, a client of ACP for shells, as an oracle of `pods acp`: it drives pods as any agent."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from acp_support import PERMISSION, SCRIPTED
from end_to_end_support import PODS, Answer, Door, open_door
from vendors import VENDOR_SECONDS, find_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * VENDOR_SECONDS)]


def exec_in(door: Door, pod: str, message: str, *words: str) -> Answer:
    """One prompt to a pod by acpx, with every message of the protocol as a line."""
    acpx = find_program("acpx", "acpx")
    agent = shlex.join([*PODS, "acp", pod])
    return door.run(
        [acpx, "--agent", agent, *words, "--format", "json", "exec", message],
        environ={"HOME": door.directory},
        seconds=VENDOR_SECONDS,
    )


def test_acpx_gives_a_pod_a_turn_and_answers_its_question() -> None:
    with open_door() as door:
        door("spawn", "plain")
        done = exec_in(door, "plain", "echo from the pod", "--approve-all")
        assert done.code == 0, done
        *_, update, end = map(json.loads, done.out.splitlines())
        assert update["params"]["update"]["content"]["text"] == "from the pod\n"
        assert end["result"] == {"stopReason": "end_turn"}

        script = Path(door.work, "script.json")
        script.write_text(json.dumps({"": {}, "*": [["permission", PERMISSION]]}))
        agent = shlex.join([sys.executable, "-S", SCRIPTED, str(script), f"{door.work}/heard"])
        door("spawn", "asker", "--agent", f"acp: {agent}", "--write", door.work)
        for words, option in (("--approve-all", "yes"), ("--deny-all", "no")):
            done = exec_in(door, "asker", "ask", words)
            assert '"session/request_permission"' in done.out, done
            assert f'"optionId": "{option}"' in door("read", "asker").out
