"""A vendor's agent in a real pod, whose model speaks by a script; and what is left of it.

Used by `tests/interop`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from end_to_end_support import Door
from model_endpoint import ModelEndpoint
from vendor_homes import Home
from vendors import VENDOR_SECONDS, VENDORS

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


def _files(home: Path) -> list[str]:
    return sorted(str(one) for one in home.rglob("*") if one.is_file())
