"""What a supervisor's socket passes to a pod, and what it tells of pods.

Owns the shapes of those requests and their results: messages for a pod, its output, waiting, lists.
`supervisor_messages` has all of the socket's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import field, frozen

from pods_protocol.bounds import (
    DEFAULT_LIST_LIMIT,
    DEFAULT_READ_BYTES,
    DEFAULT_READ_LIMIT,
    DEFAULT_WAIT_SECONDS,
)
from pods_protocol.events import Event
from pods_protocol.pod_messages import Empty, NotifyResult, Request, RunResult, SubscribeResult
from pods_protocol.values import (
    Capacity,
    HeldLimit,
    IfBusy,
    LentScope,
    Limits,
    OpenQuestion,
    PodInfo,
    PodState,
    QueuedMessage,
    RestartPolicy,
    Restarts,
    TurnSummary,
    UndeliveredMessage,
    WaitUntil,
)


@frozen(kw_only=True)
class SendMessage(Request[RunResult]):
    """As a pod's own `run`, for clients whose pod does not answer itself.

    Of a paused pod the message is queued where `if_busy` is `queue`; of an ended one, a
    `message_id` that it had accepted gets the answer that it got then.

    Raises:
        PodEnded: it has ended, and had not accepted this.
        PodPaused: it is paused, and `if_busy` is not `queue`.
        AlreadyRunning, QueueFull: as the pod says.
    """

    METHOD: ClassVar[str] = "send"
    pod: str
    input: str
    if_busy: IfBusy = "fail"
    message_id: str | None = None
    sender: str = ""


@frozen(kw_only=True)
class NotifyPod(Request[NotifyResult]):
    """As a pod's own `notify`; as `send` for pods that are paused or have ended."""

    METHOD: ClassVar[str] = "notify"
    pod: str
    message: str
    wake: bool = False
    message_id: str | None = None
    sender: str = ""


@frozen(kw_only=True)
class WithdrawMessage(Request[Empty]):
    """As a pod's own `withdraw`, also of a paused pod.

    Raises:
        UnknownMessage: it is not queued (any more).
        PodEnded: it has ended; what it never delivered is in `inspect`.
    """

    METHOD: ClassVar[str] = "withdraw"
    pod: str
    message_id: str


@frozen(kw_only=True)
class AnswerPod(Request[Empty]):
    """As a pod's own `answer`, for whoever has the supervisor alone to ask.

    Raises:
        UnknownQuestion: none of that id is open.
        InvalidParams: the answer is none of its options.
        PodEnded: it has ended.
    """

    METHOD: ClassVar[str] = "answer"
    pod: str
    question_id: str
    answer: str


@frozen(kw_only=True)
class ListPodsResult:
    """A page of the caller's pods, oldest first, and the room left.

    Attributes:
        next: give it as `after` for the next page; None on the last one.
    """

    pods: tuple[PodInfo, ...]
    capacity: Capacity
    next: str | None = None


@frozen(kw_only=True)
class ListPods(Request[ListPodsResult]):
    """The caller's pods, a page at a time.

    A pod that is there all the while is in exactly one page, whatever is spawned, ended, removed
    or passed to another parent between them.

    Attributes:
        ended: also those that have ended.
        reader: whose cursor `unread` counts from; None is the caller's own.
        after: the `next` of the page before; None begins.
        limit: rows at most, up to 1000; a page of large rows has fewer, and at least one.

    Raises:
        InvalidParams: a limit out of its bounds, or an `after` that no page gave.
    """

    METHOD: ClassVar[str] = "list"
    ended: bool = True
    reader: str | None = None
    after: str | None = None
    limit: int = DEFAULT_LIST_LIMIT


@frozen(kw_only=True)
class InspectPodResult:
    """Everything known of one pod.

    Attributes:
        queue: the messages that wait for a turn, the next one first.
        notes: what it is told with its next turn.
        undelivered: what it never got, because it ended first; the newest of them.
        questions: what it asks, in words; `open_questions`: the same with ids, options, defaults.
        limits, held_limits: its ceilings, and who sees to each.
        reason: why it ended, in words for people; empty while it lives.
        lent: what its children have of its scope. The kernel leaves it in the pod's own rights; the
            programs of its turns are refused to write there.
    """

    pod: PodInfo
    socket: str
    directory: str
    keeper_pid: int | None
    queue: tuple[QueuedMessage, ...]
    notes: tuple[QueuedMessage, ...]
    undelivered: tuple[UndeliveredMessage, ...]
    questions: tuple[str, ...]
    options: dict[str, Any]
    limits: Limits
    held_limits: tuple[HeldLimit, ...]
    reason: str
    python: str | None
    restart: RestartPolicy = field(factory=RestartPolicy)
    restarts: Restarts = field(factory=Restarts)
    lent: tuple[LentScope, ...] = ()
    open_questions: tuple[OpenQuestion, ...] = ()


