"""A parent agent in plain Python: it calls the five tools on trio, as a model would.

Two children count the lines of two packages of a small project, each with a write scope of its own;
a third asks for a scope that is held and is refused. The supervisor lives inside this program, so
that nothing is left behind. Run it: `python examples/python_parent.py`
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import trio

import pods
from pods_tools import Toolset

PACKAGES = ("parser", "printer")
TASK = "wc -l *.py > report.txt && cat report.txt"


def make_project(place: str) -> Path:
    """A project with a few lines to count; returns its directory."""
    root = Path(place).resolve()
    for number, package in enumerate(PACKAGES, start=1):
        directory = root / package
        directory.mkdir()
        for name in ("one", "two"):
            (directory / f"{name}.py").write_text(f"print({name!r})\n" * 10 * number)
    return root


async def read_to_the_end(tools: Toolset, pod: str) -> str:
    """What the pod says until its turn has ended; each read waits, so there is no sleep here."""
    text = ""
    while True:
        read = await tools.call("ReadPodOutput", {"pod": pod})
        if read.is_error:
            raise RuntimeError(read.summary)
        text += str(read.data["text"])
        if not read.data["turn_runs"] and not read.data["truncated"]:
            return text


async def work(tools: Toolset, root: Path) -> bool:
    """Spawn, follow, send, list, stop. Returns whether all went as it should."""
    for package in PACKAGES:
        place = str(root / package)
        spawned = await tools.call(
            "SpawnPod", {"name": package, "prompt": TASK, "write": [place], "cwd": place}
        )
        print(spawned.summary.splitlines()[0])

    refused = await tools.call("SpawnPod", {"name": "third", "write": [str(root / "parser")]})
    print(f"\nA scope that is held:\n{refused.summary}\n")

    reports: dict[str, str] = {}

    async def follow(package: str) -> None:
        reports[package] = await read_to_the_end(tools, package)

    async with trio.open_nursery() as nursery:
        for package in PACKAGES:
            nursery.start_soon(follow, package)
    for package in PACKAGES:
        print(f"{package} reports:\n{reports[package]}")

    await tools.call("SendToPod", {"pod": "parser", "message": "head -n 1 one.py"})
    print(f"parser was asked again and says: {await read_to_the_end(tools, 'parser')}")

    print((await tools.call("ListPods", {})).text)
    for package in PACKAGES:
        print((await tools.call("StopPod", {"pod": package})).summary)
    await tools.aclose()
    return refused.data["code"] == "scope_conflict" and all("total" in r for r in reports.values())


async def main() -> int:
    """Make a project, run, and say whether it worked."""
    with tempfile.TemporaryDirectory() as directory:
        root = make_project(directory)
        async with pods.open_supervisor() as client:
            tools = Toolset(client, time_limit=trio.move_on_after)
            return 0 if await work(tools, root) else 1


if __name__ == "__main__":
    sys.exit(trio.run(main))
