"""The supervisor's way to its launcher: found alive or started, asked, listened to.

Owns the one connection to the launcher and the launcher's word on which keepers have ended: the
only proof that a pod whose keeper was killed has left nothing. `own_launcher` has the process,
where this supervisor started it. Knows nothing of pods beyond their ids. Used by spawn, rollback,
stop, adoption.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any, Final, NamedTuple

import trio

from pods.restarts import LASTING_SECONDS, pause_before
from pods.rpc.client import RpcClient, connect_within
from pods.rpc.stream import UnixStream
from pods.scope.doors import OPEN
from pods.scope.identity import identify
from pods.supervisor.head_start import HeadStart
from pods.supervisor.log import Log
from pods.supervisor.options import Options
from pods.supervisor.own_launcher import OwnLauncher
from pods.supervisor.processes import signal_process, wait_process_gone
from pods_protocol.api import LAUNCHER_API
from pods_protocol.bounds import HELLO_SECONDS
from pods_protocol.errors import NotConnected, PodRunning, PodsError, StartFailed, TimedOut
from pods_protocol.process_messages import (
    KeeperEnded,
    KillKeeper,
    LaunchPod,
    ListKeepers,
    PodSpec,
    ProbeEnforcement,
    ShutdownLauncher,
)
from pods_protocol.values import Doors, Enforcement, ProcessIdentity, ScopeGrant

REQUEST_SECONDS: Final = 10.0
"""The launcher answers between two forks of a few milliseconds each."""

PATIENCE_SECONDS: Final = 0.5
LONGEST_PATIENCE_SECONDS: Final = 30.0
"""How long an end that is due is waited for before the launcher is looked at, each time twice the
one before. It clears what a keeper left in milliseconds, and is stopped where it does not."""

ANSWER_SECONDS: Final = 5.0
"""Within which a launcher that was continued has to answer anything at all."""

MAX_UNCLAIMED_ENDS: Final = 4096
"""Ends that nobody has asked for yet; more pods than a supervisor may have at once."""


class Launched(NamedTuple):
    """A keeper that was forked, and the launcher that gets what it leaves if it is killed."""

    keeper: ProcessIdentity
    guardian: ProcessIdentity


class LauncherLink:
    """The connection, made again where the launcher had to be.

    Args:
        options: where the launcher listens and what it is started with.
        token: the supervisor's own.
        log: for what went wrong unasked.
        head_start: may have a launcher that was started before this supervisor had its imports.

    Attributes:
        identity: the launcher that was reached last.
        changed: set, and replaced, whenever one was reached: it may be another one.
    """

    def __init__(
        self,
        options: Options,
        token: str,
        log: Log,
        head_start: HeadStart | None = None,
    ) -> None:
        self._places = options.places
        self._token = token
        self._log = log
        self._rpc: RpcClient | None = None
        self._nursery: trio.Nursery | None = None
        self._own = OwnLauncher(options, HeadStart() if head_start is None else head_start)
        self._ends: dict[str, KeeperEnded] = {}
        self._expected: dict[str, trio.Event] = {}
        self._making = trio.Lock()
        self._waking = trio.Lock()
        self._ending = False
        self.identity: ProcessIdentity | None = None
        self.changed = trio.Event()

    @property
    def pid(self) -> int | None:
        """Of the launcher that was reached last."""
        return None if self.identity is None else self.identity.pid

    @property
    def connected(self) -> bool:
        """Whether the launcher is there."""
        return self._rpc is not None and not self._rpc.closed.is_set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connection's reader; ends by cancellation. Started once it is connected.

        Raises:
            StartFailed: the launcher does not come up.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.ensure()
            task_status.started()
            await self._keep_one()

    async def _keep_one(self) -> None:
        """Start another launcher where this one is killed: whoever spawns next need not wait."""
        in_a_row = 0
        while True:
            rpc, began = self._rpc, trio.current_time()
            assert rpc is not None, "there was one"
            await rpc.closed.wait()
            if self._ending:
                await trio.sleep_forever()
            in_a_row = 1 if trio.current_time() - began >= LASTING_SECONDS else in_a_row + 1
            await trio.sleep(pause_before(in_a_row, chance=0.0))
            try:
                await self.ensure()
            except PodsError as error:
                self._log(error.message)

    async def ensure(self) -> RpcClient:
        """The connection to a living launcher, started where there is none.

        Raises:
            StartFailed: it does not come up.
            TimedOut: it lives and does not answer. Another one beside it would not know its pods.
        """
        if self._rpc is not None and not self._rpc.closed.is_set():
            return self._rpc
        async with self._making:
            if self._rpc is not None and not self._rpc.closed.is_set():
                return self._rpc
            # Where one is on its way none was there; to find it already listening would be to miss
            # that it is ours to wait for.
            found = None if self._own.begun else await self._find()
            if found is not None:
                return found
            if self._ending:
                raise StartFailed(
                    "cannot start the launcher: the supervisor is ending; ask again, and a new one "
                    "is started",
                    step="launcher",
                    detail="ending",
                )
            try:
                await self._own.start()
            except StartFailed:
                # A supervisor that was killed may have started one, too, and that was faster.
                found = await self._find()
                if found is None:
                    raise
                return found
            self._rpc = await self._greet(await self._connect())
            return self._rpc

    async def _connect(self) -> UnixStream:
        return await connect_within(self._places.launcher_socket, "the launcher", HELLO_SECONDS)

    async def _find(self) -> RpcClient | None:
        """The connection to the launcher, made again where it broke; None where none lives."""
        if self._rpc is None or self._rpc.closed.is_set():
            try:
                stream = await self._connect()
            except NotConnected:
                return None
            # Whoever listens was noted by the kernel when it began to.
            try:
                with suppress(ProcessLookupError):
                    return await self._find_awake(stream, identify(stream.peer()[0]))
            except BaseException:
                stream.close()
                raise
            stream.close()
            return None
        return self._rpc

    async def _find_awake(self, stream: UnixStream, who: ProcessIdentity) -> RpcClient | None:
        """Greet a launcher that may be stopped: it is continued, and killed where that is vain."""
        greeted = trio.Event()
        assert self._nursery is not None
        self._nursery.start_soon(_continue_unless, greeted, who)
        try:
            self._rpc = await self._greet(stream)
        except TimedOut as error:
            self._log(f"the launcher, process {who.pid}, is killed: {error.message}")
            signal_process(who, signal.SIGKILL)
            await wait_process_gone(who)
            self._rpc = None
        except NotConnected:
            self._rpc = None  # it ended as it was reached
        finally:
            greeted.set()
        return self._rpc

    async def _greet(self, stream: UnixStream) -> RpcClient:
        rpc = RpcClient(stream, LAUNCHER_API, peer="the launcher", on_notification=self._notified)
        assert self._nursery is not None
        await self._nursery.start(rpc.run)
        try:
            self.identity = identify((await rpc.hello(self._token, client="supervisor")).pid)
        except ProcessLookupError as error:
            rpc.close()
            raise NotConnected(
                "cannot use the launcher: it ended as it was reached; ask again, and another is "
                "started",
                socket=self._places.launcher_socket,
            ) from error
        except BaseException:
            rpc.close()
            raise
        self.changed.set()
        self.changed = trio.Event()
        return rpc

    def _notified(self, method: str, params: Any) -> None:
        if method != "keeper_ended" or not isinstance(params, KeeperEnded):
            return
        event = self._expected.pop(params.id, None)
        if event is not None:
            event.set()
        self._ends.pop(params.id, None)  # the newest last: the oldest are forgotten first
        self._ends[params.id] = params
        while len(self._ends) > MAX_UNCLAIMED_ENDS:
            del self._ends[next(iter(self._ends))]

    async def launch(self, spec: PodSpec) -> Launched:
        """Fork a keeper and its pod; both sockets accept when this returns.

        A launcher that dies before it took the request up is followed by the next one, once.

        Raises:
            StartFailed: the launcher cannot.
            NotConnected: it died in the middle of it; there may be a keeper.
        """
        try:
            return await self._launch(spec)
        except NotConnected:
            # Nobody serves the request any more: its connection has ended.
            if _was_taken_up(spec):
                raise
        return await self._launch(spec)

    async def _launch(self, spec: PodSpec) -> Launched:
        rpc = await self.ensure()
        # Taken before the wait: afterwards another launcher may be there.
        guardian = self.identity
        assert guardian is not None, "it was greeted"
        launched = await rpc.request(LaunchPod(spec=spec), timeout_seconds=REQUEST_SECONDS)
        return Launched(keeper=launched.keeper, guardian=guardian)

    async def probe(
        self, grant: ScopeGrant, python: str | None, doors: Doors = OPEN
    ) -> Enforcement:
        """What the kernel would hold a pod with this grant to, tried in a child.

        A launcher that dies meanwhile is followed by the next one, once: a trial leaves nothing.

        Raises:
            StartFailed: such a pod could not start, or no launcher lives for as long as it takes.
        """
        request = ProbeEnforcement(grant=grant, python=python, doors=doors)
        for _ in range(2):
            rpc = await self.ensure()
            with suppress(NotConnected):
                return (await rpc.request(request, timeout_seconds=REQUEST_SECONDS)).enforcement
        raise StartFailed(
            "cannot try what the kernel holds a pod to: the launcher was killed at it, twice; ask "
            "again, and look into the supervisor's log",
            step="probe",
            detail="the launcher was killed",
        )

    async def keepers(self) -> dict[str, int]:
        """Keepers of pods that are not surely gone: pod id -> pid; behind launches asked before."""
        rpc = await self.ensure()
        return (await rpc.request(ListKeepers(), timeout_seconds=REQUEST_SECONDS)).keepers

    async def has(self, pod_id: str) -> bool:
        """Whether the launcher that is there will say, or has said, what became of a keeper.

        Raises:
            StartFailed, TimedOut: none is there.
        """
        while pod_id not in self._ends:
            with trio.move_on_after(PATIENCE_SECONDS):
                return pod_id in await self.keepers()
            await self._see_to(await self.ensure(), pod_id)
        return True

    async def kill_keeper(self, pid: int) -> None:
        """Kill one keeper and all below it; `wait_ended` tells when it is done."""
        rpc = await self.ensure()
        await rpc.request(KillKeeper(pid=pid), timeout_seconds=REQUEST_SECONDS)

    async def wait_ended(self, pod_id: str) -> KeeperEnded | None:
        """Wait until the launcher says that the keeper is gone and nothing of its pod is left.

        Returns:
            None where the launcher is not there any more to say it.
        """
        asked, patience = self.pid, PATIENCE_SECONDS
        while pod_id not in self._ends:
            rpc = self._rpc
            if rpc is None or rpc.closed.is_set() or self.pid != asked:
                return None
            event = self._expected.setdefault(pod_id, trio.Event())
            async with trio.open_nursery() as nursery:
                # Two events, no bytes: nothing is lost when one of the two waits is cancelled.
                nursery.start_soon(_set_when, rpc.closed, event)
                with trio.move_on_after(patience):
                    await event.wait()
                nursery.cancel_scope.cancel()
            if event.is_set():
                self._expected.pop(pod_id, None)
            else:
                patience = min(patience * 2, LONGEST_PATIENCE_SECONDS)
                await self._see_to(rpc, pod_id)
        return self._ends.get(pod_id)

    async def _see_to(self, rpc: RpcClient, pod_id: str) -> None:
        """An end is overdue: have the launcher go on, and kill it where it does not answer.

        Another one is started then. What this one was to clear it leaves to the pods' guards.
        """
        async with self._waking:  # many may wait for it at once, and one of them does this
            if pod_id in self._ends or rpc.closed.is_set() or self.identity is None:
                return
            who = self.identity
            signal_process(who, signal.SIGCONT)
            try:
                listed = await rpc.request(ListKeepers(), timeout_seconds=ANSWER_SECONDS)
            except PodsError as error:
                if not rpc.closed.is_set():
                    self._log(f"the launcher, process {who.pid}, is killed: {error.message}")
                    signal_process(who, signal.SIGKILL)
                    await rpc.closed.wait()
                return
            if pod_id not in listed.keepers and pod_id not in self._ends:
                # It has told of it before, and remembers only so many.
                self._ends[pod_id] = KeeperEnded(pid=0, id=pod_id, status=0, strays_killed=0)

    def forget(self, pod_id: str) -> None:
        """Nobody asks for this pod's end any more."""
        self._ends.pop(pod_id, None)

    async def shutdown(self) -> None:
        """End the launcher and wait for it, where this supervisor started it."""
        self._ending = True
        async with self._making:  # one that is just being started has to be ended, too
            await self._end()

    async def _end(self) -> None:
        try:
            # That a connection broke does not mean that the launcher has ended: look again.
            while (rpc := await self._find()) is not None:
                with suppress(PodRunning, NotConnected):
                    listed = await rpc.request(ListKeepers(), timeout_seconds=REQUEST_SECONDS)
                    for pod_id in listed.keepers:
                        await self.wait_ended(pod_id)  # dead, and not yet reaped
                    await rpc.request(ShutdownLauncher(), timeout_seconds=REQUEST_SECONDS)
                    await rpc.closed.wait()
                    if self.identity is not None:  # it may be the child of an earlier supervisor
                        await wait_process_gone(self.identity)
        except PodsError as error:
            self._log(f"the launcher does not end: {error.message}")
            return
        await self._own.reap()
        with suppress(FileNotFoundError):
            os.unlink(self._places.launcher_socket)


async def _continue_unless(greeted: trio.Event, who: ProcessIdentity) -> None:
    with trio.move_on_after(PATIENCE_SECONDS):
        await greeted.wait()
    if not greeted.is_set():
        signal_process(who, signal.SIGCONT)


async def _set_when(first: trio.Event, then: trio.Event) -> None:
    await first.wait()
    then.set()


def _was_taken_up(spec: PodSpec) -> bool:
    """Whether a launcher began with it: the sockets come before the fork."""
    return os.path.lexists(spec.pod_socket) or os.path.lexists(spec.keeper_socket)
