"""One pod as an object.

Owns nothing but the pod's name: each method is the client's method of that name, for this pod, or a
request that the pod itself answers. Made by `aio`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pods.client.results import TurnResult
from pods.client.turns import take_turn
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.pod_messages import (
    AnswerQuestion,
    Cancel,
    CancelResult,
    GetHistory,
    GetHistoryResult,
    GetStatus,
    NotifyResult,
    RunResult,
)
from pods_protocol.supervisor_messages import (
    InspectPodResult,
    PausePodResult,
    ReadOutputResult,
    RemovePodResult,
    ResumePodResult,
    SpawnPodResult,
    StopPodResult,
    WaitPodsResult,
)
from pods_protocol.values import IfBusy, PodStatus, StopMode, WaitUntil

if TYPE_CHECKING:
    from pods.client.aio import PodsClient
    from pods.client.stream import EventStream


class Pod:
    """A handle.

    Attributes:
        name: the pod's name, or the beginning of its id.
        spawned: the answer to the spawn, where this handle came from one.
    """

    def __init__(
        self, client: PodsClient, name: str, *, spawned: SpawnPodResult | None = None
    ) -> None:
        self.name = name
        self.spawned = spawned
        self._client = client

    def __repr__(self) -> str:
        return f"Pod({self.name!r})"

    async def send(
        self, message: str, *, if_busy: IfBusy = "fail", message_id: str | None = None
    ) -> RunResult:
        """Give it a message; on return it is on disk and has one fate.

        Raises:
            AlreadyRunning, QueueFull, PodEnded, UnknownPod, TooLarge.
        """
        return await self._client.send(self.name, message, if_busy=if_busy, message_id=message_id)

    async def turn(
        self, message: str, *, if_busy: IfBusy = "fail", timeout_seconds: float | None = None
    ) -> TurnResult:
        """Send a message and gather its turn.

        Raises:
            TimedOut: the turn was cancelled after `timeout_seconds`.
            AlreadyRunning, QueueFull, PodEnded, UnknownPod, TooLarge.
        """
        return await take_turn(
            self._client, self.name, message, if_busy=if_busy, timeout_seconds=timeout_seconds
        )

    async def notify(
        self, message: str, *, wake: bool = False, message_id: str | None = None
    ) -> NotifyResult:
        """Tell it something with its next message; `wake` starts a turn if it is idle."""
        return await self._client.notify(self.name, message, wake=wake, message_id=message_id)

    async def cancel(self) -> CancelResult:
        """End the running turn; what it produced stays."""
        return await self._client.ask(self.name, Cancel())

    async def pause(self) -> PausePodResult:
        """Pause it: its agent holds its turn, or all its processes are stopped. Idempotent.

        Raises:
            PodEnded: it has ended or is being stopped.
        """
        return await self._client.pause(self.name)

    async def resume(self) -> ResumePodResult:
        """Let it go on. Idempotent.

        Raises:
            PodEnded: it has ended or is being stopped.
        """
        return await self._client.resume(self.name)

    async def answer(self, question_id: str, answer: str) -> None:
        """Answer an open question.

        Raises:
            UnknownQuestion: none of that id is open.
        """
        await self._client.ask(self.name, AnswerQuestion(question_id=question_id, answer=answer))

    async def withdraw(self, message_id: str) -> None:
        """Take a queued message back.

        Raises:
            UnknownMessage: it is not queued (any more).
        """
        await self._client.withdraw(self.name, message_id)

    async def status(self) -> PodStatus:
        """What it is doing, in its own words.

        Raises:
            PodEnded: it has ended; `inspect` still answers.
        """
        return await self._client.ask(self.name, GetStatus())

    async def history(self, since: int = 0) -> GetHistoryResult:
        """The conversation as messages."""
        return await self._client.ask(self.name, GetHistory(since=since))

    async def read(
        self, *, since: int | None = None, reader: str | None = None, wait_seconds: float = 0.0
    ) -> ReadOutputResult:
        """A page of its events, alive or ended."""
        return await self._client.read(
            self.name, since=since, reader=reader, wait_seconds=wait_seconds
        )

    async def read_text(self, *, since: int | None = None, reader: str | None = None) -> str:
        """What the agent said since the last call, alive or ended."""
        return await self._client.read_text(self.name, since=since, reader=reader)

    def events(self, *, since: int = 0, kinds: Iterable[str] = ()) -> EventStream:
        """Its events as they come, to its end."""
        return self._client.events(self.name, since=since, kinds=kinds)

    async def wait(
        self, until: WaitUntil = "idle", *, timeout_seconds: float | None = None
    ) -> WaitPodsResult:
        """Wait until it is idle, has ended, or asks."""
        return await self._client.wait(self.name, until=until, timeout_seconds=timeout_seconds)

    async def inspect(self) -> InspectPodResult:
        """Everything known of it."""
        return await self._client.inspect(self.name)

    async def stop(
        self,
        *,
        mode: StopMode = "now",
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        message_id: str | None = None,
    ) -> StopPodResult:
        """Stop it; on return its processes are gone and its scope is free. Idempotent."""
        return await self._client.stop(
            self.name, mode=mode, grace_seconds=grace_seconds, message_id=message_id
        )

    async def restore(
        self, *, prompt: str | None = None, env: Mapping[str, str] | None = None
    ) -> Pod:
        """Start it again after its end, on its own journal; as `PodsClient.restore`."""
        return await self._client.restore(self.name, prompt=prompt, env=env)

    async def remove(self) -> RemovePodResult:
        """Forget it and delete its journal.

        Raises:
            PodRunning: stop it first.
        """
        return await self._client.remove(self.name)
