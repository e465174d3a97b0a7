"""Pods in the test's own process, on real sockets and real journals, and what to wait for in them.

`PodFixture` is one pod: `start` serves it in a nursery, `client` connects. `MachineRig` is the pure
machine with the journal's part played by a fold.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import trio

from pods.agents.base import Agent
from pods.agents.loading import FunctionAgent
from pods.agents.turn import Turn
from pods.journal.files import SystemFiles
from pods.journal.fold import PodFold
from pods.journal.retention import KEEP_ALL, Retention
from pods.journal.store import Journal
from pods.pod.main import serve_pod
from pods.pod.server import PodServer
from pods.pod.stimuli import Decision, Opened, Stimulus
from pods.pod.turns import TurnMachine
from pods.rpc.client import RpcClient, open_rpc
from pods.rpc.unix import bind_unix
from pods_protocol.api import POD_API
from pods_protocol.errors import PodsError
from pods_protocol.events import Event
from pods_protocol.pod_messages import Run, Subscribe, WaitFor, WaitForResult
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import Limits, ScopeGrant, ScopeRule

TOKEN = "the-pod's-token"
WAIT_SECONDS = 30.0
"""Every wait in these tests; the machine is shared, and a fault shows as `TooSlowError`."""

OPENED = Opened(agent="echo", name="worker", pid=1)


class MachineRig:
    """A machine whose decisions are taken at their word at once."""

    def __init__(
        self,
        *,
        max_queue_length: int = 50,
        fold: PodFold | None = None,
        can_hold: bool = False,
        max_turns: int | None = None,
    ) -> None:
        self.fold = PodFold() if fold is None else fold
        ids = itertools.count(1)
        prefix = f"r{self.fold.last_seq}-" if self.fold.last_seq else "m"
        self.machine = TurnMachine(
            self.fold,
            new_id=lambda: f"{prefix}{next(ids)}",
            max_queue_length=max_queue_length,
            can_hold=can_hold,
            max_turns=max_turns,
        )
        self.events: list[Event] = []

    def give(self, stimulus: Stimulus) -> Decision:
        """Decide, and apply the events to the fold."""
        decision = self.machine.decide(stimulus)
        for kind, data, turn in decision.events:
            event = Event(
                seq=self.fold.last_seq + 1, time=float(len(self.events)), turn=turn, type=kind,
                data=data,
            )  # fmt: skip
            self.events.append(event)
            self.fold.apply(event)
        if isinstance(stimulus, Opened):
            self.machine.opened()
        return decision

    def reply(self, stimulus: Stimulus) -> Any:
        """As `give`, for what the asker gets; an error is raised."""
        reply = self.give(stimulus).reply
        if isinstance(reply, PodsError):
            raise reply
        return reply

    def kinds(self, since: int = 0) -> list[str]:
        """The kinds of the events after a seq."""
        return [event.type for event in self.events if event.seq > since]


def opened_rig(**options: Any) -> MachineRig:
    """A machine that has taken over an empty journal."""
    rig = MachineRig(**options)
    rig.give(OPENED)
    return rig


class FailingDisk(SystemFiles):
    """A disk that refuses to be written while `full`."""

    full = False

    def write(self, descriptor: int, data: Any, offset: int, /) -> int:
        """Write, or refuse."""
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(descriptor, data, offset)


def make_spec(directory: str, agent: str = "echo", **changes: Any) -> PodSpec:
    """A spec whose places are all below `directory`."""
    spec = PodSpec(
        id="0123456789ab",
        name="worker",
        agent=agent,
        parent=None,
        cwd=directory,
        grant=ScopeGrant(
            allow=(
                ScopeRule(target=directory, permission="write"),
                ScopeRule(target="/usr", permission="read"),
            )
        ),
        limits=Limits(),
        python=sys.executable,
        call_back=False,
        supervisor="default",
        supervisor_socket=f"{directory}/s",
        pod_socket=f"{directory}/pod",
        keeper_socket=f"{directory}/keeper",
        state_directory=f"{directory}/state",
        runtime_directory=f"{directory}/run",
        token=TOKEN,
        owner_digest="",
    )
    return attrs.evolve(spec, **changes)


TurnFunction = Callable[[Turn], Awaitable[Any]]


def _as_agent(given: Any) -> Agent:
    return cast("Agent", given) if hasattr(given, "run_turn") else FunctionAgent(given)


class PodFixture:
    """One pod, served in the test's process.

    Args:
        directory: short and private.
        agent: an agent, or a coroutine function that takes a turn.
        retention: what its journal keeps.
        tells: where it tells of its turns.
    """

    def __init__(
        self,
        directory: str,
        agent: Agent | TurnFunction,
        retention: Retention = KEEP_ALL,
        tells: socket.socket | None = None,
        **spec: Any,
    ) -> None:
        self.retention = retention
        self.tells = tells
        self.spec = make_spec(directory, **spec)
        os.makedirs(self.spec.state_directory, exist_ok=True)
        os.makedirs(self.spec.runtime_directory, exist_ok=True)
        self.agent = _as_agent(agent)
        self.disk = FailingDisk()
        self.log: list[str] = []
        self.complained = trio.Event()
        """Set with the first line of the log."""
        self.journal: Journal | None = None
        self.server: PodServer | None = None
        self.ended = trio.Event()

    def _note(self, line: str) -> None:
        self.log.append(line)
        self.complained.set()

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the pod until it ends."""
        listener: socket.socket = bind_unix(self.spec.pod_socket)
        with (
            listener,
            Journal.open(
                f"{self.spec.state_directory}/journal",
                file_operations=self.disk,
                retention=self.retention,
            ) as journal,
        ):
            self.journal = journal
            self.server = PodServer(self.spec, journal, self.agent, self._note, self.tells)
            commands = self.server.take_over()

            async def serve(nursery: trio.Nursery) -> None:
                assert self.server is not None
                await nursery.start(serve_pod, self.spec, listener, self.server)
                task_status.started()

            try:
                await self.server.live(serve, commands)
            finally:
                os.unlink(self.spec.pod_socket)
                self.ended.set()

    def events(self) -> list[Event]:
        """What the journal holds now."""
        from pods.journal.reader import iterate

        return list(iterate(f"{self.spec.state_directory}/journal"))

    def kinds(self) -> list[str]:
        """The kinds of those."""
        return [event.type for event in self.events()]

    def texts(self) -> str:
        """All that the agent said."""
        return "".join(
            event.data["text"] for event in self.events() if event.type in ("text", "text_delta")
        )

    def ends(self) -> list[dict[str, Any]]:
        """The data of every `turn_ended`."""
        return [event.data for event in self.events() if event.type == "turn_ended"]


