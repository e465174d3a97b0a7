"""The client on trio: a supervisor's requests as methods, pods as handles.

Owns the way to a supervisor, and what a client asks to be done to pods; `talking` has the rest of
it. Decides nothing that servers decide. `sync` is a facade over this; there is no second
implementation. Used by programs, the tools and embedded supervisors.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, Unpack

import trio

from pods.client.address import Address, find_address
from pods.client.arguments import ScopePath, SpawnOptions, check_seconds, rules, spawn_request
from pods.client.open import START_ATTEMPTS
from pods.client.plain_connect import read_token
from pods.client.pod_handle import Pod
from pods.client.session import Session
from pods.client.stream import EventStream
from pods.client.supervisor_link import Opening
from pods.client.talking import Talking
from pods.rpc.client import RpcClient, open_rpc
from pods_protocol.bounds import (
    DEFAULT_GRACE_SECONDS,
)
from pods_protocol.errors import NotConnected
from pods_protocol.order import tree_order
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import (
    CheckScope,
    CheckScopeResult,
    Doctor,
    DoctorResult,
    InspectPod,
    InspectPodResult,
    ListPods,
    ListPodsResult,
    PausePod,
    PausePodResult,
    PrunePods,
    PrunePodsResult,
    RemovePod,
    RemovePodResult,
    RestorePod,
    ResumePod,
    ResumePodResult,
    ScopeHolder,
    ShowScopes,
    ShutdownSupervisor,
    ShutdownSupervisorResult,
    StopPod,
    StopPodResult,
)
from pods_protocol.values import PodInfo, StopMode

MESSAGE_ID_BYTES: Final = 8
"""Of an id that this client makes up: no two of one pod's are alike."""

__all__ = [
    "connect",
    "connect_socket",
    "open_client",
    "EventStream",
    "Pod",
    "PodsClient",
    "ScopePath",
    "Session",
]


@asynccontextmanager
async def connect(
    supervisor: str | None = None,
    *,
    start: bool = True,
    environ: Mapping[str, str] | None = None,
    client: str = "",
) -> AsyncGenerator[PodsClient, None]:
    """A client of the user's supervisor, for the length of the block.

    Args:
        supervisor: its name; None takes what the environment says: in a pod with `call_back` that
            pod's own authority, else `PODS_SUPERVISOR`, else `default`.
        start: start it if none runs.
        environ: the environment to go by; None is the process's own.
        client: what to be called in the supervisor's log.

    Raises:
        NotConnected: none runs, and it is not to be started.
        StartFailed: it did not come up.
    """
    environment = os.environ if environ is None else environ
    address = find_address(environment, supervisor)
    opening = partial(_reach, address, environment, start=start, client=client)
    async with opening() as rpc, open_client(rpc, opening) as opened:
        yield opened


@asynccontextmanager
async def connect_socket(
    path: str, token: str, *, client: str = ""
) -> AsyncGenerator[PodsClient, None]:
    """A client of the supervisor at `path`, with this authority.

    Raises:
        NotConnected, NotAuthorized, TimedOut: it did not come about.
    """
    opening = partial(open_rpc, path, SUPERVISOR_API, token=token, client=client)
    async with opening() as rpc, open_client(rpc, opening) as opened:
        yield opened


@asynccontextmanager
async def open_client(
    rpc: RpcClient, opening: Opening | None = None
) -> AsyncGenerator[PodsClient, None]:
    """A client over a connection that has said hello; the connection stays the caller's.

    Args:
        rpc: the connection.
        opening: opens another one, for what may be asked again where this one breaks.
    """
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        opened = PodsClient(rpc, nursery, opening)
        try:
            yield opened
        except BaseException as error:
            # Carried past the nursery, which would wrap it in a group.
            failure = error
        finally:
            opened.close()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _reach(
    address: Address, environment: Mapping[str, str], *, start: bool, client: str
) -> AsyncGenerator[RpcClient, None]:
    """A connection that has said hello to a supervisor, which is started where it has to be."""
    async with AsyncExitStack() as stack:
        for _ in range(START_ATTEMPTS - 1):
            try:
                rpc = await stack.enter_async_context(_open(address, client))
            except NotConnected:
                if address.places is None or not start:
                    raise
            else:
                break
            from pods.client.start import start_supervisor  # filelock: needed once in a while

            await trio.to_thread.run_sync(start_supervisor, address.places, environment)
        else:
            rpc = await stack.enter_async_context(_open(address, client))
        yield rpc


def _open(address: Address, client: str) -> AbstractAsyncContextManager[RpcClient]:
    token = read_token(address.token_file)
    return open_rpc(address.socket, SUPERVISOR_API, token=token, client=client)


