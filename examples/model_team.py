"""A team of models: a lead gives two packages of a small project to two pods of its own.

Each worker may write its own package and nothing else; the kernel sees to that, whatever the models
think of it. The supervisor lives inside this program, so that nothing is left behind. Run it:

    pip install 'agent-pods[model]'
    python examples/model_team.py --model claude-sonnet-5 --key-file ~/.anthropic-key
    python examples/model_team.py --model qwen3 --base-url http://127.0.0.1:11434/v1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio

import pods

PACKAGES = ("parser", "printer")
TASK = """\
This directory has two packages, parser and printer. For each of them spawn a pod with
"agent": "model", named as the package, with the package's directory as its cwd and the one thing it
may write. Have it read the code there and write NOTES.md, one line on what the code does. Wait for
both with ReadPodOutput, look at what they wrote, stop them, and answer with both lines.
"""


def make_project(place: str) -> Path:
    """A project with something to describe; returns its directory."""
    root = Path(place).resolve()
    for package in PACKAGES:
        (root / package).mkdir()
        (root / package / "main.py").write_text(f"print('I am the {package}')\n")
    return root


def read_words() -> argparse.Namespace:
    """What was said on the command line."""
    parser = argparse.ArgumentParser(description="A team of models.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--api", choices=("anthropic", "openai"))
    parser.add_argument("--base-url")
    parser.add_argument("--key-file", type=Path)
    return parser.parse_args()


async def work(supervisor: pods.aio.PodsClient, root: Path, words: argparse.Namespace) -> bool:
    """Give the lead its task and tell what came of it. Returns whether all went as it should."""
    options: dict[str, Any] = {"model": words.model}
    if words.api is not None:
        options["api"] = words.api
    if words.base_url is not None:
        options["base_url"] = words.base_url
    # A secret: it goes to the agent's own code, and is in no environment and no journal.
    key = {} if words.key_file is None else {"PODS_SECRET_MODEL_KEY": words.key_file.read_text()}
    lead = await supervisor.spawn(
        "lead",
        agent="model",
        options=options,
        env=key,
        write=[root],
        cwd=root,
        call_back=True,
    )
    result = await lead.turn(TASK, timeout_seconds=600)
    print(f"the lead says ({result.stop_reason}):\n{result.text}\n")
    for event in result.events:
        if event.type == "tool_call":
            print(f"  it called {event.data['name']}")
    notes = [root / package / "NOTES.md" for package in PACKAGES]
    for note in notes:
        print(f"{note.parent.name}: {note.read_text().strip() if note.exists() else 'no notes'}")
    return result.ok and all(note.exists() for note in notes)


async def main(words: argparse.Namespace) -> int:
    """Make a project, run, and say whether it worked."""
    with tempfile.TemporaryDirectory() as directory:
        root = make_project(directory)
        async with pods.open_supervisor() as supervisor:
            return 0 if await work(supervisor, root, words) else 1


if __name__ == "__main__":
    try:
        sys.exit(trio.run(main, read_words()))
    except (pods.PodsError, OSError) as error:  # no key there, no `[model]`, a model unknown
        sys.exit(f"model_team.py: {error}")
