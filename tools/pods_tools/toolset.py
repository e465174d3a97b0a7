"""The tools for a parent in Python: names and arguments in, results out.

Owns the two drivers, async and blocking, of the same plans, and the promise that a call never
raises for what a model did or a supervisor refused. Cancellation passes through. Knows no event
loop: an async parent that wants a deadline around every call lends its own (`time_limit`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias, TypeVar, cast

from pods_protocol.errors import PodsError, TimedOut
from pods_tools.advice import error_result
from pods_tools.arguments import read_arguments, unknown_tool
from pods_tools.bookmarks import Bookmarks
from pods_tools.catalogue import TOOLS
from pods_tools.client import Ask, BlockingPodsClient, ClientCall, Plan, PodsClient
from pods_tools.definitions import Format, export
from pods_tools.result import ToolResult

MAX_CALL_SECONDS: Final = 48.0
"""A call with a `time_limit` ends within this: below the 50 s promised, above the longest wait."""

T = TypeVar("T")
TimeLimit: TypeAlias = "Callable[[float], AbstractContextManager[object, bool]]"
"""Seconds -> a context manager that leaves its block when they are over, as `trio.move_on_after`
and `anyio.move_on_after` do."""


class _Calls:
    """What both toolsets share: from a call to a plan, from an outcome to a result."""

    def __init__(self, reader: str | None) -> None:
        self.bookmarks = Bookmarks(reader)

    @staticmethod
    def definitions(format: Format) -> list[dict[str, Any]]:  # noqa: A002  # as `export` calls it
        """The tools as that world describes them."""
        return export(format)

    def plan(self, name: str, arguments: object) -> Plan[ToolResult]:
        """The steps of a call; every refusal ends up in the result."""
        tool = TOOLS.get(name)
        if tool is None:
            return unknown_tool(name, TOOLS)
        try:
            given = read_arguments(tool, arguments)
            # First, so that the supervisor's cursors are where this toolset's are.
            yield from self.bookmarks.settle()
            return (yield from tool.plan(given, self.bookmarks))
        except PodsError as error:
            return error_result(name, _filled(arguments), error)

    @staticmethod
    def timed_out(name: str, arguments: object) -> ToolResult:
        """The result of a call that its deadline ended."""
        error = TimedOut(
            f"cannot finish {name}: there was no answer within {MAX_CALL_SECONDS:g} s",
            timeout_seconds=MAX_CALL_SECONDS,
        )
        return error_result(name, _filled(arguments), error)


class Toolset(_Calls):
    """The tools over an async client.

    Args:
        client: of the parent's authority. It stays the caller's to close.
        reader: name of this parent's cursor, where several parents share one authority; None is
            the authority's own.
        time_limit: what bounds each call to `MAX_CALL_SECONDS`; None leaves it to the client's own
            patience.
    """

    def __init__(
        self,
        client: PodsClient,
        *,
        reader: str | None = None,
        time_limit: TimeLimit | None = None,
    ) -> None:
        super().__init__(reader)
        self._client = client
        self._time_limit = time_limit

    async def call(self, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """Call a tool; never raises for what was asked or refused.

        Args:
            name: of the tool.
            arguments: an object, or its JSON text.
        """
        if self._time_limit is None:
            return await self._drive(self.plan(name, arguments))
        with self._time_limit(MAX_CALL_SECONDS):
            return await self._drive(self.plan(name, arguments))
        return self.timed_out(name, arguments)

    async def flush(self) -> None:
        """Tell the supervisor now what was read, rather than at the next call.

        Failures are left to the next call; a toolset that is never asked again shows that text
        once more to its successor.
        """
        await self._drive(self.bookmarks.settle())

    async def aclose(self) -> None:
        """The last `flush`; the toolset may still be used."""
        await self.flush()

    async def _drive(self, plan: Plan[T]) -> T:
        try:
            call = next(plan)
            while True:
                try:
                    answer = await self._perform(call)
                except PodsError as error:
                    call = plan.throw(error)
                else:
                    call = plan.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            plan.close()

    async def _perform(self, call: ClientCall) -> Any:
        if isinstance(call, Ask):
            return await self._client.request(call.message)
        return await self._client.send(call.pod, call.message)


class BlockingToolset(_Calls):
    """The tools over a blocking client. Calls wait as long as their own bounds and the client's.

    Args:
        client: of the parent's authority. It stays the caller's to close.
        reader: name of this parent's cursor, where several parents share one authority.
    """

    def __init__(self, client: BlockingPodsClient, *, reader: str | None = None) -> None:
        super().__init__(reader)
        self._client = client

    def call(self, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """Call a tool; never raises for what was asked or refused.

        Args:
            name: of the tool.
            arguments: an object, or its JSON text.
        """
        return self._drive(self.plan(name, arguments))

    def flush(self) -> None:
        """Tell the supervisor now what was read, rather than at the next call."""
        self._drive(self.bookmarks.settle())

    def close(self) -> None:
        """The last `flush`; the toolset may still be used."""
        self.flush()

    def _drive(self, plan: Plan[T]) -> T:
        try:
            call = next(plan)
            while True:
                try:
                    answer = self._perform(call)
                except PodsError as error:
                    call = plan.throw(error)
                else:
                    call = plan.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            plan.close()

    def _perform(self, call: ClientCall) -> Any:
        if isinstance(call, Ask):
            return self._client.request(call.message)
        return self._client.send(call.pod, call.message)


def _filled(arguments: object) -> Mapping[str, Any]:
    if isinstance(arguments, Mapping):
        return cast("Mapping[str, Any]", arguments)
    return {}
