"""The tools that run programs: a command line, and the search through files.

Owns what a program may say to the model: the beginning and the end of its output, and how it ended.
The program runs in the pod, so the kernel holds it to the pod's scope, and what is lent is kept
from it.
"""

from __future__ import annotations

from typing import Final

import trio

from pods.agents.model.files import search_argv
from pods.agents.model.tool import MAX_RESULT_BYTES, Arguments, Outcome, OwnTool, Param
from pods.agents.turn import Turn

DEFAULT_SECONDS: Final = 120
MAX_SECONDS: Final = 3600
"""A command that takes longer is for a pod of its own, or for the background."""

_HEAD_BYTES: Final = MAX_RESULT_BYTES // 4
_TAIL_BYTES: Final = MAX_RESULT_BYTES - _HEAD_BYTES
"""Of a long output the beginning says what ran, and the end what came of it."""


class Collector:
    """Output, of which the beginning and the end are kept; both streams in the order they came."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def feed(self, stream: str, data: bytes) -> None:
        """Take bytes of either stream."""
        self._size += len(data)
        room = _HEAD_BYTES - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        if len(self._tail) > 2 * _TAIL_BYTES:
            del self._tail[:-_TAIL_BYTES]

    def flush(self) -> None:
        """Nothing waits."""

    def end(self) -> None:
        """Nothing waits."""

    @property
    def holds(self) -> bool:
        """Nothing waits."""
        return False

    def text(self) -> str:
        """What was kept."""
        tail = bytes(self._tail[-_TAIL_BYTES:])
        missing = self._size - len(self._head) - len(tail)
        if not missing:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        head = bytes(self._head).decode("utf-8", "replace")
        return f"{head}\n[{missing} bytes were left out here]\n{tail.decode('utf-8', 'replace')}"


def command_tools() -> list[OwnTool]:
    """The tools that run programs."""
    return [
        OwnTool(
            name="run_command",
            description="Run a command line in a shell, in your cwd and within your scope, and get "
            "its output and exit status. It has no terminal and nobody to answer it.",
            params=(
                Param(name="command", kind="string", required=True, about="For bash."),
                Param(
                    name="timeout_seconds",
                    kind="number",
                    least=1,
                    about=f"It is ended after these; {DEFAULT_SECONDS} where left out, "
                    f"{MAX_SECONDS} at most.",
                ),
            ),
            run=_run,
        ),
        OwnTool(
            name="search_files",
            description="Find lines in files by an extended regular expression, as grep -E. Gives "
            "path, line number and line.",
            params=(
                Param(name="pattern", kind="string", required=True, about="What to look for."),
                Param(name="path", kind="string", about="File or directory; left out: your cwd."),
                Param(name="files", kind="string", about="Only names like this: `*.py`."),
                Param(name="ignore_case", kind="boolean", about="Letters in either case."),
            ),
            run=_search,
        ),
    ]


async def _run(turn: Turn, given: Arguments) -> Outcome:
    seconds = min(given.get("timeout_seconds", DEFAULT_SECONDS), MAX_SECONDS)
    output = Collector()
    with trio.move_on_after(seconds) as deadline:
        end = await turn.run_to_end(given["command"], output=output)
        ended = end.describe()
        said = output.text()
        status = ended or "exit status 0"
        return Outcome(f"{said.rstrip()}\n[{status}]".lstrip("\n"), status, end.status != 0)
    assert deadline.cancelled_caught, "nothing else leaves the block without a return"
    return Outcome(
        f"{output.text().rstrip()}\n[ended after {seconds:g} s; give a longer timeout_seconds, or "
        "run it in the background and look later]",
        f"ended after {seconds:g} s",
        True,
    )


async def _search(turn: Turn, given: Arguments) -> Outcome:
    output = Collector()
    with trio.move_on_after(DEFAULT_SECONDS):
        end = await turn.run_to_end(search_argv(turn, given), output=output)
        said = output.text().rstrip()
        if end.status == 1 and not said:
            return Outcome("[nothing found]", "nothing found")
        # 2 is also where one file of many could not be read.
        failed = end.status not in (0, 1, 2) or (end.status == 2 and ":" not in said)
        return Outcome(said, f"{said.count(chr(10)) + 1} lines", failed)
    return Outcome(
        f"{output.text().rstrip()}\n[ended after {DEFAULT_SECONDS} s; search a smaller directory]",
        f"ended after {DEFAULT_SECONDS} s",
        True,
    )
