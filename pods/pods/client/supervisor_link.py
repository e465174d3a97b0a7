"""A client's connection to its supervisor, made anew where the supervisor has died.

Owns which connection is the one in use. A request is sent once, over one that is not known to have
ended; only what says that it may be asked again (`ask_again`) is: a wait, which changes nothing,
and a stop under an id of its own. Used by `talking` and `connections`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import trio

from pods.client.breaks import Breaks
from pods.rpc.client import RpcClient
from pods_protocol.errors import ClientClosed, NotConnected
from pods_protocol.pod_messages import Request
from pods_protocol.supervisor_messages import ShutdownSupervisor

R = TypeVar("R")

Opening = Callable[[], AbstractAsyncContextManager[RpcClient]]
"""Opens another connection, and starts a supervisor where the client may."""


class SupervisorLink:
    """The connection.

    Args:
        rpc: the first one; has said hello.
        nursery: where those that come after it live.
        opening: opens them; None is to have this one alone.
    """

    def __init__(self, rpc: RpcClient, nursery: trio.Nursery, opening: Opening | None) -> None:
        self._rpc = rpc
        self._nursery = nursery
        self._opening = opening
        self._making = trio.Lock()
        self._closed = False
        self._ended = False
        """We ended the supervisor: no mere request starts another one."""

    def close(self) -> None:
        """Make no other connection; idempotent."""
        self._closed = self._ended = True

    async def request(self, message: Request[R], *, timeout_seconds: float) -> R:
        """Ask once; over another connection where this one is known to have ended before.

        Raises:
            PodsError: the supervisor's refusal; NotConnected; TimedOut.
            ClientClosed: the client was closed meanwhile.
        """
        rpc, ends = self._rpc, isinstance(message, ShutdownSupervisor)
        if rpc.closed.is_set() and self._opening is not None and not (ends or self._ended):
            await self._make(rpc, self._opening)
        answer = await self._rpc.request(message, timeout_seconds=timeout_seconds)
        self._ended = self._ended or ends
        return answer

    async def ask_again(
        self, ask: Callable[[], tuple[Request[R], float]], *, breaks: Breaks | None = None
    ) -> R:
        """Ask what may be asked twice; over another connection where this one breaks.

        Args:
            ask: makes the request and the seconds that its answer may take, anew each time.
            breaks: when that is given up, by trio's clock; None is the bound that all have.

        Raises:
            PodsError: the supervisor's refusal; TimedOut.
            NotConnected: no other supervisor is there, or none that lasts.
            ClientClosed: the client was closed meanwhile.
        """
        breaks = breaks or Breaks()
        while True:
            rpc = self._rpc
            message, seconds = ask()
            try:
                return await rpc.request(message, timeout_seconds=seconds)
            except NotConnected:
                # One that stands has passed on what the supervisor itself could not reach.
                if not rpc.closed.is_set() or self._opening is None:
                    raise
                if not breaks.another(trio.current_time()):
                    raise
                if self._closed:
                    raise self._was_closed() from None
                await self._make(rpc, self._opening)

    async def _make(self, broken: RpcClient, opening: Opening) -> None:
        async with self._making:
            if self._rpc is broken:
                try:
                    self._rpc = await self._nursery.start(_hold, opening)
                except RuntimeError as error:
                    if not self._closed:
                        raise
                    raise self._was_closed() from error

    def _was_closed(self) -> ClientClosed:
        return ClientClosed("cannot ask again: this client was closed; connect again")


async def _hold(
    opening: Opening, *, task_status: trio.TaskStatus[RpcClient] = trio.TASK_STATUS_IGNORED
) -> None:
    async with opening() as rpc:
        task_status.started(rpc)
        await rpc.closed.wait()
