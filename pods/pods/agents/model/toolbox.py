"""All the tools of one model agent: which there are, and the running of what a model asks for.

Owns the order in which calls run and what is journaled of each. An exception of a tool that is no
ToolError ends the turn: it is a fault of ours, and no model can mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from pods.agents.model.children import Children
from pods.agents.model.commands import command_tools
from pods.agents.model.files import Files
from pods.agents.model.loop import batches
from pods.agents.model.talk import Call, Result, Results, ToolSpec
from pods.agents.model.tool import MAX_RESULT_BYTES, Outcome, ToolError, checked
from pods.agents.text import shorten
from pods.agents.turn import Turn
from pods_protocol.errors import StartFailed

MAX_NOTE_BYTES: Final = 1024
"""What a tool adds to its result, to say how to go on."""

MAX_CALLS: Final = 128
"""Of one answer that are run: each is two lines of the journal, and may be a program."""

POD_TOOLS: Final = ("SpawnPod", "SendToPod", "ReadPodOutput", "StopPod", "ListPods")


class Toolbox:
    """The tools.

    Args:
        children: the tools for pods; None where the pod may have none.
    """

    def __init__(self, children: Children | None) -> None:
        own = (*Files().tools(), *command_tools())
        self._own = {tool.name: tool for tool in own}
        self._children = children

    def specs(self) -> list[ToolSpec]:
        """The tools as the model is offered them."""
        pods = [] if self._children is None else self._children.specs()
        return [*(tool.spec() for tool in self._own.values()), *pods]

    async def run(self, turn: Turn, calls: Sequence[Call]) -> Results:
        """Run what the model asked for, side by side where that is safe.

        Each call and its result are journaled as they begin and end; the results come back in the
        order of the calls.
        """
        results: dict[int, Result] = {}

        async def run_one(at: int, call_id: str) -> None:
            call = calls[at]
            outcome = await self._perform(turn, call)
            text = shorten(outcome.text, MAX_RESULT_BYTES + MAX_NOTE_BYTES)
            await turn.tool_result(
                call_id, outcome.summary, content=text, is_error=outcome.is_error
            )
            results[at] = Result(call.call_id, text, outcome.is_error)

        for at, call in enumerate(calls[MAX_CALLS:], MAX_CALLS):
            words = f"Not run: {MAX_CALLS} calls of one answer are the most. Call it again."
            results[at] = Result(call.call_id, words, is_error=True)
        if len(calls) > MAX_CALLS:
            turn.recorder.warning(
                "calls_left_out",
                f"the model asked for {len(calls)} tools at once; the first {MAX_CALLS} were run, "
                "and it was told so",
            )
        for group in batches([call.name for call in calls[:MAX_CALLS]], self._alone):
            begun = [(at, await self._begin(turn, calls[at])) for at in group]
            async with trio.open_nursery() as nursery:
                for at, call_id in begun:
                    nursery.start_soon(run_one, at, call_id)
        return Results(tuple(results[at] for at in range(len(calls))))

    @staticmethod
    async def _begin(turn: Turn, call: Call) -> str:
        shown = {"raw": call.raw} if call.arguments is None else call.arguments
        return await turn.tool_call(call.name, shown, call_id=call.call_id)

    def _alone(self, name: str) -> bool:
        return name in self._own and self._own[name].alone

    async def _perform(self, turn: Turn, call: Call) -> Outcome:
        tool = self._own.get(call.name)
        if tool is None:
            if self._children is not None and call.name in POD_TOOLS:
                return await self._children.call(call)
            return _error(self._unknown(call.name))
        try:
            return await tool.run(turn, checked(tool, call))
        except ToolError as error:
            return _error(str(error))
        except StartFailed as error:
            return _error(error.message)

    def _unknown(self, name: str) -> str:
        if name in POD_TOOLS:
            return (
                f"cannot call {name}: this pod may have no pods of its own (it was spawned without "
                "--call-back); do the work yourself"
            )
        names = ", ".join(spec.name for spec in self.specs())
        return f"cannot call {name}: there is no such tool; the tools are {names}"


def _error(words: str) -> Outcome:
    return Outcome(words, words, is_error=True)
