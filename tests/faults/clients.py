"""How a campaign's clients reach supervisors and pods, and how patient they are.

Owns connections, repeats, and whom a step means: a client whose connection breaks asks again with
the same message id, and starts a supervisor where none answers, as ours do. Judges nothing. Used by
`actors` and `rounds`.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import trio
from fault_board import Slot
from ledger import Ledger
from world import World

from pods.rpc.client import RpcClient, open_rpc
from pods.rpc.stream import connect_unix
from pods_protocol import pod_messages
from pods_protocol.api import POD_API, Api
from pods_protocol.codec import to_json
from pods_protocol.errors import NotConnected, PodsError, TimedOut
from pods_protocol.events import Event
from pods_protocol.pod_messages import Request
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import ConnectPod

T = TypeVar("T")
R = TypeVar("R")

REQUEST_SECONDS: Final = 3.0
"""Patience with one answer: a process that a fault stopped is woken long before."""

TRIES: Final = 3
PAUSE_SECONDS: Final = 0.05
FOLLOW_PAUSE_SECONDS: Final = 0.1


class Clients:
    """The ways to ask.

    Args:
        world: where.
        ledger: takes what they are told.
    """

    def __init__(self, world: World, ledger: Ledger) -> None:
        self.world = world
        self.ledger = ledger
        self.followers: trio.Nursery | None = None
        self._followed: set[str] = set()
        self._tokens: dict[str, str] = {}
        self._starting = trio.Lock()

    # Whom a step means --------------------------------------------------------------------------

    def living(self) -> list[str]:
        """The names of the pods that live as far as anybody was told, sorted."""
        return sorted(
            name for one, name in self.ledger.names.items() if not self.ledger.is_over(one)
        )

    def dead(self) -> list[str]:
        """The names of those that have ended and can still be read."""
        return sorted(
            name
            for one, name in self.ledger.names.items()
            if self.ledger.is_over(one) and one not in self.ledger.removals
        )

    def meant(self, name: str, among: Iterable[str] | None = None) -> str:
        """That pod, or another where it is none of those (the living) that a step can address."""
        there = self.living() if among is None else list(among)
        if name in there or not there:
            return name
        return there[zlib.crc32(name.encode()) % len(there)]

    def id_of(self, name: str) -> str | None:
        """The id of a pod that a client was told of."""
        return next((one for one, called in self.ledger.names.items() if called == name), None)

    def aimed(self, slots: Iterable[Slot]) -> list[Slot]:
        """The faults of a phase at the roots that live now, where another took their place."""
        roots = {name[:2]: name for name in self.living() if name.startswith("p")}
        aimed: list[Slot] = []
        for slot in slots:
            kind, _, name = slot.role.partition(":")
            if name.startswith("p") and name[:2] in roots:
                slot = slot._replace(role=f"{kind}:{roots[name[:2]]}")
            aimed.append(slot)
        return aimed

    # Connections --------------------------------------------------------------------------------

    async def ensure(self) -> None:
        """A supervisor answers; may raise what a client would see."""
        async with self._starting:
            await trio.to_thread.run_sync(self.world.ensure_supervisor)

    async def ask(self, message: Request[R], *, parent: str | None = None,
                  seconds: float = REQUEST_SECONDS) -> R:  # fmt: skip
        """Ask the supervisor once, as the owner or as a pod."""
        await self.ensure()
        token = self._tokens.get(parent, "") if parent else self.world.token
        async with open_rpc(
            self.world.places.socket, SUPERVISOR_API, token=token, timeout_seconds=REQUEST_SECONDS
        ) as rpc:
            return await rpc.request(message, timeout_seconds=seconds)

    @asynccontextmanager
    async def pod(self, name: str) -> AsyncGenerator[tuple[str, RpcClient]]:
        """A connection to a pod: its id, and the way to ask."""
        way = await self.ask(ConnectPod(pod=name))
        async with connected(way.socket, POD_API, way.token) as (pod_id, rpc):
            yield pod_id, rpc

    async def insist(
        self, act: Callable[[], Awaitable[T]], doubt: Callable[[], None] = lambda: None
    ) -> T | None:
        """Try until something answers; None where nothing did, or the answer was no.

        Args:
            act: asks.
            doubt: notes that an attempt went without an answer.
        """
        for _ in range(TRIES):
            try:
                return await act()
            except (NotConnected, TimedOut, OSError):
                doubt()
                await trio.sleep(PAUSE_SECONDS)
            except PodsError:
                return None
        return None

    # Subscribers --------------------------------------------------------------------------------

    def follow(self, pod_id: str, socket: str, token: str) -> None:
        """Subscribe to a pod's events until it has ended."""
        self._tokens[pod_id] = token
        if self.followers is not None and pod_id not in self._followed:
            self._followed.add(pod_id)
            self.followers.start_soon(self._follow, pod_id, socket, token)

    async def _follow(self, pod_id: str, socket: str, token: str) -> None:
        """Get every event of a pod as it comes, again where the connection broke."""

        def notified(method: str, params: Any) -> None:
            if method == "event" and isinstance(params, Event):
                self.ledger.saw(pod_id, to_json(params))

        while not self.ledger.is_over(pod_id):
            seen = self.ledger.seen.get(pod_id)
            since = seen[-1]["seq"] if seen else 0
            try:
                async with connected(socket, POD_API, token, notified) as (_, rpc):
                    await rpc.request(
                        pod_messages.Subscribe(since=since), timeout_seconds=REQUEST_SECONDS
                    )
                    await rpc.closed.wait()
            except (PodsError, OSError):
                pass
            await trio.sleep(FOLLOW_PAUSE_SECONDS)
        self._followed.discard(pod_id)


@asynccontextmanager
async def connected(
    path: str, api: Api, token: str, notified: Callable[[str, Any], None] | None = None
) -> AsyncGenerator[tuple[str, RpcClient]]:
    """As `open_rpc`, and who answered: the id in its hello."""
    stream = None
    with trio.move_on_after(REQUEST_SECONDS):
        stream = await connect_unix(path)
    if stream is None:
        raise TimedOut("cannot connect: nobody took it", timeout_seconds=REQUEST_SECONDS)
    rpc = RpcClient(stream, api, peer=path, on_notification=notified)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        try:
            greeting = await rpc.hello(token, timeout_seconds=REQUEST_SECONDS)
            yield greeting.id, rpc
        except BaseException as error:
            failure = error
        finally:
            rpc.close()
    if failure is not None:
        raise failure
