"""The parent of the demo: an agent like any user's, that works with the five tools alone.

Owns the order of the work. Knows of pods only what the tools tell it. Loaded by its name in the
coordinator's pod.
"""

from __future__ import annotations

import itertools
import shlex
from typing import Any, Final

import trio

from pods.agents.turn import Turn
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ScopeRule, StopReason
from pods_tools import ToolResult, Toolset

STEPS: Final = 7

READ_SECONDS: Final = 5.0
"""One long poll for a child's output."""

TURN_SECONDS: Final = 60.0
"""No turn of the demo takes this long; one that does fails the show instead of hanging it."""


class DemoFailed(Exception):
    """A step did not go as it must; the turn ends as an error."""


class Coordinator:
    """Shares a tree out among shell pods.

    Args:
        options: `packages` (directory names below the pod's cwd) and `python` (an interpreter).
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._packages: list[str] = list(options["packages"])
        self._python = str(options["python"])

    async def run_turn(self, turn: Turn) -> StopReason:
        """The whole show, as one turn."""
        show = Show(turn, await turn.toolset(), self._packages, self._python)
        await show.run()
        return "end_turn"


class Show:
    """One run."""

    def __init__(self, turn: Turn, tools: Toolset, packages: list[str], python: str) -> None:
        self._turn = turn
        self._tools = tools
        self._packages = packages
        self._root = turn.cwd
        self._python = shlex.quote(python)
        self._steps = itertools.count(1)

    async def run(self) -> None:
        """Every step in order."""
        first, second, *_ = self._packages
        await self._step("spawn a shell pod for each package: reads the tree, writes its own")
        await self._spawn_all()
        await self._step("each works in several turns: byte-compile, count, search, report")
        await self._work()
        await self._step(f"{first} asks for a pod of its own that writes to {second}: refused")
        await self._trespass(first, second)
        await self._step(f"{second} is interrupted in the middle of a turn and goes on")
        await self._interrupt(second)
        await self._step(f"{first} is stopped, and its scope given to a new pod")
        await self._hand_over(first)
        await self._step("the reports are read through the pods' output")
        await self._reports()
        await self._step("everything is stopped")
        await self._stop_all()

    async def _step(self, message: str) -> None:
        await self._turn.progress(message, step=next(self._steps), of=STEPS)

    async def _tool(self, tool: str, **arguments: Any) -> ToolResult:
        """Call a tool, and let whoever watches see it."""
        call_id = await self._turn.tool_call(tool, arguments)
        answer = await self._tools.call(tool, arguments)
        await self._turn.tool_result(call_id, answer.summary, is_error=answer.is_error)
        return answer

    async def _must(self, tool: str, **arguments: Any) -> ToolResult:
        answer = await self._tool(tool, **arguments)
        if answer.is_error:
            raise DemoFailed(answer.summary)
        return answer

    def _path(self, package: str) -> str:
        return f"{self._root}/{package}"

    async def _spawn_all(self) -> None:
        compile_all = f"{self._python} -m compileall -q . ; find . -name '*.pyc' | wc -l"
        first, *others = self._packages
        # The first one may call back in its own name: it is the one that will ask for too much.
        client = await self._turn.client()
        await client.request(
            SpawnPod(
                name=first,
                allow=(
                    ScopeRule(target=self._root, permission="read"),
                    ScopeRule(target=self._path(first), permission="write"),
                ),
                cwd=self._path(first),
                prompt=compile_all,
                call_back=True,
            )
        )
        async with trio.open_nursery() as nursery:
            for package in others:
                nursery.start_soon(self._spawn, package, package, compile_all)

    async def _spawn(self, name: str, package: str, prompt: str) -> None:
        await self._must(
            "SpawnPod",
            name=name,
            agent="shell",
            read=[self._root],
            write=[self._path(package)],
            cwd=self._path(package),
            prompt=prompt,
        )

    async def _work(self) -> None:
        async with trio.open_nursery() as nursery:
            for package in self._packages:
                nursery.start_soon(self._work_in, package)

    async def _work_in(self, package: str) -> None:
        await self._settled(package)
        lines = await self._said(package, "find . -name '*.py' -exec cat {} + | wc -l")
        raises = await self._said(package, "grep -rE --include='*.py' 'raise [A-Z]' . | wc -l")
        report = f"{package}: {lines.strip()} lines of Python, {raises.strip()} raise an error"
        await self._said(package, f"echo {shlex.quote(report)} > REPORT.md")
        await self._turn.tool_result(
            await self._turn.tool_call("report", {"pod": package}), report, is_error=False
        )

    async def _said(self, pod: str, command: str) -> str:
        """One turn of a child: its output, once it has ended well."""
        await self._send(pod, command)
        text, ending = await self._settled(pod)
        if ending != "end_turn":
            raise DemoFailed(f"{pod} ended a turn with {ending}: {text}")
        return text

    async def _send(self, pod: str, message: str, **more: Any) -> None:
        answer = await self._tools.call("SendToPod", {"pod": pod, "message": message, **more})
        if answer.is_error:
            raise DemoFailed(answer.summary)

    async def _settled(self, pod: str) -> tuple[str, str | None]:
        """Everything that a child says until its turn is over, and how that ended."""
        said: list[str] = []
        with trio.fail_after(TURN_SECONDS):
            while True:
                answer = await self._tools.call(
                    "ReadPodOutput", {"pod": pod, "wait_seconds": READ_SECONDS}
                )
                if answer.is_error:
                    raise DemoFailed(answer.summary)
                said.append(str(answer.data["text"]))
                if answer.data["state"] not in {"working", "starting", "waiting"}:
                    last = answer.data["last_turn"]
                    return "".join(said), None if last is None else last["stop_reason"]

    async def _trespass(self, pod: str, sibling: str) -> None:
        spawn = (
            f"{self._python} -P -m pods spawn intruder --write {shlex.quote(self._path(sibling))}"
        )
        await self._send(pod, spawn)
        text, ending = await self._settled(pod)
        if ending == "end_turn":
            raise DemoFailed(f"{pod} was given what {sibling} holds")
        await self._turn.tool_result(
            await self._turn.tool_call("pods spawn", {"pod": pod}), text, is_error=True
        )

    async def _interrupt(self, pod: str) -> None:
        await self._send(pod, "sleep 30")
        await self._tool("SendToPod", pod=pod, message="echo too early")
        await self._must(
            "SendToPod", pod=pod, message="echo 'interrupted, going on'", if_busy="interrupt"
        )
        text, _ = await self._settled(pod)
        if "going on" not in text:
            raise DemoFailed(f"{pod} did not go on after the interruption: {text}")

    async def _hand_over(self, pod: str) -> None:
        await self._must("StopPod", pod=pod)
        await self._spawn(f"{pod}-heir", pod, "test -s REPORT.md && echo taken over >> REPORT.md")
        await self._settled(f"{pod}-heir")

    def _names(self) -> list[str]:
        first, *others = self._packages
        return [f"{first}-heir", *others]

    async def _reports(self) -> None:
        for name in self._names():
            text = await self._said(name, "cat REPORT.md")
            await self._turn.text(f"  {' / '.join(text.split(chr(10))).strip(' /')}\n")

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for name in self._names():
                nursery.start_soon(self._stop, name)

    async def _stop(self, pod: str) -> None:
        await self._must("StopPod", pod=pod)