class PodsClient(Talking):
    """What a program can ask of its supervisor; made by `connect`.

    A pod is named by its name or by a beginning of its id that fits no other.
    """

    def __repr__(self) -> str:
        return f"PodsClient(closed={self._closed})"

    async def spawn(self, name: str, **options: Unpack[SpawnOptions]) -> Pod:
        """Start a pod; with `prompt`, its first message has been accepted on return.

        Raises:
            InvalidName, NameTaken, InvalidScope, ScopeConflict, ScopeNotDelegable,
            CapacityReached, AgentError, StartFailed, NotEnforceable: nothing was left behind.
        """
        answer = await self.request(spawn_request(name, options))
        return Pod(self, answer.pod.name, spawned=answer)

    def pod(self, name: str) -> Pod:
        """A handle for a pod; nothing is asked yet."""
        return Pod(self, name)

    def session(
        self, name: str, *, remove: bool = False, **options: Unpack[SpawnOptions]
    ) -> Session:
        """A pod for the length of an `async with` block, which stops it.

        Args:
            name: of the pod.
            remove: also delete its journal at the end.
            options: as for `spawn`.
        """
        return Session(self, name, options, remove=remove)

    async def list(self, *, ended: bool = True, reader: str | None = None) -> ListPodsResult:
        """All the pods, parents before children; fetched in as many pages as it takes."""
        rows: list[PodInfo] = []
        after: str | None = None
        while True:
            page = await self.request(ListPods(ended=ended, reader=reader, after=after))
            rows += page.pods
            after = page.next
            if after is None:
                break
        ordered = tree_order(rows, lambda row: (row.id, row.parent_id))
        return ListPodsResult(pods=tuple(ordered), capacity=page.capacity)

    async def inspect(self, pod: str) -> InspectPodResult:
        """Everything known of a pod.

        Raises:
            UnknownPod: no such pod.
        """
        return await self.request(InspectPod(pod=pod))

    async def stop(
        self,
        pod: str,
        *,
        mode: StopMode = "now",
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        message_id: str | None = None,
    ) -> StopPodResult:
        """Stop a pod; on return its processes are gone and its scope is free. Idempotent.

        With a `message_id`, whoever asks again gets the answer of the first time. It goes on where
        the supervisor is killed, as `wait` does.

        Raises:
            UnknownPod: no such pod.
        """
        request = StopPod(
            pod=pod,
            mode=mode,
            grace_seconds=grace_seconds,
            message_id=secrets.token_hex(MESSAGE_ID_BYTES) if message_id is None else message_id,
        )
        return await self._stop(request)

    async def restore(
        self, pod: str, *, prompt: str | None = None, env: Mapping[str, str] | None = None
    ) -> Pod:
        """Start an ended pod again on its own journal; same name, id and scope.

        Args:
            pod: which.
            prompt: its next message; accepted on return.
            env: the values of the variables that it was spawned with.

        Raises:
            UnknownPod, PodRunning: there is no ended pod of that name.
            ScopeConflict, ScopeNotDelegable: another holds its scope now.
            InvalidParams, CapacityReached, AgentError, StartFailed, NotEnforceable: it stays ended.
        """
        answer = await self.request(RestorePod(pod=pod, prompt=prompt, env=dict(env or {})))
        return Pod(self, answer.pod.name, spawned=answer)

    async def pause(self, pod: str) -> PausePodResult:
        """Pause a pod: its agent holds its turn, or all its processes are stopped. Idempotent.

        Raises:
            UnknownPod: no such pod.
            PodEnded: it has ended or is being stopped.
        """
        return await self.request(PausePod(pod=pod))

    async def resume(self, pod: str) -> ResumePodResult:
        """Let a paused pod go on. Idempotent.

        Raises:
            UnknownPod: no such pod.
            PodEnded: it has ended or is being stopped.
        """
        return await self.request(ResumePod(pod=pod))

    async def remove(self, pod: str) -> RemovePodResult:
        """Forget an ended pod and delete its journal.

        Raises:
            PodRunning: stop it first.
            UnknownPod: no such pod.
        """
        return await self.request(RemovePod(pod=pod))

    async def prune(self, older_than_seconds: float, *, force: bool = False) -> PrunePodsResult:
        """Remove pods that ended long ago; without `force` only a report."""
        check_seconds(older_than_seconds, "older_than_seconds")
        return await self.request(PrunePods(older_than_seconds=older_than_seconds, force=force))

    async def scopes(self, pod: str | None = None) -> tuple[ScopeHolder, ...]:
        """Who holds what."""
        return (await self.request(ShowScopes(pod=pod))).holders

    async def check_scope(
        self, *, write: Iterable[ScopePath] = (), read: Iterable[ScopePath] = ()
    ) -> CheckScopeResult:
        """Whether a spawn with these paths would be granted now; changes nothing."""
        return await self.request(CheckScope(allow=rules(write, "write") + rules(read, "read")))

    async def doctor(self, *, fix: bool = False) -> DoctorResult:
        """What runs, who enforces scopes, what is wrong; with `fix`, mend it where that is safe."""
        return await self.request(Doctor(fix=fix))

    async def shutdown(
        self, *, stop_pods: bool = False, grace_seconds: float = DEFAULT_GRACE_SECONDS
    ) -> ShutdownSupervisorResult:
        """End the supervisor.

        Raises:
            PodRunning: pods live and `stop_pods` is not set.
        """
        return await self.request(
            ShutdownSupervisor(stop_pods=stop_pods, grace_seconds=grace_seconds)
        )
