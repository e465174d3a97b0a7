"""Pods and sessions of the blocking client.

Owns no behaviour, as `sync` does not, which makes these: each method hands its `aio` twin to the
client's loop and waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType

from pods.client import aio
from pods.client.portal import Portal
from pods.client.results import TurnResult
from pods.client.stream import EventStream
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.events import Event
from pods_protocol.pod_messages import NotifyResult, RunResult
from pods_protocol.supervisor_messages import (
    InspectPodResult,
    PausePodResult,
    RemovePodResult,
    ResumePodResult,
    SpawnPodResult,
    StopPodResult,
    WaitPodsResult,
)
from pods_protocol.values import IfBusy, PodStatus, StopMode, WaitUntil


class BlockingPod:
    """A handle for one pod."""

    def __init__(self, portal: Portal[aio.PodsClient], pod: aio.Pod) -> None:
        self._portal = portal
        self._aio = pod

    def __repr__(self) -> str:
        return f"BlockingPod({self.name!r})"

    @property
    def name(self) -> str:
        """The pod's name, or the beginning of its id."""
        return self._aio.name

    @property
    def spawned(self) -> SpawnPodResult | None:
        """The answer to the spawn, where this handle came from one."""
        return self._aio.spawned

    def send(
        self, message: str, *, if_busy: IfBusy = "fail", message_id: str | None = None
    ) -> RunResult:
        """Give it a message; on return it is on disk and has one fate."""
        return self._portal.call(self._aio.send, message, if_busy=if_busy, message_id=message_id)

    def turn(
        self, message: str, *, if_busy: IfBusy = "fail", timeout_seconds: float | None = None
    ) -> TurnResult:
        """Send a message and gather its turn."""
        return self._portal.call(
            self._aio.turn, message, if_busy=if_busy, timeout_seconds=timeout_seconds
        )

    def notify(
        self, message: str, *, wake: bool = False, message_id: str | None = None
    ) -> NotifyResult:
        """Tell it something with its next message; `wake` starts a turn if it is idle."""
        return self._portal.call(self._aio.notify, message, wake=wake, message_id=message_id)

    def pause(self) -> PausePodResult:
        """Pause it; idempotent."""
        return self._portal.call(self._aio.pause)

    def resume(self) -> ResumePodResult:
        """Let it go on; idempotent."""
        return self._portal.call(self._aio.resume)

    def cancel(self) -> None:
        """End the running turn; what it produced stays."""
        self._portal.call(self._aio.cancel)

    def answer(self, question_id: str, answer: str) -> None:
        """Answer an open question."""
        self._portal.call(self._aio.answer, question_id, answer)

    def withdraw(self, message_id: str) -> None:
        """Take a queued message back."""
        self._portal.call(self._aio.withdraw, message_id)

    def status(self) -> PodStatus:
        """What it is doing, in its own words."""
        return self._portal.call(self._aio.status)

    def read_text(self, *, since: int | None = None, reader: str | None = None) -> str:
        """What the agent said since the last call, alive or ended."""
        return self._portal.call(self._aio.read_text, since=since, reader=reader)

    def events(self, *, since: int = 0, kinds: Iterable[str] = ()) -> Iterator[Event]:
        """Its events as they come, to its end."""
        return iterate(self._portal, self._aio.events(since=since, kinds=kinds))

    def wait(
        self, until: WaitUntil = "idle", *, timeout_seconds: float | None = None
    ) -> WaitPodsResult:
        """Wait until it is idle, has ended, or asks."""
        return self._portal.call(self._aio.wait, until, timeout_seconds=timeout_seconds)

    def inspect(self) -> InspectPodResult:
        """Everything known of it."""
        return self._portal.call(self._aio.inspect)

    def stop(
        self,
        *,
        mode: StopMode = "now",
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        message_id: str | None = None,
    ) -> StopPodResult:
        """Stop it; idempotent."""
        return self._portal.call(
            self._aio.stop, mode=mode, grace_seconds=grace_seconds, message_id=message_id
        )

    def restore(
        self, *, prompt: str | None = None, env: Mapping[str, str] | None = None
    ) -> BlockingPod:
        """Start it again after its end, on its own journal."""
        restored = self._portal.call(self._aio.restore, prompt=prompt, env=env)
        return BlockingPod(self._portal, restored)

    def remove(self) -> RemovePodResult:
        """Forget it and delete its journal."""
        return self._portal.call(self._aio.remove)


class BlockingSession:
    """A pod for the length of a `with` block."""

    def __init__(self, portal: Portal[aio.PodsClient], session: aio.Session) -> None:
        self._portal = portal
        self._aio = session

    def __repr__(self) -> str:
        return f"BlockingSession({self._aio.name!r}, closed={self._aio.closed})"

    def __enter__(self) -> BlockingSession:
        self._portal.call(self._aio.open)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        body: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._portal.call(self._aio.__aexit__, kind, body, traceback)
        except Exception as error:
            if body is None:
                raise
            body.add_note(f"and the pod {self._aio.name} could not be stopped: {error}")

    @property
    def pod(self) -> BlockingPod:
        """The pod; ClientClosed outside of the block."""
        return BlockingPod(self._portal, self._aio.pod)

    @property
    def closed(self) -> bool:
        """Whether the pod was stopped by this session."""
        return self._aio.closed

    def turn(
        self, message: str, *, if_busy: IfBusy = "fail", timeout_seconds: float | None = None
    ) -> TurnResult:
        """Send a message and wait for the end of its turn."""
        return self._portal.call(
            self._aio.turn, message, if_busy=if_busy, timeout_seconds=timeout_seconds
        )

    def close(self) -> None:
        """Stop the pod; again is nothing."""
        self._portal.call(self._aio.close)


def iterate(portal: Portal[aio.PodsClient], stream: EventStream) -> Iterator[Event]:
    """A stream of events as an ordinary iterator; whoever breaks it off closes the stream."""
    try:
        while True:
            try:
                yield portal.call(stream.__anext__)
            except StopAsyncIteration:
                return
    finally:
        portal.call(stream.aclose)
