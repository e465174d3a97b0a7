"""A parent agent without an event loop: the same five tools over the blocking client.

A child runs commands in a directory of its own; the parent hears how each turn ended and acts on
it. Run it: `python examples/blocking_parent.py`. It starts a supervisor with directories of its
own and ends it, so that your own pods are not touched.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pods
from pods_tools import BlockingToolset, ToolResult

STEPS = ("echo 'def double(x): return 2 * x' > lib.py", "python3 -m py_compile lib.py", "false")


def follow(tools: BlockingToolset, pod: str) -> ToolResult:
    """Read until the turn has ended; each read waits."""
    while True:
        read = tools.call("ReadPodOutput", {"pod": pod})
        if read.is_error or not read.data["turn_runs"]:
            return read


def work(tools: BlockingToolset, directory: str) -> list[str]:
    """Run the steps in one pod; returns their stop reasons."""
    spawned = tools.call("SpawnPod", {"name": "builder", "write": [directory], "cwd": directory})
    print(spawned.summary)
    outcomes: list[str] = []
    for step in STEPS:
        sent = tools.call("SendToPod", {"pod": "builder", "message": step})
        if sent.is_error:
            print(sent.summary)
            break
        ended = follow(tools, "builder")
        print(f"\n$ {step}\n{ended.text}")
        outcomes.append(ended.data["last_turn"]["stop_reason"])
    mistake = tools.call("SendToPod", {"to": "builder", "message": "true"})
    print(f"\nA wrong field: {mistake.summary}\n")
    print(tools.call("ListPods", {}).text)
    print(tools.call("StopPod", {"pod": "builder"}).summary)
    tools.close()
    return outcomes


def main() -> int:
    """Run, clean up, and say whether it went as it should."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        place = root / "work"
        place.mkdir()
        environ = {
            **os.environ,
            "PODS_RUNTIME_DIR": str(root / "run"),
            "PODS_STATE_DIR": str(root / "state"),
        }
        with pods.connect("default", environ=environ) as client:
            try:
                outcomes = work(BlockingToolset(client), str(place))
            finally:
                client.shutdown(stop_pods=True)
    return 0 if outcomes == ["end_turn", "end_turn", "error"] else 1


if __name__ == "__main__":
    sys.exit(main())
