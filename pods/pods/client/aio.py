"""The client on trio: a supervisor's requests as methods, pods as handles.

Owns the connection to the supervisor and what hangs on it. Decides nothing that servers decide.
`sync` is a facade over this; there is no second implementation. Used by programs, the tools and
embedded supervisors.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar, Unpack

import trio

from pods.client.address import Address, find_address
from pods.client.arguments import ScopePath, SpawnOptions, rules, spawn_request
from pods.client.connections import PodConnections
from pods.client.open import START_ATTEMPTS
from pods.client.plain import ANSWER_SECONDS, read_token
from pods.client.pod_handle import Pod
from pods.client.session import Session
from pods.client.stream import EventStream
from pods.rpc.client import RpcClient, open_rpc
from pods_protocol.bounds import (
    DEFAULT_GRACE_SECONDS,
    DEFAULT_READ_BYTES,
    DEFAULT_READ_LIMIT,
    MAX_WAIT_SECONDS,
)
from pods_protocol.errors import ClientClosed, NotConnected, PodEnded, PodPaused
from pods_protocol.events import ASSISTANT_TEXT_KINDS
from pods_protocol.order import tree_order
from pods_protocol.pod_messages import (
    Notify,
    NotifyResult,
    Request,
    Run,
    RunResult,
    Withdraw,
)
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import (
    AdvanceCursor,
    CheckScope,
    CheckScopeResult,
    Doctor,
    DoctorResult,
    InspectPod,
    InspectPodResult,
    ListPods,
    ListPodsResult,
    NotifyPod,
    PausePod,
    PausePodResult,
    PrunePods,
    PrunePodsResult,
    ReadOutput,
    ReadOutputResult,
    RemovePod,
    RemovePodResult,
    RestorePod,
    ResumePod,
    ResumePodResult,
    ScopeHolder,
    SendMessage,
    ShowScopes,
    ShutdownSupervisor,
    ShutdownSupervisorResult,
    StopPod,
    StopPodResult,
    WaitPods,
    WaitPodsResult,
    WithdrawMessage,
)
from pods_protocol.values import IfBusy, PodInfo, StopMode, WaitUntil

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

R = TypeVar("R")

BURIAL_SECONDS: Final = 10.0
"""How long a supervisor may take to notice that a pod is gone whose connection broke."""

MAX_READ_TEXT_BYTES: Final = 64 * 1024 * 1024
"""Text of one `read_text`; with more there, the next call goes on."""


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
    async with AsyncExitStack() as stack:
        for _ in range(START_ATTEMPTS - 1):
            try:
                opened = await stack.enter_async_context(_open(address, client))
            except NotConnected:
                if address.places is None or not start:
                    raise
            else:
                break
            from pods.client.start import start_supervisor  # filelock: needed once in a while

            await trio.to_thread.run_sync(start_supervisor, address.places, environment)
        else:
            opened = await stack.enter_async_context(_open(address, client))
        yield opened


@asynccontextmanager
async def connect_socket(
    path: str, token: str, *, client: str = ""
) -> AsyncGenerator[PodsClient, None]:
    """A client of the supervisor at `path`, with this authority.

    Raises:
        NotConnected, NotAuthorized, TimedOut: it did not come about.
    """
    async with (
        open_rpc(path, SUPERVISOR_API, token=token, client=client) as rpc,
        open_client(rpc) as opened,
    ):
        yield opened


@asynccontextmanager
async def open_client(rpc: RpcClient) -> AsyncGenerator[PodsClient, None]:
    """A client over a connection that has said hello; the connection stays the caller's."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        opened = PodsClient(rpc, nursery)
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
async def _open(address: Address, client: str) -> AsyncGenerator[PodsClient, None]:
    async with connect_socket(
        address.socket, read_token(address.token_file), client=client
    ) as opened:
        yield opened


