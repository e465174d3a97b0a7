"""The connections that one client keeps to pods.

Owns which are open: made when a pod is first asked something, kept for the next request, closed
when there are too many. A connection that broke is made anew at the next request; a request is
never sent twice. Used by `aio` and `stream`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import trio
from attrs import define, field

from pods.client.supervisor_link import SupervisorLink
from pods.rpc.client import NotificationHandler, RpcClient, open_rpc
from pods_protocol.api import POD_API
from pods_protocol.errors import NotConnected
from pods_protocol.pod_messages import Request
from pods_protocol.supervisor_messages import ConnectPod, ConnectPodResult

R = TypeVar("R")

MAX_POD_CONNECTIONS: Final = 64
"""Kept open at once by one client. A parent with more children at work than that pays a
millisecond for a connection now and then; a program's descriptors stay its own."""

CONNECT_SECONDS: Final = 30.0
"""For the supervisor to tell the way to a pod."""


@define
class _Slot:
    lock: trio.Lock = field(factory=trio.Lock)
    rpc: RpcClient | None = None
    users: int = 0

    @property
    def usable(self) -> bool:
        return self.rpc is not None and not self.rpc.closed.is_set()


class PodConnections:
    """The cache.

    Args:
        supervisor: who tells where a pod listens and what commands it.
        nursery: where connections live; cancelling it closes them all.
    """

    def __init__(self, supervisor: SupervisorLink, nursery: trio.Nursery) -> None:
        self._supervisor = supervisor
        self._nursery = nursery
        self._slots: OrderedDict[str, _Slot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    async def request(self, pod: str, message: Request[R], *, timeout_seconds: float) -> R:
        """Ask a pod over the kept connection.

        Raises:
            PodsError: the supervisor's or the pod's refusal; NotConnected; TimedOut.
        """
        slot = self._slots.get(pod)
        if slot is None:
            slot = self._slots[pod] = _Slot()
        else:
            self._slots.move_to_end(pod)
        slot.users += 1
        try:
            rpc = slot.rpc
            if rpc is None or rpc.closed.is_set():
                rpc = await self._connected(pod, slot)
            return await rpc.request(message, timeout_seconds=timeout_seconds)
        finally:
            slot.users -= 1
            if not slot.usable or len(self._slots) > MAX_POD_CONNECTIONS:
                self._tidy()

    async def _connected(self, pod: str, slot: _Slot) -> RpcClient:
        """Connect, or wait for whoever does already."""
        async with slot.lock:
            rpc = slot.rpc
            if rpc is None or rpc.closed.is_set():
                rpc = slot.rpc = await self.open(pod)
            return rpc

    async def open(
        self, pod: str, *, on_notification: NotificationHandler | None = None
    ) -> RpcClient:
        """A connection of the caller's own; it closes it, or the client's end does.

        Raises:
            PodsError: unknown pod, ended, or nobody answers.
        """
        way = await self._find(ConnectPod(pod=pod))
        try:
            rpc: RpcClient = await self._nursery.start(self._hold, way, on_notification)
        except NotConnected:
            # Its process has just ended; another may be on its way. Nothing was asked of this one.
            way = await self._find(ConnectPod(pod=pod, gone=way.pid))
            rpc = await self._nursery.start(self._hold, way, on_notification)
        return rpc

    async def _find(self, request: ConnectPod) -> ConnectPodResult:
        return await self._supervisor.request(request, timeout_seconds=CONNECT_SECONDS)

    def when_closed(self, rpc: RpcClient, then: Callable[[RpcClient], None]) -> None:
        """Call `then` once the connection has ended, also where it has already."""

        async def watch() -> None:
            await rpc.closed.wait()
            then(rpc)

        self._nursery.start_soon(watch)

    def _tidy(self) -> None:
        """Forget what is broken and unused; close the longest unused of too many."""
        for pod, slot in list(self._slots.items()):
            if slot.users:
                continue
            if not slot.usable or len(self._slots) > MAX_POD_CONNECTIONS:
                del self._slots[pod]
                if slot.rpc is not None:
                    slot.rpc.close()

    async def _hold(
        self,
        way: ConnectPodResult,
        on_notification: NotificationHandler | None,
        *,
        task_status: trio.TaskStatus[RpcClient] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with open_rpc(
            way.socket,
            POD_API,
            token=way.token,
            client=way.known_as,
            peer=f"pod {way.name}",
            on_notification=on_notification,
        ) as rpc:
            task_status.started(rpc)
            await rpc.closed.wait()
