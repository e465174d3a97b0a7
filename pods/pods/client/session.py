"""A pod for the length of a block.

Owns the promise that the block's end stops the pod, whatever happened in it, and that a failing
stop never hides what the block raised. Made by `aio`.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final

import trio

from pods.client.arguments import SpawnOptions
from pods.client.results import TurnResult
from pods_protocol.errors import ClientClosed, PodsError
from pods_protocol.values import IfBusy

if TYPE_CHECKING:
    from pods.client.aio import Pod, PodsClient

CLOSE_SECONDS: Final = 60.0
"""For the stop at the end of a block: three graces and a slow disk."""


class Session:
    """Use it with `async with`.

    Args:
        client: whose pods.
        name: of the pod.
        options: as for `spawn`.
        remove: also forget the pod and delete its journal at the end.
    """

    def __init__(
        self, client: PodsClient, name: str, options: SpawnOptions, *, remove: bool = False
    ) -> None:
        self.name = name
        self._client = client
        self._options = options
        self._remove = remove
        self._pod: Pod | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"Session({self.name!r}, closed={self._closed})"

    @property
    def closed(self) -> bool:
        """Whether the pod was stopped by this session."""
        return self._closed

    @property
    def pod(self) -> Pod:
        """The pod.

        Raises:
            ClientClosed: outside of the block.
        """
        if self._pod is None or self._closed:
            raise ClientClosed(
                f"cannot use the session {self.name}: it is not open; use it inside its `with`",
                session=self.name,
            )
        return self._pod

    async def open(self) -> Session:
        """Spawn the pod.

        Raises:
            PodsError: as `spawn`.
        """
        # Short and shielded: a cancelled spawn could leave a pod that nobody stops.
        with trio.CancelScope(shield=True):
            self._pod = await self._client.spawn(self.name, **self._options)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            await self._close_quietly(None)
            raise
        return self

    async def turn(
        self, message: str, *, if_busy: IfBusy = "fail", timeout_seconds: float | None = None
    ) -> TurnResult:
        """Send a message and wait for the end of its turn.

        Raises:
            ClientClosed: outside of the block.
            TimedOut: the turn was cancelled after `timeout_seconds`.
            AlreadyRunning: another turn runs, and `if_busy` is `fail`.
        """
        return await self.pod.turn(message, if_busy=if_busy, timeout_seconds=timeout_seconds)

    async def close(self) -> None:
        """Stop the pod; again is nothing. After a failure it may be tried again.

        Raises:
            PodsError: it could not be stopped.
        """
        if self._closed or self._pod is None:
            return
        await self._pod.stop()
        if self._remove:
            await self._pod.remove()
        self._closed = True

    async def _close_quietly(self, body: BaseException | None) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await self.close()
            except PodsError as error:
                if body is not None:
                    body.add_note(f"and the pod {self.name} could not be stopped: {error}")

    async def __aenter__(self) -> Session:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        body: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if body is not None:
            await self._close_quietly(body)
            return
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self.close()
