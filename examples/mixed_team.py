"""A mixed team: a vendor's coding agent, an agent of your own and a shell, under one supervisor.

The writer writes a guide, and may write its directory alone; the counter is `own_agent.py`, which
lies beside this file, and may only read; the clerk keeps the count, and is refused the guide. The
supervisor lives inside this program, so that nothing is left behind. `pods agents` says which
vendors' agents are installed and logged in; `--env` hands them a variable of yours:

    python examples/mixed_team.py --agent claude
    python examples/mixed_team.py --agent gemini --env GEMINI_API_KEY
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import trio

import pods

TASK = "Write GUIDE.md, one line for new users of the program in ../main.py. Write nothing else."


def make_project(place: str) -> Path:
    """A program to describe, and our own agent where the pod works; returns its directory."""
    root = Path(place).resolve()
    for directory in ("docs", "counts"):
        (root / directory).mkdir()
    (root / "main.py").write_text("print('hello')\n")
    shutil.copy(Path(__file__).with_name("own_agent.py"), root)
    return root


def read_words() -> argparse.Namespace:
    """What was said on the command line."""
    parser = argparse.ArgumentParser(description="A mixed team.")
    parser.add_argument("--agent", default="claude", help="of `pods agents`")
    parser.add_argument("--env", action="append", default=[], metavar="NAME", help="for the agent")
    words = parser.parse_args()
    for name in words.env:
        if name not in os.environ:
            parser.exit(2, f"mixed_team.py: cannot hand on {name}: it is not set; export it\n")
    return words


async def work(supervisor: pods.aio.PodsClient, root: Path, words: argparse.Namespace) -> bool:
    """Have each do its part after the other. Returns whether all went as it should."""
    docs, counts = root / "docs", root / "counts"
    writer = await supervisor.spawn(
        "writer",
        agent=words.agent,
        options={"permissions": "allow-in-scope"},  # or "ask", and `pods answer writer allow`
        env={name: os.environ[name] for name in words.env},
        write=[docs],
        read=[root],
        cwd=docs,
    )
    counter = await supervisor.spawn(
        "counter", agent="own_agent:WordCounter", read=[root], cwd=root
    )
    clerk = await supervisor.spawn("clerk", write=[counts], read=[docs], cwd=counts)

    written = await writer.turn(TASK, timeout_seconds=600)
    print(f"the writer says ({written.stop_reason}): {written.text}")
    counted = await counter.turn("docs/GUIDE.md")
    print(f"the counter says: {counted.text}", end="")
    kept = await clerk.turn("wc -w < ../docs/GUIDE.md > words.txt && cat words.txt")
    print(f"the clerk keeps: {kept.text}", end="")
    refused = await clerk.turn("echo mine > ../docs/GUIDE.md")
    print(f"the clerk is held to its scope: {refused.text}", end="")
    return all(turn.ok for turn in (written, counted, kept)) and not refused.ok


async def main(words: argparse.Namespace) -> int:
    """Make a project, run, and say whether it worked."""
    with tempfile.TemporaryDirectory() as directory:
        root = make_project(directory)
        async with pods.open_supervisor() as supervisor:
            return 0 if await work(supervisor, root, words) else 1


if __name__ == "__main__":
    try:
        sys.exit(trio.run(main, read_words()))
    except pods.PodsError as error:  # not installed, not logged in: it says what to do
        sys.exit(f"mixed_team.py: {error}")
