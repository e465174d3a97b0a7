"""The supervisor's hold on one keeper: when it ends, and what it is asked.

Owns the process descriptor that tells of a keeper's end, and the connections that are made when
there is something to ask. None is kept: a keeper that is never asked anything never leaves its
sleep, which keeps its memory shared and the start of a pod short. Made by spawn and by adoption.
"""

from __future__ import annotations

import errno
import os
from typing import Final, TypeVar

import trio

from pods.descriptors import NO_DESCRIPTORS
from pods.rpc.client import open_rpc
from pods.scope.identity import is_alive
from pods.supervisor.processes import DESCRIPTOR_RETRY_SECONDS
from pods_protocol.api import KEEPER_API
from pods_protocol.pod_messages import Request
from pods_protocol.values import ProcessIdentity

R = TypeVar("R")

CONNECT_SECONDS: Final = 5.0
"""A keeper answers in a few milliseconds, also on a busy machine; one that does not is stopped."""


async def ask_keeper(socket: str, token: str, name: str, message: Request[R]) -> R:
    """Ask whatever keeper listens at a path.

    Args:
        socket: the path.
        token: the supervisor's.
        name: the pod's, for errors.
        message: what to ask.

    Raises:
        NotConnected: none does.
        TimedOut: it does not answer.
    """
    async with open_rpc(
        socket,
        KEEPER_API,
        token=token,
        client="supervisor",
        peer=f"the keeper of {name}",
        timeout_seconds=CONNECT_SECONDS,
    ) as rpc:
        return await rpc.request(message, timeout_seconds=CONNECT_SECONDS)


class KeeperLink:
    """One keeper.

    Args:
        identity: its process.
        socket: its socket's path.
        token: what it obeys.
        name: the pod's.

    Attributes:
        closed: set once the process has ended.
    """

    def __init__(self, identity: ProcessIdentity, socket: str, token: str, name: str) -> None:
        self.closed = trio.Event()
        self._identity = identity
        self._socket = socket
        self._token = token
        self._name = name
        self._watching = trio.CancelScope()
        self._asked = 0
        self._askers = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<KeeperLink of {self._name}>"

    async def run(self) -> None:
        """Wait for the end of the process; cancelled by `close`."""
        try:
            descriptor = await self._open()
        except ProcessLookupError:
            self.closed.set()
            return
        if descriptor is None:
            return
        try:
            # The descriptor is one process for ever; here it proves to be the right one.
            if is_alive(self._identity):
                with self._watching:
                    await trio.lowlevel.wait_readable(descriptor)
                if self._watching.cancelled_caught:
                    return
            self.closed.set()
        finally:
            os.close(descriptor)

    async def _open(self) -> int | None:
        """The process's descriptor, waited for where we have none left; None after `close`."""
        while True:
            try:
                return os.pidfd_open(self._identity.pid)
            except ProcessLookupError:
                raise
            except OSError as error:
                if error.errno not in NO_DESCRIPTORS | {errno.ENOMEM}:
                    raise
            with self._watching:
                await trio.sleep(DESCRIPTOR_RETRY_SECONDS)
            if self._watching.cancelled_caught:
                return None

    async def request(self, message: Request[R]) -> R:
        """Ask the keeper, over a connection made for it.

        Raises:
            NotConnected, TimedOut: it does not answer.
        """
        self._asked += 1
        try:
            return await ask_keeper(self._socket, self._token, self._name, message)
        finally:
            self._asked -= 1
            self._askers.unpark_all()

    async def wait_answered(self) -> None:
        """Wait until whatever was asked has its answer, or has none to expect.

        Who waits goes on after whoever asked. A keeper that ends with its answer may be seen to end
        before the answer is heard.
        """
        while self._asked:
            await self._askers.park()

    def close(self) -> None:
        """Watch no longer; idempotent."""
        self._watching.cancel()
