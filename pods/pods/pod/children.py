"""The pod's own client of its supervisor, for agents that have children.

Owns one connection, made when it is first wanted and again when it broke, and closed with the pod.
Also the file with the pod's token, for programs that are meant to call back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from pods.rpc.unix import write_private_file
from pods_protocol.errors import NotConnected, NotSupported, PodsError
from pods_protocol.pod_messages import Ping
from pods_protocol.process_messages import PodSpec

if TYPE_CHECKING:
    from pods.client.aio import PodsClient
    from pods_protocol.pod_messages import Request, Run, RunResult
    from pods_tools import Toolset

R = TypeVar("R")

TOKEN_FILE: Final = "token"


def token_file(spec: PodSpec) -> str:
    """Where a pod with `call_back` has its own token, readable by its user alone."""
    return f"{spec.runtime_directory}/{TOKEN_FILE}"


def write_token_file(spec: PodSpec) -> None:
    """Write it, unless the supervisor has: a pod that the kernel holds may not write there.

    Raises:
        StorageFailed: the disk refuses.
    """
    with contextlib.suppress(OSError), open(token_file(spec), encoding="ascii") as file:
        if file.read(len(spec.token) + 1) == spec.token:
            return
    write_private_file(token_file(spec), spec.token.encode(), durable=False)


class OwnClient:
    """One client for all turns.

    Args:
        spec: the pod's.
        nursery: outlives the turns.
        log: takes what went wrong with the connection later.
    """

    def __init__(self, spec: PodSpec, nursery: trio.Nursery, log: Callable[[str], None]) -> None:
        self._spec = spec
        self._nursery = nursery
        self._log = log
        self._lock = trio.Lock()
        self._client: PodsClient | None = None
        self._toolset: Toolset | None = None
        self._scope = trio.CancelScope()

    async def get(self) -> PodsClient:
        """The client, over a connection that has just answered.

        Raises:
            NotSupported: this pod has no Unix sockets, and the supervisor listens at one.
            NotConnected: the supervisor does not answer.
            PodsError: it refuses this pod.
        """
        if self._spec.doors.unix_sockets == "none":
            raise NotSupported(
                f"cannot ask the supervisor from pod {self._spec.name}: it was spawned without "
                "Unix sockets, so it has no children; do the work yourself",
                feature="children",
            )
        async with self._lock:
            if self._client is not None:
                try:
                    await self._client.request(Ping())
                except NotConnected:
                    self._client = None
                    self._scope.cancel()
                else:
                    return self._client
            client: PodsClient = await self._nursery.start(self._keep)
            self._client = client
            return client

    def toolset(self) -> Toolset:
        """The tools for parents; the same for all turns, since it knows what they were shown."""
        if self._toolset is None:
            # jsonschema comes with it, and most pods have no children.
            from pods_tools import Toolset

            self._toolset = Toolset(_Reconnecting(self), time_limit=trio.move_on_after)
        return self._toolset

    async def _keep(self, *, task_status: trio.TaskStatus[PodsClient]) -> None:
        # Imported here: most pods have no children, and every pod carries what is imported above.
        from pods.client.aio import connect_socket

        opened = False
        scope = self._scope = trio.CancelScope()
        try:
            async with connect_socket(
                self._spec.supervisor_socket, self._spec.token, client=f"pod {self._spec.name}"
            ) as client:
                opened = True
                task_status.started(client)
                with scope:
                    await trio.sleep_forever()
        except PodsError as error:
            if not opened:
                raise
            self._log(f"the connection to the supervisor ended: {error.message}")


class _Reconnecting:
    """What a toolset needs of a client, over whichever connection stands when it asks."""

    def __init__(self, own: OwnClient) -> None:
        self._own = own

    async def request(self, message: Request[R], /) -> R:
        return await (await self._own.get()).request(message)

    async def send(self, pod: str, message: Run, /) -> RunResult:
        return await (await self._own.get()).send(pod, message)
