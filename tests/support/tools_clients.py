"""The faces of the supervisor in memory: one on trio, one without an event loop; and a read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import trio

from pods_protocol.pod_messages import Request, Run, RunResult
from pods_protocol.supervisor_messages import ReadOutput, ReadOutputResult
from pods_protocol.values import ENDED_STATES
from pods_tools import BlockingToolset, ToolResult
from tools_support import FakeSupervisor

R = TypeVar("R")


class FakeClient:
    """The fake on trio; each request has a checkpoint before and after, as a real one has."""

    def __init__(self, supervisor: FakeSupervisor) -> None:
        self.supervisor = supervisor

    async def request(self, message: Request[R], /) -> R:
        await trio.lowlevel.checkpoint()
        news = self.supervisor.news()
        answer = self.supervisor.answer(message)
        seconds = seconds_to_wait(message)
        if seconds:
            with trio.move_on_after(seconds):
                while not has_something(answer):
                    await news.wait()
                    news = self.supervisor.news()
                    answer = self.supervisor.answer(message)
        await trio.lowlevel.checkpoint()
        return answer

    async def send(self, pod: str, message: Run, /) -> RunResult:
        await trio.lowlevel.checkpoint()
        answer = self.supervisor.send(pod, message)
        await trio.lowlevel.checkpoint()
        return answer


class BlockingFakeClient:
    """The fake without an event loop: what happens while a read waits is scripted."""

    def __init__(self, supervisor: FakeSupervisor) -> None:
        self.supervisor = supervisor
        self.while_waiting: list[Callable[[], None]] = []

    def request(self, message: Request[R], /) -> R:
        answer = self.supervisor.answer(message)
        if seconds_to_wait(message):
            while self.while_waiting and not has_something(answer):
                self.while_waiting.pop(0)()
                answer = self.supervisor.answer(message)
        return answer

    def send(self, pod: str, message: Run, /) -> RunResult:
        return self.supervisor.send(pod, message)


def seconds_to_wait(message: object) -> float:
    """How long a request may wait for news."""
    return message.wait_seconds if isinstance(message, ReadOutput) else 0.0


def has_something(answer: object) -> bool:
    """Whether a read that waits would return now."""
    assert isinstance(answer, ReadOutputResult)
    return bool(answer.events) or answer.state in ENDED_STATES


def read(tools: BlockingToolset, **arguments: Any) -> ToolResult:
    """What `ReadPodOutput` answers of the pod `api`, if nothing else is said without waiting."""
    result = tools.call("ReadPodOutput", {"pod": "api", "wait_seconds": 0, **arguments})
    assert not result.is_error, result.summary
    return result
