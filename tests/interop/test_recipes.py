"""The recipes of `examples/` that want a vendor's agent, each over a scripted model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import Door, open_door
from model_endpoint import ModelEndpoint
from vendor_homes import Home
from vendors import VENDOR_SECONDS, VENDORS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * VENDOR_SECONDS)]

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGES = ("parser", "printer")
OURS = ("HOME", "TMPDIR", "PATH")
GUIDE = "Run main.py and be greeted.\n"


def environ_of(name: str, program: str, home: Path, url: str, door: Door) -> dict[str, str]:
    """What the recipe's vendor is told by the environment; its projects lie in a place of ours."""
    scratch = Path(door.directory, "t")  # short, because sockets are below it
    scratch.mkdir()
    return {
        **VENDORS[name].prepare(Home(path=home, url=url), None).environ,
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "PATH": f"{os.path.dirname(program)}:{door.environ['PATH']}",
    }


def parents_steps(scratch: Path) -> list[dict[str, Any]]:
    """What a model makes of the task of a parent's recipe, in the project that is there by then."""
    (project,) = (found.parent for found in scratch.glob("*/parser"))

    def each(tool: str) -> list[dict[str, Any]]:
        return [{"tool": tool, "arguments": {"pod": one}} for one in PACKAGES]

    spawns = [
        {
            "tool": "SpawnPod",
            "arguments": {
                "name": one,
                "agent": "shell",
                "write": [str(project / one)],
                "cwd": str(project / one),
                "prompt": "wc -l *.py > report.txt; cat report.txt",
            },
        }
        for one in PACKAGES
    ]
    steps = [*spawns, *each("ReadPodOutput"), *each("StopPod"), {"text": "Both were counted."}]
    return [{"match": "This directory has two packages", "steps": steps}]


@pytest.mark.parametrize(
    ("name", "recipe"), [("claude", "claude_parent.sh"), ("opencode", "opencode_parent.sh")]
)
def test_the_recipe_of_a_vendors_parent_runs_as_it_is(
    name: str, recipe: str, tmp_path: Path
) -> None:
    program = VENDORS[name].find()
    with open_door() as door:
        scratch = Path(door.directory, "t")
        with ModelEndpoint(lambda: parents_steps(scratch)) as endpoint:
            done = door.run(
                ["bash", str(EXAMPLES / recipe)],
                environ=environ_of(name, program, tmp_path, endpoint.url, door),
                seconds=VENDOR_SECONDS,
            )
            assert (endpoint.problems, endpoint.left) == ([], 0), done
            assert endpoint.asked[-1].everything.count("10 main.py") >= 2
        assert done.code == 0, done
        assert "Both were counted." in done.out
        assert done.out.count("10 main.py") >= 2, "read after their end"
        assert not list(scratch.glob("*/parser")), "the project has gone"
        assert door.ask("ls", "--all")["pods"] == []


def test_the_mixed_team_writes_counts_and_keeps_to_its_scopes(tmp_path: Path) -> None:
    program = VENDORS["claude"].find_speaker()
    with open_door() as door:
        scratch = Path(door.directory, "t")

        def steps() -> list[dict[str, Any]]:
            (docs,) = scratch.glob("*/docs")
            arguments = {"file_path": str(docs / "GUIDE.md"), "content": GUIDE}
            return [{"tool": "Write", "arguments": arguments}, {"text": "It is written."}]

        with ModelEndpoint(lambda: [{"match": "Write GUIDE.md", "steps": steps()}]) as endpoint:
            environ = environ_of("claude", program, tmp_path, endpoint.url, door)
            handed = [f"--env={name}" for name in environ if name not in OURS]
            done = door.run(
                [sys.executable, str(EXAMPLES / "mixed_team.py"), "--agent", "claude", *handed],
                environ=environ,
                seconds=VENDOR_SECONDS,
            )
            assert (endpoint.problems, endpoint.left) == ([], 0), done
        assert done.code == 0, done
        assert "the writer says (end_turn): It is written." in done.out
        assert "docs/GUIDE.md: 5 words" in done.out
        assert "the clerk keeps: 5" in done.out
        assert "Permission denied" in done.out
        assert list(scratch.glob("*/docs")) == []