class PodsClient:
    """What a program can ask of its supervisor; made by `connect`.

    A pod is named by its name or by a beginning of its id that fits no other.
    """

    def __init__(self, rpc: RpcClient, nursery: trio.Nursery) -> None:
        self._rpc = rpc
        self._connections = PodConnections(rpc, nursery)
        self._closed = False

    def __repr__(self) -> str:
        return f"PodsClient(closed={self._closed})"

    def close(self) -> None:
        """Refuse what comes after; the block that made the client closes its connections."""
        self._closed = True

    async def request(self, message: Request[R]) -> R:
        """Ask the supervisor anything it answers.

        Raises:
            PodsError: its refusal; NotConnected; TimedOut; ClientClosed.
        """
        self._check_open()
        return await self._rpc.request(message, timeout_seconds=_patience(message))

    async def ask(self, pod: str, message: Request[R]) -> R:
        """Ask a pod anything it answers, over a connection of its own.

        Raises:
            PodEnded: it has ended.
            PodsError: its refusal; UnknownPod; NotConnected; TimedOut; ClientClosed.
        """
        self._check_open()
        return await self._connections.request(pod, message, timeout_seconds=_patience(message))

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("cannot ask: this client was closed; connect again")

    # Pods

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

        With a `message_id`, whoever asks again gets the answer of the first time.

        Raises:
            UnknownPod: no such pod.
        """
        return await self.request(
            StopPod(pod=pod, mode=mode, grace_seconds=grace_seconds, message_id=message_id)
        )

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

    async def notify(
        self, pod: str, message: str, *, wake: bool = False, message_id: str | None = None
    ) -> NotifyResult:
        """Tell a pod something with its next message; `wake` starts a turn if it is idle.

        Raises:
            QueueFull, UnknownPod, PodEnded, TooLarge.
        """
        try:
            return await self.ask(pod, Notify(message=message, wake=wake, message_id=message_id))
        except (PodEnded, PodPaused) as error:
            if isinstance(error, PodEnded) and message_id is None:
                raise
            return await self.request(
                NotifyPod(pod=pod, message=message, wake=wake, message_id=message_id)
            )

    async def withdraw(self, pod: str, message_id: str) -> None:
        """Take a queued message back.

        Raises:
            UnknownMessage: it is not queued (any more).
            UnknownPod, PodEnded.
        """
        try:
            await self.ask(pod, Withdraw(message_id=message_id))
        except PodPaused:
            await self.request(WithdrawMessage(pod=pod, message_id=message_id))

    async def remove(self, pod: str) -> RemovePodResult:
        """Forget an ended pod and delete its journal.

        Raises:
            PodRunning: stop it first.
            UnknownPod: no such pod.
        """
        return await self.request(RemovePod(pod=pod))

    async def prune(self, older_than_seconds: float, *, force: bool = False) -> PrunePodsResult:
        """Remove pods that ended long ago; without `force` only a report."""
        return await self.request(PrunePods(older_than_seconds=older_than_seconds, force=force))

    # Talking

    async def send(
        self,
        pod: str,
        message: str | Run,
        *,
        if_busy: IfBusy = "fail",
        message_id: str | None = None,
    ) -> RunResult:
        """Give a pod a message; on return it is on disk and has one fate.

        Args:
            pod: which.
            message: the text, or the whole request.
            if_busy: what to do while a turn runs; ignored where `message` says it.
            message_id: idempotency key; ignored where `message` says it.

        Raises:
            AlreadyRunning: busy, and `if_busy` is `fail`.
            PodPaused: paused, and `if_busy` is not `queue`.
            QueueFull, UnknownPod, PodEnded, TooLarge.
        """
        if isinstance(message, str):
            message = Run(input=message, if_busy=if_busy, message_id=message_id)
        try:
            return await self.ask(pod, message)
        except (PodEnded, PodPaused) as error:
            if isinstance(error, PodEnded) and message.message_id is None:
                raise
            # It does not answer itself; its supervisor knows what it had accepted, and queues.
            return await self.request(
                SendMessage(
                    pod=pod,
                    input=message.input,
                    if_busy=message.if_busy,
                    message_id=message.message_id,
                    sender=message.sender,
                )
            )

    async def read(
        self,
        pod: str,
        *,
        since: int | None = None,
        reader: str | None = None,
        kinds: Iterable[str] = (),
        limit: int = DEFAULT_READ_LIMIT,
        max_bytes: int = DEFAULT_READ_BYTES,
        wait_seconds: float = 0.0,
    ) -> ReadOutputResult:
        """A page of a pod's events, alive or ended; the reader's cursor stays where it is.

        Raises:
            UnknownPod: no such pod.
        """
        return await self.request(
            ReadOutput(
                pod=pod,
                since=since,
                reader=reader,
                kinds=tuple(kinds),
                limit=limit,
                max_bytes=max_bytes,
                wait_seconds=wait_seconds,
            )
        )

    async def advance(self, pod: str, seq: int, *, reader: str | None = None) -> None:
        """Say that what was read up to `seq` is safe; the next `read` goes on from there."""
        await self.request(AdvanceCursor(pod=pod, seq=seq, reader=reader))

    async def read_text(
        self, pod: str, *, since: int | None = None, reader: str | None = None
    ) -> str:
        """What the agent said since the last call, alive or ended.

        Args:
            pod: which.
            since: a cursor; None goes on from the reader's, and moves it.
            reader: whose cursor; None is this client's own.

        Raises:
            UnknownPod: no such pod.
        """
        pieces: list[str] = []
        held = 0
        cursor = since
        while True:
            page = await self.read(pod, since=cursor, reader=reader, kinds=ASSISTANT_TEXT_KINDS)
            pieces += [str(event.data["text"]) for event in page.events]
            held += sum(map(len, pieces[-len(page.events) :])) if page.events else 0
            cursor = page.next
            if not page.truncated or held >= MAX_READ_TEXT_BYTES:
                break
        if since is None:
            await self.advance(pod, cursor, reader=reader)
        return "".join(pieces)

    def events(self, pod: str, *, since: int = 0, kinds: Iterable[str] = ()) -> EventStream:
        """A pod's events from `since` on, as they come, to the pod's end: no gap, no repeat.

        `async for event in client.events("api")`; close it with `aclose` or `async with`.
        """
        self._check_open()
        wanted = tuple(kinds)

        async def read_journal(cursor: int) -> ReadOutputResult:
            return await self.read(pod, since=cursor, kinds=wanted)

        async def has_ended() -> bool:
            answer = await self.request(
                WaitPods(pods=(pod,), until="ended", timeout_seconds=BURIAL_SECONDS)
            )
            return not answer.timed_out

        return EventStream(
            self._connections,
            pod,
            since=since,
            kinds=wanted,
            read_journal=read_journal,
            has_ended=has_ended,
        )

    async def wait(
        self,
        *pods: str,
        until: WaitUntil = "idle",
        any_of_them: bool = False,
        timeout_seconds: float | None = None,
    ) -> WaitPodsResult:
        """Wait for pods; what is already so counts, and an ended pod is no longer waited for.

        Args:
            pods: which.
            until: `idle`, `ended` or `question`.
            any_of_them: one is enough.
            timeout_seconds: then `timed_out` is set; None waits for ever.

        Raises:
            UnknownPod: no such pod.
        """
        deadline = trio.current_time() + (
            float("inf") if timeout_seconds is None else timeout_seconds
        )
        while True:
            left = min(MAX_WAIT_SECONDS, max(0.0, deadline - trio.current_time()))
            answer = await self.request(
                WaitPods(
                    pods=pods,
                    mode="any" if any_of_them else "all",
                    until=until,
                    timeout_seconds=left,
                )
            )
            if not answer.timed_out or trio.current_time() >= deadline:
                return answer

    # The supervisor

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


def _patience(message: Request[Any]) -> float:
    """Seconds that an answer may take: what the request itself waits for, and some more."""
    seconds = ANSWER_SECONDS
    seconds += float(getattr(message, "timeout_seconds", 0.0))
    seconds += float(getattr(message, "wait_seconds", 0.0))
    # A stop has three steps with a grace each; one that lets a turn finish takes as long as that.
    seconds += 3 * float(getattr(message, "grace_seconds", 0.0))
    if isinstance(message, StopPod) and message.mode == "finish":
        seconds += MAX_WAIT_SECONDS
    return seconds
