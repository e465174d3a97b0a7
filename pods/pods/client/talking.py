"""What the client on trio says to pods, and what it reads of them and waits for.

Owns the connections that a client keeps, and which of them a request takes: a pod that cannot
answer by itself is spoken for by its supervisor. `aio` adds what is done to pods.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import trio

from pods.client.arguments import check_seconds
from pods.client.breaks import Breaks
from pods.client.connections import PodConnections
from pods.client.plain import ANSWER_SECONDS
from pods.client.stream import EventStream
from pods.client.supervisor_link import Opening, SupervisorLink
from pods.rpc.client import RpcClient
from pods_protocol.bounds import (
    DEFAULT_READ_BYTES,
    DEFAULT_READ_LIMIT,
    MAX_WAIT_SECONDS,
)
from pods_protocol.errors import ClientClosed, PodEnded, PodPaused
from pods_protocol.events import ASSISTANT_TEXT_KINDS
from pods_protocol.pod_messages import (
    Notify,
    NotifyResult,
    Request,
    Run,
    RunResult,
    Withdraw,
)
from pods_protocol.supervisor_messages import (
    AdvanceCursor,
    NotifyPod,
    ReadOutput,
    ReadOutputResult,
    SendMessage,
    StopPod,
    StopPodResult,
    WaitPods,
    WaitPodsResult,
    WithdrawMessage,
)
from pods_protocol.values import IfBusy, WaitUntil

R = TypeVar("R")

BURIAL_SECONDS: Final = 10.0
"""How long a supervisor may take to notice that a pod is gone whose connection broke."""

MAX_READ_TEXT_BYTES: Final = 64 * 1024 * 1024
"""Text of one `read_text`; with more there, the next call goes on."""


class Talking:
    """The talking half of a `PodsClient`; see there.

    Args:
        rpc: to the supervisor; has said hello.
        nursery: where connections to pods live.
        opening: opens another connection to the supervisor, where this one broke.
    """

    def __init__(
        self, rpc: RpcClient, nursery: trio.Nursery, opening: Opening | None = None
    ) -> None:
        self._link = SupervisorLink(rpc, nursery, opening)
        self._connections = PodConnections(self._link, nursery)
        self._closed = False

    def close(self) -> None:
        """Refuse what comes after; the block that made the client closes its connections."""
        self._closed = True
        self._link.close()

    async def request(self, message: Request[R]) -> R:
        """Ask the supervisor anything it answers.

        Raises:
            PodsError: its refusal; NotConnected; TimedOut; ClientClosed.
        """
        self._check_open()
        return await self._link.request(message, timeout_seconds=_patience(message))

    async def _ask_again(self, ask: Callable[[], Request[R]], *, until: float = math.inf) -> R:
        """Ask what may be asked twice, also where the supervisor dies under it.

        Args:
            ask: makes the request, anew each time.
            until: not asked again from then on.

        Raises:
            PodsError: as `request`.
        """
        self._check_open()

        def asked() -> tuple[Request[R], float]:
            message = ask()
            return message, _patience(message)

        return await self._link.ask_again(asked, breaks=Breaks(until=until))

    async def _stop(self, request: StopPod) -> StopPodResult:
        """Stop a pod, in the time of one stop however often it is asked for.

        Raises:
            PodsError: as `request`.
        """
        self._check_open()
        until = trio.current_time() + _patience(request)

        def asked() -> tuple[Request[StopPodResult], float]:
            return request, max(0.0, until - trio.current_time())

        return await self._link.ask_again(asked, breaks=Breaks(until=until))

    async def ask(self, pod: str, message: Request[R]) -> R:
        """Ask a pod anything it answers, over a connection of its own.

        Raises:
            PodEnded: it has ended.
            PodsError: its refusal; UnknownPod; NotConnected; TimedOut; ClientClosed.
        """
        self._check_open()
        return await self._connections.request(pod, message, timeout_seconds=_patience(message))

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("cannot ask: this client was closed; connect again")

    async def send(
        self,
        pod: str,
        message: str | Run,
        *,
        if_busy: IfBusy = "fail",
        message_id: str | None = None,
    ) -> RunResult:
        """Give a pod a message; on return it is on disk and has one fate.

        Args:
            pod: which.
            message: the text, or the whole request.
            if_busy: what to do while a turn runs; ignored where `message` says it.
            message_id: idempotency key; ignored where `message` says it.

        Raises:
            AlreadyRunning: busy, and `if_busy` is `fail`.
            PodPaused: paused, and `if_busy` is not `queue`.
            QueueFull, UnknownPod, PodEnded, TooLarge.
        """
        if isinstance(message, str):
            message = Run(input=message, if_busy=if_busy, message_id=message_id)
        try:
            return await self.ask(pod, message)
        except (PodEnded, PodPaused) as error:
            if isinstance(error, PodEnded) and message.message_id is None:
                raise
            # It does not answer itself; its supervisor knows what it had accepted, and queues.
            return await self.request(
                SendMessage(
                    pod=pod,
                    input=message.input,
                    if_busy=message.if_busy,
                    message_id=message.message_id,
                    sender=message.sender,
                )
            )

    async def notify(
        self, pod: str, message: str, *, wake: bool = False, message_id: str | None = None
    ) -> NotifyResult:
        """Tell a pod something with its next message; `wake` starts a turn if it is idle.

        Raises:
            QueueFull, UnknownPod, PodEnded, TooLarge.
        """
        try:
            return await self.ask(pod, Notify(message=message, wake=wake, message_id=message_id))
        except (PodEnded, PodPaused) as error:
            if isinstance(error, PodEnded) and message_id is None:
                raise
            return await self.request(
                NotifyPod(pod=pod, message=message, wake=wake, message_id=message_id)
            )

    async def withdraw(self, pod: str, message_id: str) -> None:
        """Take a queued message back.

        Raises:
            UnknownMessage: it is not queued (any more).
            UnknownPod, PodEnded.
        """
        try:
            await self.ask(pod, Withdraw(message_id=message_id))
        except PodPaused:
            await self.request(WithdrawMessage(pod=pod, message_id=message_id))

    async def read(
        self,
        pod: str,
        *,
        since: int | None = None,
        reader: str | None = None,
        kinds: Iterable[str] = (),
        limit: int = DEFAULT_READ_LIMIT,
        max_bytes: int = DEFAULT_READ_BYTES,
        wait_seconds: float = 0.0,
    ) -> ReadOutputResult:
        """A page of a pod's events, alive or ended; the reader's cursor stays where it is.

        Raises:
            UnknownPod: no such pod.
        """
        return await self.request(
            ReadOutput(
                pod=pod,
                since=since,
                reader=reader,
                kinds=tuple(kinds),
                limit=limit,
                max_bytes=max_bytes,
                wait_seconds=wait_seconds,
            )
        )

    async def advance(self, pod: str, seq: int, *, reader: str | None = None) -> None:
        """Say that what was read up to `seq` is safe; the next `read` goes on from there."""
        await self.request(AdvanceCursor(pod=pod, seq=seq, reader=reader))

    async def read_text(
        self, pod: str, *, since: int | None = None, reader: str | None = None
    ) -> str:
        """What the agent said since the last call, alive or ended.

        Args:
            pod: which.
            since: a cursor; None goes on from the reader's, and moves it.
            reader: whose cursor; None is this client's own.

        Raises:
            UnknownPod: no such pod.
        """
        pieces: list[str] = []
        held = 0
        cursor = since
        while True:
            page = await self.read(pod, since=cursor, reader=reader, kinds=ASSISTANT_TEXT_KINDS)
            pieces += [str(event.data["text"]) for event in page.events]
            held += sum(map(len, pieces[-len(page.events) :])) if page.events else 0
            cursor = page.next
            if not page.truncated or held >= MAX_READ_TEXT_BYTES:
                break
        if since is None:
            await self.advance(pod, cursor, reader=reader)
        return "".join(pieces)

    def events(self, pod: str, *, since: int = 0, kinds: Iterable[str] = ()) -> EventStream:
        """A pod's events from `since` on, as they come, to the pod's end: no gap, no repeat.

        `async for event in client.events("api")`; close it with `aclose` or `async with`.
        """
        self._check_open()
        wanted = tuple(kinds)

        async def read_journal(cursor: int) -> ReadOutputResult:
            return await self.read(pod, since=cursor, kinds=wanted)

        async def has_ended() -> bool:
            answer = await self.request(
                WaitPods(pods=(pod,), until="ended", timeout_seconds=BURIAL_SECONDS)
            )
            return not answer.timed_out

        return EventStream(
            self._connections,
            pod,
            since=since,
            kinds=wanted,
            read_journal=read_journal,
            has_ended=has_ended,
        )

    async def wait(
        self,
        *pods: str,
        until: WaitUntil = "idle",
        any_of_them: bool = False,
        timeout_seconds: float | None = None,
    ) -> WaitPodsResult:
        """Wait for pods; what is already so counts, and an ended pod is no longer waited for.

        It goes on where the supervisor is killed: with another one, started as by `connect`.

        Args:
            pods: which.
            until: `idle`, `ended` or `question`.
            any_of_them: one is enough.
            timeout_seconds: then `timed_out` is set; None waits for ever.

        Raises:
            UnknownPod: no such pod.
            NotConnected: the supervisor is gone, and no other is to be started.
            InvalidParams: `timeout_seconds` is negative, infinite or no number.
        """
        deadline = float("inf")
        if timeout_seconds is not None:
            deadline = trio.current_time() + check_seconds(timeout_seconds, "timeout_seconds")

        def ask() -> WaitPods:
            return WaitPods(
                pods=pods,
                mode="any" if any_of_them else "all",
                until=until,
                timeout_seconds=min(MAX_WAIT_SECONDS, max(0.0, deadline - trio.current_time())),
            )

        while True:
            answer = await self._ask_again(ask, until=deadline + ANSWER_SECONDS)
            if not answer.timed_out or trio.current_time() >= deadline:
                return answer


def _patience(message: Request[Any]) -> float:
    """Seconds that an answer may take: what the request itself waits for, and some more.

    Raises:
        InvalidParams: it is to wait for a time that is none.
    """
    seconds = ANSWER_SECONDS
    # A stop has three steps with a grace each; one that lets a turn finish takes as long as that.
    for name, times in (("timeout_seconds", 1), ("wait_seconds", 1), ("grace_seconds", 3)):
        seconds += times * check_seconds(getattr(message, name, 0.0), name)
    if isinstance(message, StopPod) and message.mode == "finish":
        seconds += MAX_WAIT_SECONDS
    return seconds
