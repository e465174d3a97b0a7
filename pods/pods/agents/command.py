"""The `command` agent: a program per turn, the message on its standard input.

Owns the options and the way from a program's end to a stop reason. Options:

- `argv`: the program and its arguments, a list of strings. Required. A program that is not there,
  or that the pod may not run, is refused as the pod starts.
- `jsonl`: its standard output is JSON lines (see `jsonl`). Default false: it is text.

Notes come before the message on standard input, a line each, then an empty line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pods.agents.base import TurnEnd
from pods.agents.jsonl import JsonLines
from pods.agents.runnable import why_not
from pods.agents.turn import Turn
from pods_protocol.errors import AgentError


class CommandAgent:
    """Runs a program for each message.

    Args:
        options: see the module.

    Raises:
        AgentError: the options are not as they must be, or the program cannot be started.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - {"argv", "jsonl"})
        if unknown:
            raise _bad(f"there is no option `{unknown[0]}`; the options are argv, jsonl")
        self._argv = _argv(options.get("argv"))
        jsonl: object = options.get("jsonl", False)
        if not isinstance(jsonl, bool):
            raise _bad("`jsonl` is not true or false")
        self._jsonl = jsonl
        # Here, in the pod's process, and before the spawn is answered: else the first turn says it.
        obstacle = why_not(self._argv[0])
        if obstacle is not None:
            raise AgentError(
                f"cannot run {self._argv[0]!r}: {obstacle.detail}; {obstacle.advice}",
                agent="command",
                detail=obstacle.detail,
            )

    async def run_turn(self, turn: Turn) -> TurnEnd:
        """Run the program; exit status 0 is success unless the program says otherwise."""
        prompt = turn.input
        if turn.notes:
            prompt = "".join(f"{note}\n" for note in turn.notes) + "\n" + prompt
        if not self._jsonl:
            end = await turn.run_to_end(self._argv, stdin=prompt)
            return TurnEnd("end_turn" if end.status == 0 else "error", end.describe(), end.status)
        lines = JsonLines(turn.recorder, turn.store_artifact)
        end = await turn.run_to_end(self._argv, stdin=prompt, output=lines)
        said = lines.stop_reason or "end_turn"
        if end.status != 0 and said == "end_turn":
            said = "error"
        return TurnEnd(said, lines.message or end.describe(), end.status)


def _argv(value: object) -> list[str]:
    if not isinstance(value, list | tuple):
        raise _bad("`argv` is not a list of strings")
    words = list(cast("list[object]", value))
    if not words or not all(isinstance(word, str) for word in words):
        raise _bad("`argv` is not a list of at least one string")
    return cast("list[str]", words)


def _bad(detail: str) -> AgentError:
    return AgentError(
        f'cannot load agent \'command\': {detail}; give for example {{"argv": ["claude", "-p"]}}',
        agent="command",
        detail=detail,
    )
