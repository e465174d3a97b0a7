"""The example with a team of models, over a scripted endpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_endpoint import ModelEndpoint

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "model_team.py"
SECONDS = 100.0
PACKAGES = ("parser", "printer")


def script(root: Path) -> list[dict[str, Any]]:
    """The lead and its workers; the project lies below `root` in a directory of the example's."""
    (place,) = (found.parent for found in root.glob("*/parser"))

    def every(name: str, **arguments: Any) -> dict[str, Any]:
        return {
            "tools": [{"name": name, "arguments": {"pod": one, **arguments}} for one in PACKAGES]
        }

    spawns = [
        {
            "name": "SpawnPod",
            "arguments": {
                "name": one, "agent": "model", "prompt": f"describe the {one}",
                "cwd": str(place / one), "write": [str(place / one)],
            },
        }
        for one in PACKAGES
    ]  # fmt: skip
    return [
        {
            "match": "This directory has two packages",
            "steps": [
                {"tools": spawns},
                every("ReadPodOutput"),
                {"tool": "run_command", "arguments": {"command": "cat */NOTES.md"}},
                every("StopPod"),
                {"text": "Both are described."},
            ],
        },
        *(
            {
                "match": f"describe the {one}",
                "steps": [
                    {"tool": "read_file", "arguments": {"path": "main.py"}},
                    {
                        "tool": "write_file",
                        "arguments": {"path": "NOTES.md", "content": f"It is the {one}.\n"},
                    },
                    {"text": "written"},
                ],
            }
            for one in PACKAGES
        ),
    ]


def test_the_team_of_models_does_its_work_and_leaves_nothing_behind(
    pods_environ: dict[str, str], short_dir: str, tmp_path: Path
) -> None:
    scratch = Path(short_dir) / "t"  # short, because sockets are below it
    scratch.mkdir()
    key = tmp_path / "key"
    key.write_text("sk-team")
    with ModelEndpoint(lambda: script(scratch)) as endpoint:
        done = subprocess.run(
            [
                sys.executable, str(EXAMPLE), "--model", "claude-test",
                "--base-url", endpoint.url, "--key-file", str(key),
            ],
            env={**pods_environ, "TMPDIR": str(scratch)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr, endpoint.problems)
        assert endpoint.problems == []
        assert endpoint.left == 0
    assert "Both are described." in done.stdout
    assert "parser: It is the parser." in done.stdout
    assert done.stdout.count("it called SpawnPod") == 2
    assert done.stderr == ""
    assert list(scratch.iterdir()) == []
