"""The clients of a round: perform the steps of a plan and write down what they were told.

Owns connections, patience and repeats: a client whose connection breaks asks again with the same
message id, and starts a supervisor where none answers, as ours do. Judges nothing but what cannot
be judged later. Used by `rounds`.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, assert_never

import plan
import trio
from ledger import Ledger
from world import World

from pods.rpc.client import RpcClient, open_rpc
from pods.rpc.stream import connect_unix
from pods_protocol import pod_messages, supervisor_messages
from pods_protocol.api import POD_API, Api
from pods_protocol.codec import to_json
from pods_protocol.errors import NotConnected, PodsError, TimedOut
from pods_protocol.events import Event
from pods_protocol.pod_messages import Request
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import ConnectPod, SpawnPod, StopPod
from pods_protocol.values import RestartPolicy, ScopeRule

T = TypeVar("T")
R = TypeVar("R")

REQUEST_SECONDS: Final = 3.0
"""Patience with one answer: a process that a fault stopped is woken long before."""

TRIES: Final = 3
PAUSE_SECONDS: Final = 0.05
FOLLOW_PAUSE_SECONDS: Final = 0.1


class Actors:
    """The clients.

    Args:
        world: where.
        ledger: takes what they are told.
    """

    def __init__(self, world: World, ledger: Ledger) -> None:
        self.world = world
        self.ledger = ledger
        self.ended: set[str] = set()
        self.followers: trio.Nursery | None = None
        self._tokens: dict[str, str] = {}
        self._starting = trio.Lock()

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
        async with _connected(way.socket, POD_API, way.token) as (pod_id, rpc):
            yield pod_id, rpc

    async def insist(self, act: Callable[[], Awaitable[T]], doubt: Callable[[], None]) -> T | None:
        """Try until something answers; None where nothing did, or the answer was no."""
        for _ in range(TRIES):
            try:
                return await act()
            except (NotConnected, TimedOut, OSError):
                doubt()
                await trio.sleep(PAUSE_SECONDS)
            except PodsError:
                return None
        return None

    # Steps --------------------------------------------------------------------------------------

    async def perform(self, step: plan.Step) -> None:
        """Do one step of a script; whatever comes back is either noted or of no consequence."""
        match step:
            case plan.Spawn():
                await self._spawn(step)
            case plan.Send():
                await self._send(step)
            case plan.Notify():
                await self._notify(step)
            case plan.Withdraw():
                await self._withdraw(step)
            case plan.Cancel(name):
                await self._tell(name, pod_messages.Cancel())
            case plan.Stop(name, mode):
                request = StopPod(pod=name, mode=mode, grace_seconds=0.5)
                await self.insist(lambda: self.ask(request, seconds=6.0), _no_doubt)
            case plan.Restore(name):
                restore = supervisor_messages.RestorePod(pod=name)
                await self.insist(lambda: self.ask(restore, seconds=8.0), _no_doubt)
            case plan.Hold(name, pause):
                hold = (
                    supervisor_messages.PausePod(pod=name)
                    if pause
                    else supervisor_messages.ResumePod(pod=name)
                )
                await self.insist(lambda: self.ask(hold), _no_doubt)
            case plan.Kill(role):
                self._kill(role)
            case plan.Reboot():
                async with self._starting:  # nobody starts a supervisor on a machine that is off
                    await trio.to_thread.run_sync(self.world.reboot)
            case plan.Fill():
                await trio.to_thread.run_sync(self.world.fill_disk)
            case plan.Wait(name, until):
                wait = supervisor_messages.WaitPods(pods=(name,), until=until, timeout_seconds=0.3)
                await self.insist(lambda: self.ask(wait), _no_doubt)
            case plan.Look(name):
                await self.insist(lambda: self.ask(supervisor_messages.ListPods()), _no_doubt)
                read = supervisor_messages.ReadOutput(pod=name, since=0)
                await self.insist(lambda: self.ask(read), _no_doubt)
            case _:
                assert_never(step)

    async def _tell(self, name: str, message: Request[Any]) -> None:
        async def act() -> None:
            async with self.pod(name) as (_, rpc):
                await rpc.request(message, timeout_seconds=REQUEST_SECONDS)

        await self.insist(act, _no_doubt)

    async def _spawn(self, step: plan.Spawn) -> None:
        parent_id = None
        if step.parent is not None:
            parent_id = next(
                (one for one, name in self.ledger.names.items() if name == step.parent), None
            )
            if parent_id is None:
                return  # it never came up, so it asks for nothing
        directory = f"{self.world.work}/{step.directory}"
        os.makedirs(directory, exist_ok=True)
        request = SpawnPod(
            name=step.name,
            agent="campaign_agent:Worker",
            allow=(ScopeRule(target=directory, permission="write"),),
            cwd=directory,
            on_parent_exit="keep" if step.keep else "stop",
            wake_on=step.wake_on,
            restart=RestartPolicy(when="on-failure" if step.restart else "never"),
            message_id=step.message_id,
        )
        answer = await self.insist(lambda: self.ask(request, parent=parent_id, seconds=8.0),
                                   _no_doubt)  # fmt: skip
        if answer is None:
            return
        pod_id = answer.pod.id
        self.ledger.spawned.setdefault(step.message_id, []).append(pod_id)
        self.ledger.names[pod_id] = step.name
        self.ledger.directories[pod_id] = directory
        self._tokens[pod_id] = answer.token
        if self.followers is not None:
            self.followers.start_soon(self._follow, pod_id, answer.socket, answer.token)

    async def _send(self, step: plan.Send) -> None:
        order = {"id": step.message_id, "texts": step.texts, "seconds": 0.005,
                 "stray": step.stray}  # fmt: skip
        message = pod_messages.Run(
            input=json.dumps(order), if_busy=step.if_busy, message_id=step.message_id
        )
        await self._submit(step.name, message, step.message_id)

    async def _notify(self, step: plan.Notify) -> None:
        order = {"id": step.message_id, "texts": 1, "seconds": 0.0, "stray": False}
        message = pod_messages.Notify(
            message=json.dumps(order), wake=step.wake, message_id=step.message_id
        )
        await self._submit(step.name, message, step.message_id)

    async def _submit(
        self, name: str, message: pod_messages.Run | pod_messages.Notify, message_id: str
    ) -> None:
        asked: list[str] = []

        async def act() -> None:
            async with self.pod(name) as (pod_id, rpc):
                asked.append(pod_id)
                sent = self.ledger.submission(pod_id, message_id)
                try:
                    if isinstance(message, pod_messages.Run):
                        answer = await rpc.request(message, timeout_seconds=REQUEST_SECONDS)
                        sent.answers.append((answer.state, answer.turn, answer.position))
                    else:
                        noted = await rpc.request(message, timeout_seconds=REQUEST_SECONDS)
                        sent.answers.append((noted.state, noted.turn, None))
                except (NotConnected, TimedOut):
                    raise
                except PodsError as error:
                    sent.refused.append(error.CODE)
                    raise

        def doubt() -> None:
            if asked:
                self.ledger.submission(asked[-1], message_id).doubtful = True

        await self.insist(act, doubt)

    async def _withdraw(self, step: plan.Withdraw) -> None:
        async def act() -> None:
            async with self.pod(step.name) as (pod_id, rpc):
                await rpc.request(
                    pod_messages.Withdraw(message_id=step.message_id),
                    timeout_seconds=REQUEST_SECONDS,
                )
                self.ledger.withdrawn.add((pod_id, step.message_id))

        await self.insist(act, _no_doubt)

    def _kill(self, role: str) -> None:
        kind, _, name = role.partition(":")
        if name:
            ids = {one for one, called in self.ledger.names.items() if called == name}
            there = self.world.pid_of(f"pods-{kind}: ")
            pids = [pid for pid in there if self.world.pod_of(pid) in ids]
        elif kind == "launcher":
            pids = self.world.pid_of("pods-launcher: ")
        else:
            pids = self.world.pid_of("pods.supervisor")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    # Subscribers --------------------------------------------------------------------------------

    async def _follow(self, pod_id: str, socket: str, token: str) -> None:
        """Get every event of a pod as it comes, again where the connection broke."""

        def notified(method: str, params: Any) -> None:
            if method == "event" and isinstance(params, Event):
                self.ledger.saw(pod_id, to_json(params))

        while pod_id not in self.ended:
            since = len(self.ledger.seen.get(pod_id, ()))
            try:
                async with _connected(socket, POD_API, token, notified) as (_, rpc):
                    await rpc.request(
                        pod_messages.Subscribe(since=since), timeout_seconds=REQUEST_SECONDS
                    )
                    await rpc.closed.wait()
            except (PodsError, OSError):
                pass
            await trio.sleep(FOLLOW_PAUSE_SECONDS)


@asynccontextmanager
async def _connected(
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


def _no_doubt() -> None:
    """Nothing to note: repeating it is harmless."""
