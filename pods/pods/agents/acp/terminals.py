"""Commands that an ACP agent runs through its client: its terminals.

Owns them from `terminal/create` to released or the end of the turn, whichever comes first. Each is
a program of the turn as any other (`Turn.run_to_end`): in the pod's process tree, held to its
scope, without what the pod has lent. No pseudo-terminal: ACP asks for the output alone.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

import trio

from pods.agents.process import ProcessEnd
from pods.agents.turn import Turn
from pods_protocol.errors import PodsError

MAX_TERMINALS: Final = 32
"""Of one turn that were not released; each may be a program."""

MAX_OUTPUT_BYTES: Final = 1024 * 1024
"""Kept of one terminal's output, its end; an agent may ask for less."""

Json: TypeAlias = dict[str, Any]


class NoTerminal(Exception):
    """There is no such terminal, or there cannot be one; the words are for the agent."""


class _Tail:
    """The end of a program's output, both streams together, as an `Output`."""

    holds = False

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self.truncated = False

    def feed(self, stream: str, data: bytes) -> None:
        """Take bytes, of whichever stream."""
        self._data += data
        if len(self._data) > self._limit:
            self.truncated = True
            del self._data[: -self._limit or len(self._data)]

    def flush(self) -> None:
        """Nothing is held back."""

    def end(self) -> None:
        """Nothing is left to do."""

    @property
    def text(self) -> str:
        """What is kept, from a whole character on."""
        start = 0
        while self.truncated and start < len(self._data) and self._data[start] & 0xC0 == 0x80:
            start += 1
        return self._data[start:].decode("utf-8", "replace")


class _Terminal:
    def __init__(self, limit: int) -> None:
        self.output = _Tail(limit)
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.status: Json | None = None

    def end(self, end: ProcessEnd) -> None:
        """Note how it ended."""
        if end.status >= 0:
            self.status = {"exitCode": end.status, "signal": None}
            return
        try:
            name = signal.Signals(-end.status).name
        except ValueError:
            name = str(-end.status)
        self.status = {"exitCode": None, "signal": name}


class Terminals:
    """The terminals of one turn.

    Args:
        turn: whose.
        nursery: of the turn; what still runs ends with it.
    """

    def __init__(self, turn: Turn, nursery: trio.Nursery) -> None:
        self._turn = turn
        self._nursery = nursery
        self._terminals: dict[str, _Terminal] = {}
        self._last = 0

    def text_of(self, terminal_id: str) -> str:
        """What one has said; empty where there is none."""
        terminal = self._terminals.get(terminal_id)
        return "" if terminal is None else terminal.output.text

    def create(self, params: Mapping[str, Any]) -> Json:
        """Start a command.

        Raises:
            NoTerminal: it is none, or there are too many.
        """
        if len(self._terminals) >= MAX_TERMINALS:
            raise NoTerminal(
                f"cannot start a command: {MAX_TERMINALS} terminals are open; release some"
            )
        argv = _words(params)
        cwd = params.get("cwd")
        if cwd is not None and not self._may_work_in(cwd):
            raise NoTerminal(
                f"cannot start a command in {cwd!r}: it is outside of this pod's scope"
            )
        limit = params.get("outputByteLimit")
        bound = min(limit, MAX_OUTPUT_BYTES) if type(limit) is int and limit > 0 else None
        self._last += 1
        terminal_id = f"term-{self._turn.number}-{self._last}"
        terminal = _Terminal(bound or MAX_OUTPUT_BYTES)
        self._terminals[terminal_id] = terminal
        # Agents that give no arguments mean a command line.
        line = argv if len(argv) > 1 else argv[0]
        self._nursery.start_soon(self._run, terminal, line, cwd, _environment(params.get("env")))
        return {"terminalId": terminal_id}

    def output(self, params: Mapping[str, Any]) -> Json:
        """What one has said so far.

        Raises:
            NoTerminal: there is none.
        """
        terminal = self._find(params)
        return {
            "output": terminal.output.text,
            "truncated": terminal.output.truncated,
            "exitStatus": terminal.status,
        }

    async def wait(self, params: Mapping[str, Any]) -> Json:
        """Wait for one's end.

        Raises:
            NoTerminal: there is none.
        """
        terminal = self._find(params)
        await terminal.ended.wait()
        return terminal.status or {"exitCode": None, "signal": None}

    async def kill(self, params: Mapping[str, Any]) -> Json:
        """End one's command; what it said stays.

        Raises:
            NoTerminal: there is none.
        """
        terminal = self._find(params)
        terminal.scope.cancel()
        await terminal.ended.wait()
        return {}

    async def release(self, params: Mapping[str, Any]) -> Json:
        """End one's command and forget it.

        Raises:
            NoTerminal: there is none.
        """
        await self.kill(params)
        self._terminals.pop(str(params.get("terminalId")), None)
        return {}

    # --- parts ---

    def _may_work_in(self, cwd: object) -> bool:
        return isinstance(cwd, str) and (cwd == self._turn.cwd or self._turn.may_read(cwd))

    def _find(self, params: Mapping[str, Any]) -> _Terminal:
        terminal = self._terminals.get(str(params.get("terminalId")))
        if terminal is None:
            raise NoTerminal(f"there is no terminal {params.get('terminalId')!r} in this turn")
        return terminal

    async def _run(
        self, terminal: _Terminal, line: str | list[str], cwd: str | None, env: dict[str, str]
    ) -> None:
        try:
            with terminal.scope:
                terminal.end(
                    await self._turn.run_to_end(line, cwd=cwd, env=env, output=terminal.output)
                )
        except PodsError as error:
            terminal.output.feed("stderr", f"{error.message}\n".encode("utf-8", "replace"))
            terminal.status = {"exitCode": 127, "signal": None}
        finally:
            if terminal.status is None:
                terminal.status = {"exitCode": None, "signal": "SIGTERM"}
            terminal.ended.set()


def _words(params: Mapping[str, Any]) -> list[str]:
    """The command and its arguments.

    Raises:
        NoTerminal: they are no words.
    """
    arguments: object = params.get("args")
    given: list[object] = [params.get("command")]
    if isinstance(arguments, list):
        given += cast("list[object]", arguments)
    words = [word for word in given if isinstance(word, str) and "\0" not in word]
    if len(words) != len(given) or not words[0]:
        raise NoTerminal("cannot start a command: `command` and `args` must be words")
    return words


def _environment(given: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in cast("list[object]", given) if isinstance(given, list) else []:
        if isinstance(one, dict):
            variable = cast("Json", one)
            name, value = variable.get("name"), variable.get("value")
            if isinstance(name, str) and isinstance(value, str) and name and "=" not in name:
                found[name] = value
    return found
