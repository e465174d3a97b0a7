"""The client for programs without an event loop: blocking methods over the trio client.

Owns no behaviour: each method hands its `aio` twin to a loop in a background thread and waits. One
client may be used by several threads. Ctrl-C cancels the call it interrupts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Never, TypeVar, Unpack

from pods.client import aio
from pods.client.arguments import ScopePath, SpawnOptions
from pods.client.portal import Portal
from pods.client.sync_pod import BlockingPod, BlockingSession, iterate
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.events import Event
from pods_protocol.pod_messages import NotifyResult, Request, Run, RunResult
from pods_protocol.supervisor_messages import (
    CheckScopeResult,
    DoctorResult,
    InspectPodResult,
    ListPodsResult,
    PausePodResult,
    PrunePodsResult,
    ReadOutputResult,
    RemovePodResult,
    ResumePodResult,
    ScopeHolder,
    ShutdownSupervisorResult,
    StopPodResult,
    WaitPodsResult,
)
from pods_protocol.values import IfBusy, StopMode, WaitUntil

__all__ = ["connect", "connect_socket", "BlockingClient", "BlockingPod", "BlockingSession"]

R = TypeVar("R")


def connect(
    supervisor: str | None = None,
    *,
    start: bool = True,
    environ: Mapping[str, str] | None = None,
    client: str = "",
) -> BlockingClient:
    """A client of the user's supervisor; close it, or use it with `with`.

    Args:
        supervisor: its name; None takes what the environment says.
        start: start it if none runs.
        environ: the environment to go by; None is the process's own.
        client: what to be called in the supervisor's log.

    Raises:
        NotConnected: none runs, and it is not to be started.
        StartFailed: it did not come up.
    """
    return BlockingClient(
        Portal(
            lambda: aio.connect(supervisor, start=start, environ=environ, client=client),
            "pods-client",
        )
    )


def connect_socket(path: str, token: str, *, client: str = "") -> BlockingClient:
    """A client of the supervisor at `path`, with this authority.

    Raises:
        NotConnected, NotAuthorized, TimedOut: it did not come about.
    """
    return BlockingClient(
        Portal(lambda: aio.connect_socket(path, token, client=client), "pods-client")
    )


class BlockingClient:
    """What a program can ask of its supervisor; made by `connect`. Methods are those of `aio`."""

    def __init__(self, portal: Portal[aio.PodsClient]) -> None:
        self._portal = portal
        self._aio = portal.open()

    def __repr__(self) -> str:
        return "BlockingClient()"

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        body: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except Exception as error:
            if body is None:
                raise
            body.add_note(f"and closing the client failed: {error}")

    async def __aenter__(self) -> Never:
        """Say what to use instead.

        Raises:
            TypeError: always.
        """
        self.close()
        raise TypeError(
            "cannot use a blocking client with `async with`: it would hold up the event loop; on "
            "trio use `async with pods.aio.connect()`, elsewhere `with pods.connect()`"
        )

    async def __aexit__(self, *_exc: object) -> None:
        """Never reached; without it `async with` would not come as far as `__aenter__`."""

    def close(self) -> None:
        """Close the connections and end the thread; again is nothing."""
        self._portal.close()

    def request(self, message: Request[R]) -> R:
        """Ask the supervisor anything it answers."""
        return self._portal.call(lambda: self._aio.request(message))

    def ask(self, pod: str, message: Request[R]) -> R:
        """Ask a pod anything it answers."""
        return self._portal.call(lambda: self._aio.ask(pod, message))

    def spawn(self, name: str, **options: Unpack[SpawnOptions]) -> BlockingPod:
        """Start a pod; with `prompt`, its first message has been accepted on return."""
        return BlockingPod(self._portal, self._portal.call(self._aio.spawn, name, **options))

    def pod(self, name: str) -> BlockingPod:
        """A handle for a pod; nothing is asked yet."""
        return BlockingPod(self._portal, self._aio.pod(name))

    def session(
        self, name: str, *, remove: bool = False, **options: Unpack[SpawnOptions]
    ) -> BlockingSession:
        """A pod for the length of a `with` block, which stops it."""
        return BlockingSession(self._portal, self._aio.session(name, remove=remove, **options))

    def list(self, *, ended: bool = True, reader: str | None = None) -> ListPodsResult:
        """The pods, parents before children."""
        return self._portal.call(self._aio.list, ended=ended, reader=reader)

    def inspect(self, pod: str) -> InspectPodResult:
        """Everything known of a pod."""
        return self._portal.call(self._aio.inspect, pod)

    def stop(
        self,
        pod: str,
        *,
        mode: StopMode = "now",
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        message_id: str | None = None,
    ) -> StopPodResult:
        """Stop a pod; idempotent."""
        return self._portal.call(
            self._aio.stop, pod, mode=mode, grace_seconds=grace_seconds, message_id=message_id
        )

    def restore(
        self, pod: str, *, prompt: str | None = None, env: Mapping[str, str] | None = None
    ) -> BlockingPod:
        """Start an ended pod again on its own journal; same name, id and scope."""
        restored = self._portal.call(self._aio.restore, pod, prompt=prompt, env=env)
        return BlockingPod(self._portal, restored)

    def pause(self, pod: str) -> PausePodResult:
        """Pause a pod; idempotent."""
        return self._portal.call(self._aio.pause, pod)

    def resume(self, pod: str) -> ResumePodResult:
        """Let a paused pod go on; idempotent."""
        return self._portal.call(self._aio.resume, pod)

    def notify(
        self, pod: str, message: str, *, wake: bool = False, message_id: str | None = None
    ) -> NotifyResult:
        """Tell a pod something with its next message; `wake` starts a turn if it is idle."""
        return self._portal.call(self._aio.notify, pod, message, wake=wake, message_id=message_id)

    def withdraw(self, pod: str, message_id: str) -> None:
        """Take a queued message back."""
        self._portal.call(self._aio.withdraw, pod, message_id)

    def remove(self, pod: str) -> RemovePodResult:
        """Forget an ended pod and delete its journal."""
        return self._portal.call(self._aio.remove, pod)

    def prune(self, older_than_seconds: float, *, force: bool = False) -> PrunePodsResult:
        """Remove pods that ended long ago; without `force` only a report."""
        return self._portal.call(self._aio.prune, older_than_seconds, force=force)

    def send(
        self,
        pod: str,
        message: str | Run,
        *,
        if_busy: IfBusy = "fail",
        message_id: str | None = None,
    ) -> RunResult:
        """Give a pod a message; on return it is on disk and has one fate."""
        return self._portal.call(
            self._aio.send, pod, message, if_busy=if_busy, message_id=message_id
        )

    def read(
        self,
        pod: str,
        *,
        since: int | None = None,
        reader: str | None = None,
        kinds: Iterable[str] = (),
        wait_seconds: float = 0.0,
    ) -> ReadOutputResult:
        """A page of a pod's events, alive or ended; the reader's cursor stays where it is."""
        return self._portal.call(
            self._aio.read,
            pod,
            since=since,
            reader=reader,
            kinds=kinds,
            wait_seconds=wait_seconds,
        )

    def advance(self, pod: str, seq: int, *, reader: str | None = None) -> None:
        """Say that what was read up to `seq` is safe."""
        self._portal.call(self._aio.advance, pod, seq, reader=reader)

    def read_text(self, pod: str, *, since: int | None = None, reader: str | None = None) -> str:
        """What the agent said since the last call, alive or ended."""
        return self._portal.call(self._aio.read_text, pod, since=since, reader=reader)

    def events(self, pod: str, *, since: int = 0, kinds: Iterable[str] = ()) -> Iterator[Event]:
        """A pod's events as they come, to its end: no gap, no repeat."""
        return iterate(self._portal, self._aio.events(pod, since=since, kinds=kinds))

    def wait(
        self,
        *pods: str,
        until: WaitUntil = "idle",
        any_of_them: bool = False,
        timeout_seconds: float | None = None,
    ) -> WaitPodsResult:
        """Wait for pods; what is already so counts."""
        return self._portal.call(
            self._aio.wait,
            *pods,
            until=until,
            any_of_them=any_of_them,
            timeout_seconds=timeout_seconds,
        )

    def scopes(self, pod: str | None = None) -> tuple[ScopeHolder, ...]:
        """Who holds what."""
        return self._portal.call(self._aio.scopes, pod)

    def check_scope(
        self, *, write: Iterable[ScopePath] = (), read: Iterable[ScopePath] = ()
    ) -> CheckScopeResult:
        """Whether a spawn with these paths would be granted now."""
        return self._portal.call(self._aio.check_scope, write=write, read=read)

    def doctor(self, *, fix: bool = False) -> DoctorResult:
        """What runs, who enforces scopes, what is wrong; with `fix`, mend it where that is safe."""
        return self._portal.call(self._aio.doctor, fix=fix)

    def shutdown(
        self, *, stop_pods: bool = False, grace_seconds: float = DEFAULT_GRACE_SECONDS
    ) -> ShutdownSupervisorResult:
        """End the supervisor."""
        return self._portal.call(
            self._aio.shutdown, stop_pods=stop_pods, grace_seconds=grace_seconds
        )
