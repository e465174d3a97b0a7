"""A pod's events as an async iterator: no gap, no repeat, whatever breaks in between.

Owns one subscription and its bounded buffer. A reader that is too slow, or a connection that
breaks, costs a new subscription from the last event that was handed out. When the pod has ended,
the rest comes from its journal and the iteration ends. Made by `aio`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from pods.client.connections import CONNECT_SECONDS, PodConnections
from pods_protocol.errors import ClientClosed, NotConnected, PodEnded
from pods_protocol.events import Event
from pods_protocol.pod_messages import Subscribe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pods.rpc.client import RpcClient
    from pods_protocol.supervisor_messages import ReadOutputResult

MAX_BUFFERED_EVENTS: Final = 4096
"""Events held for a reader that is behind. Past it the subscription is given up and taken up again
where the reader is: the journal remembers, we need not."""

MAX_FRUITLESS_SUBSCRIPTIONS: Final = 5
"""Subscriptions in a row that broke before they brought an event: something refuses us for good."""

JournalReader = Callable[[int], Awaitable["ReadOutputResult"]]
"""Reads a page of the ended pod's journal after a cursor."""

EndWaiter = Callable[[], Awaitable[bool]]
"""Waits until the supervisor knows that the pod has ended; False where it still has not."""


class EventStream:
    """Iterate with `async for`; close with `aclose` or as a context manager.

    Args:
        connections: where a connection comes from.
        pod: whose events.
        since: everything after this seq.
        kinds: only these; empty is all.
        read_journal: for what an ended pod left.
        has_ended: tells an ended pod from a broken connection.
    """

    def __init__(
        self,
        connections: PodConnections,
        pod: str,
        *,
        since: int,
        kinds: tuple[str, ...],
        read_journal: JournalReader,
        has_ended: EndWaiter,
    ) -> None:
        self.cursor = since
        self._connections = connections
        self._pod = pod
        self._kinds = kinds
        self._read_journal = read_journal
        self._has_ended = has_ended
        self._buffer: deque[Event] = deque()
        self._rpc: RpcClient | None = None
        self._wake = trio.Event()
        self._subscription = 0
        self._fruitless = 0
        self._ended = False
        self._complete = False
        self._closed = False

    def __repr__(self) -> str:
        return f"EventStream({self._pod!r}, cursor={self.cursor})"

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __aenter__(self) -> EventStream:
        """Subscribe now rather than at the first event.

        Raises:
            PodsError: unknown pod, or nobody answers.
        """
        if self._rpc is None and not self._ended:
            await self._connect()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the subscription; again is nothing."""
        self._closed = True
        self._give_up_subscription()
        self._wake.set()
        await trio.lowlevel.checkpoint()

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            StopAsyncIteration: the pod has ended and that was its last.
            ClientClosed: this stream was closed.
            NotConnected: neither the pod nor the supervisor answers.
        """
        while True:
            if self._closed:
                raise ClientClosed("cannot read events: the stream was closed; open another")
            if self._buffer:
                event = self._buffer.popleft()
                self.cursor = event.seq
                return event
            if self._complete:
                raise StopAsyncIteration
            if self._ended:
                await self._read_rest()
            elif self._rpc is None:
                await self._connect()
            else:
                await self._wake.wait()
                self._wake = trio.Event()

    async def _connect(self) -> None:
        """Subscribe from the cursor, or find that the pod has ended."""
        if self._fruitless >= MAX_FRUITLESS_SUBSCRIPTIONS:
            raise NotConnected(
                f"cannot follow the pod {self._pod}: it hung up {self._fruitless} times in a row; "
                f"`pods inspect {self._pod}` shows it",
                pod=self._pod,
            )
        self._fruitless += 1
        self._subscription += 1
        subscription = self._subscription

        def receive(_method: str, message: Any) -> None:
            if subscription == self._subscription:
                self._receive(message)

        rpc: RpcClient | None = None
        try:
            rpc = await self._connections.open(self._pod, on_notification=receive)
            self._rpc = rpc
            self._wake = trio.Event()
            await rpc.request(
                Subscribe(since=self.cursor, kinds=self._kinds), timeout_seconds=CONNECT_SECONDS
            )
        except PodEnded:
            self._ended = True
        except NotConnected as error:
            hung_up = self._rpc is not None
            self._give_up_subscription()
            if hung_up:
                return  # asked again, the supervisor tells of its end or of its next process
            if error.data.get("restart_due") is not None:
                self._fruitless -= 1  # it is between two attempts to start it
                return
            # The pod's socket is silent: either it has just ended, or something is broken.
            if not await self._has_ended():
                raise
            self._ended = True
        except BaseException:
            self._give_up_subscription()
            raise
        else:
            self._connections.when_closed(rpc, self._hung_up)

    def _receive(self, message: Any) -> None:
        self._fruitless = 0
        if len(self._buffer) >= MAX_BUFFERED_EVENTS:
            self._give_up_subscription()
        else:
            self._buffer.append(message)
        self._wake.set()

    def _hung_up(self, rpc: RpcClient) -> None:
        if rpc is self._rpc:
            self._rpc = None
            self._wake.set()

    def _give_up_subscription(self) -> None:
        self._subscription += 1
        if self._rpc is not None:
            self._rpc.close()
            self._rpc = None

    async def _read_rest(self) -> None:
        page = await self._read_journal(self.cursor)
        self._buffer.extend(page.events)
        if not page.truncated:
            self._complete = True
        elif not page.events:
            self.cursor = page.next