@asynccontextmanager
async def living_pod(
    directory: str, agent: Agent | TurnFunction, **spec: Any
) -> AsyncGenerator[PodFixture, None]:
    """A pod that lives for the length of the block; what it raises comes out."""
    pod = PodFixture(directory, agent, **spec)
    async with trio.open_nursery() as nursery:
        await nursery.start(pod.live)
        with trio.fail_after(WAIT_SECONDS):
            yield pod
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(
    pod: PodFixture, *, events: list[Event] | None = None, token: str = TOKEN
) -> AsyncGenerator[RpcClient, None]:
    """A client of the pod; with `events`, subscribed to everything."""

    def take(_: str, event: Any) -> None:
        assert events is not None
        events.append(event)

    async with open_rpc(pod.spec.pod_socket, POD_API, token=token, on_notification=take) as client:
        if events is not None:
            await client.request(Subscribe())
        yield client


async def until_idle(client: RpcClient) -> WaitForResult:
    """Wait for the end of all turns."""
    result = await client.request(WaitFor(until="idle", timeout_seconds=WAIT_SECONDS))
    assert result.reached, result
    return result


async def until(condition: Callable[[], bool], pod: PodFixture) -> None:
    """Wait for something that comes with an event of the pod."""
    assert pod.journal is not None
    while not condition():
        changed = trio.Event()

        def wake(_: Sequence[Event], __: Sequence[bytes], changed: trio.Event = changed) -> None:
            changed.set()

        pod.journal.on_append.append(wake)
        try:
            await changed.wait()
        finally:
            pod.journal.on_append.remove(wake)


async def one_turn(
    directory: str, agent: Agent | TurnFunction, message: str = "x", **spec: Any
) -> PodFixture:
    """The pod after one turn."""
    async with living_pod(directory, agent, **spec) as pod, connected(pod) as client:
        await client.request(Run(input=message))
        await until_idle(client)
    return pod


def only(pod: PodFixture, kind: str) -> list[Event]:
    """The events of a kind."""
    return [event for event in pod.events() if event.type == kind]


def data(pod: PodFixture, kind: str) -> list[dict[str, Any]]:
    """What the events of a kind carry."""
    return [event.data for event in only(pod, kind)]