@frozen(kw_only=True)
class InspectPod(Request[InspectPodResult]):
    """Everything known of one pod."""

    METHOD: ClassVar[str] = "inspect"
    pod: str


@frozen(kw_only=True)
class ConnectPodResult:
    """Where the pod listens and what commands it; a secret.

    Attributes:
        pid: the process that is there.
        known_as: what the supervisor knows the caller as: `pod NAME`, `owner` or `session NAME`; to
            be said to the pod as `client` in `hello`, where it becomes the sender of messages.
    """

    id: str
    name: str
    socket: str
    token: str = field(repr=False)
    pid: int | None = None
    known_as: str = ""


@frozen(kw_only=True)
class ConnectPod(Request[ConnectPodResult]):
    """Get the way to a living pod of the caller's; one that is being started again is waited for.

    Attributes:
        pod: which.
        gone: the pid of a process of it that hung up: wait for the one that comes after it, or for
            the pod's end.

    Raises:
        PodEnded: it has ended.
        NotConnected: there is no such process yet; where one is due, `restart_due` says when.
        PodPaused: its processes are stopped; `send`, `notify` and `withdraw` still reach it.
    """

    METHOD: ClassVar[str] = "connect"
    pod: str
    gone: int | None = None


@frozen(kw_only=True)
class ReadOutputResult:
    """As a pod's own `read`, for pods that are gone too.

    Attributes:
        next: the cursor that goes on from here; give it to `advance` once what was read is safe.
    """

    pod: str
    id: str
    events: tuple[Event, ...]
    next: int
    last_seq: int
    truncated: bool
    state: PodState
    last_turn: TurnSummary | None = None


@frozen(kw_only=True)
class ReadOutput(Request[ReadOutputResult]):
    """Read a pod's events, alive or ended.

    Attributes:
        since: a cursor; None is where `reader` last said it was.
        reader: a name for the cursor kept here; None is the caller's own.
    """

    METHOD: ClassVar[str] = "read"
    pod: str
    since: int | None = None
    reader: str | None = None
    kinds: tuple[str, ...] = ()
    limit: int = DEFAULT_READ_LIMIT
    max_bytes: int = DEFAULT_READ_BYTES
    wait_seconds: float = 0.0


@frozen(kw_only=True)
class AdvanceCursor(Request[Empty]):
    """What was read up to `seq` is safe with its reader; a cursor never goes back."""

    METHOD: ClassVar[str] = "advance"
    pod: str
    seq: int
    reader: str | None = None


@frozen(kw_only=True)
class WaitOutcome:
    """One pod of a wait."""

    pod: str
    state: PodState
    last_turn: TurnSummary | None = None


@frozen(kw_only=True)
class WaitPodsResult:
    """Which got there, which did not, and whether time ran out."""

    ready: tuple[WaitOutcome, ...]
    pending: tuple[WaitOutcome, ...]
    timed_out: bool


@frozen(kw_only=True)
class WaitPods(Request[WaitPodsResult]):
    """Wait for one or all of some pods; what is already so counts.

    An ended pod satisfies every `until`.
    """

    METHOD: ClassVar[str] = "wait"
    pods: tuple[str, ...]
    mode: Literal["any", "all"] = "all"
    until: WaitUntil = "idle"
    timeout_seconds: float = DEFAULT_WAIT_SECONDS


@frozen(kw_only=True)
class SubscribeLifecycle(Request[SubscribeResult]):
    """`event` notifications of the caller's subtree: what was spawned, crashed, ended, removed.

    Their kinds: `pod_spawned`, `pod_state`, `pod_crashed` (it is started again), `pod_restarted`,
    `pod_ended`, `pod_removed`; `data` has `pod` and `id`.
    """

    METHOD: ClassVar[str] = "subscribe"
    since: int | None = None
