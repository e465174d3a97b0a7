"""What a turn needs of its pod: the wall between an agent's side of a turn and the pod's.

Owns the two protocols. `pods.pod.host` is the one that pods have; `turn` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import trio

from pods_protocol.pod_messages import HistoryEntry
from pods_protocol.values import Doors, ScopeGrant

if TYPE_CHECKING:
    from pods.agents.briefing import Place
    from pods.client.aio import PodsClient
    from pods.scope.lending import Lending
    from pods_tools import Toolset


class Beside(Protocol):
    """A task of an agent that outlives its turn; it says when it has begun."""

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run until done or cancelled."""
        ...


class Host(Protocol):
    """What a turn needs of its pod."""

    @property
    def name(self) -> str:
        """The pod's name."""
        ...

    @property
    def cwd(self) -> str:
        """Its working directory."""
        ...

    @property
    def grant(self) -> ScopeGrant:
        """What it may touch."""
        ...

    @property
    def doors(self) -> Doors:
        """What it may use besides files."""
        ...

    def lending(self) -> Lending | None:
        """What it has lent of that at the moment; None where that is nothing."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """What it was spawned with for its agent."""
        ...

    def place(self) -> Place:
        """Where the agent is, for what it is told of that."""
        ...

    @property
    def artifacts_directory(self) -> str:
        """Where results are kept that do not fit an event; made for the first of them."""
        ...

    @property
    def private_directory(self) -> str:
        """A directory of the agent's own, which may have to be made."""
        ...

    def emit(self, turn: int, kind: str, data: dict[str, Any]) -> None:
        """Journal an event of the turn; InvalidRequest once the turn has ended."""
        ...

    async def checkpoint(self, turn: int) -> None:
        """Let others run; while the turn is held, wait until it is let go on."""
        ...

    async def ask(
        self,
        turn: int,
        prompt: str,
        options: tuple[str, ...],
        default: str | None,
        timeout_seconds: float | None,
    ) -> str:
        """Put a question and wait for its answer."""
        ...

    def history(self, since: int, limit: int) -> Sequence[HistoryEntry]:
        """The conversation so far."""
        ...

    def environment(self) -> dict[str, str]:
        """What the agent's programs get as their environment."""
        ...

    async def beside(self, run: Beside) -> None:
        """Start a task that outlives the turn."""
        ...

    async def client(self) -> PodsClient:
        """A client of the supervisor with the pod's own authority."""
        ...

    def toolset(self) -> Toolset:
        """The tools for parents, bound to the pod."""
        ...
