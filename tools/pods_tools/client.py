"""What the tools need of a client, and the steps a tool is made of.

Owns the two small protocols, the two kinds of call that a plan may yield, and the type of a plan. A
plan is a generator that never does I/O: it yields a call, gets the answer sent in (or the refusal
thrown in) and returns. So one plan serves an async and a blocking client. Knows no event loop and
never learns whether the client is a daemon's, an embedded supervisor's or a test's.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, TypeAlias, TypeVar

from attrs import frozen

from pods_protocol.pod_messages import Request, Run, RunResult

R = TypeVar("R")
T = TypeVar("T")


class PodsClient(Protocol):
    """A client on an event loop. Refusals are raised as `PodsError`."""

    async def request(self, message: Request[R], /) -> R:
        """Ask the supervisor."""
        ...

    async def send(self, pod: str, message: Run, /) -> RunResult:
        """Give a message to one of the caller's pods."""
        ...


class BlockingPodsClient(Protocol):
    """The same, blocking."""

    def request(self, message: Request[R], /) -> R:
        """Ask the supervisor."""
        ...

    def send(self, pod: str, message: Run, /) -> RunResult:
        """Give a message to one of the caller's pods."""
        ...


@frozen
class Ask:
    """Ask the supervisor this."""

    message: Request[Any]


@frozen
class Send:
    """Give this message to that pod."""

    pod: str
    message: Run


ClientCall: TypeAlias = Ask | Send
Plan: TypeAlias = Generator[ClientCall, Any, T]


def ask(message: Request[R]) -> Plan[R]:
    """One step: a request to the supervisor, whose answer comes back with its right type."""
    answer: R = yield Ask(message)
    return answer


def send(pod: str, message: Run) -> Plan[RunResult]:
    """The step that gives a pod a message."""
    answer: RunResult = yield Send(pod, message)
    return answer
