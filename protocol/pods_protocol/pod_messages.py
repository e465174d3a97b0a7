"""Requests that a pod's own socket answers, and their results.

Owns their shapes. `METHOD` is the name on the wire. A request class names its result as the
argument of `Request[...]`, so that `client.request(Run(...))` has the type `RunResult`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Literal, TypeVar

from attrs import field, frozen

from pods_protocol.bounds import DEFAULT_READ_BYTES, DEFAULT_READ_LIMIT, DEFAULT_WAIT_SECONDS
from pods_protocol.events import Event
from pods_protocol.values import IfBusy, PodState, PodStatus, TurnSummary, WaitUntil

R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """Base of everything that is asked and answered once; `R_co` is the class of the answer."""

    METHOD: ClassVar[str]
    __slots__ = ()


@frozen(kw_only=True)
class Empty:
    """An answer with nothing to say beyond "done"."""


@frozen(kw_only=True)
class HelloResult:
    """Who answers.

    Attributes:
        protocol: the version both sides speak from here on.
        server: `pod`, `supervisor`, `keeper` or `launcher`.
        version: of the package.
        name: the pod's or the supervisor's name.
        id: the pod's id; empty elsewhere.
        pid: of the answering process.
    """

    protocol: int
    server: Literal["pod", "supervisor", "keeper", "launcher"]
    version: str
    name: str
    id: str
    pid: int


@frozen(kw_only=True)
class Hello(Request[HelloResult]):
    """The first request on every connection.

    Attributes:
        token: the authority claimed; never logged. Empty to a supervisor: that of the pod whose
            process asks, where that pod has `call_back` and the kernel tells (Linux 6.5).
        protocol: the version the client speaks.
        client: what the client calls itself, for logs.
        session: with the owner's token to a supervisor: speak for this session of the owner's and
            no more. It sees the pods that were spawned under this name, and theirs, and nothing
            else; it outlives the connection. The authority is the owner's own, narrowed by choice.
    """

    METHOD: ClassVar[str] = "hello"
    token: str = field(repr=False)
    protocol: int
    client: str = ""
    session: str = ""


@frozen(kw_only=True)
class RunResult:
    """A message was accepted: it is on disk and has one fate.

    Attributes:
        message_id: the one given, or a new one.
        state: `started` (its turn runs) or `queued`.
        turn: the turn it started, where it started one.
        position: 1 for the next to run, where it waits.
    """

    message_id: str
    state: Literal["started", "queued"]
    turn: int | None = None
    position: int | None = None


@frozen(kw_only=True)
class Run(Request[RunResult]):
    """Give the agent a message. `message_id` repeated has one effect and the same answer.

    Attributes:
        sender: who it is from, shown to people with what waits; empty is what the connection's
            `hello` called itself.

    Raises:
        AlreadyRunning: busy, and `if_busy` is `fail`.
        QueueFull: busy, and the queue is at its bound.
    """

    METHOD: ClassVar[str] = "run"
    input: str
    if_busy: IfBusy = "fail"
    message_id: str | None = None
    sender: str = ""


@frozen(kw_only=True)
class NotifyResult:
    """The note is on disk. `state`: `noted`, or `started` where it woke an idle agent."""

    message_id: str
    state: Literal["noted", "started"]
    turn: int | None = None


@frozen(kw_only=True)
class Notify(Request[NotifyResult]):
    """Tell the agent something with its next message; `wake` starts a turn if it is idle.

    `message_id` and `sender` are as in `run`.
    """

    METHOD: ClassVar[str] = "notify"
    message: str
    wake: bool = False
    message_id: str | None = None
    sender: str = ""


@frozen(kw_only=True)
class CancelResult:
    """What was cancelled: the turn, or None where nothing ran."""

    turn: int | None


@frozen(kw_only=True)
class Cancel(Request[CancelResult]):
    """End the running turn; what it produced stays. Nothing running is no error."""

    METHOD: ClassVar[str] = "cancel"


@frozen(kw_only=True)
class Pause(Request[Empty]):
    """Hold the pod: its turn goes no further and no other begins. Again is nothing.

    While it is held no clock of its turn runs, neither the turn's limit nor a question's.

    Attributes:
        whole: for the supervisor, which stops the whole process tree right after the answer. Held
            are then also turns of agents that cannot hold themselves.

    Raises:
        NotSupported: this agent cannot (`status` says `can_pause`); ask the supervisor.
        NotAuthorized: `whole`, and who asks is not the supervisor.
        PodEnded: it is being stopped.
    """

    METHOD: ClassVar[str] = "pause"
    whole: bool = False


@frozen(kw_only=True)
class Resume(Request[Empty]):
    """Let a paused pod go on; one that is not paused goes on anyway.

    Raises:
        PodEnded: it is being stopped.
    """

    METHOD: ClassVar[str] = "resume"


@frozen(kw_only=True)
class AnswerQuestion(Request[Empty]):
    """Answer an open question.

    Raises:
        UnknownQuestion: none of that id is open.
    """

    METHOD: ClassVar[str] = "answer"
    question_id: str
    answer: str


@frozen(kw_only=True)
class GetStatus(Request[PodStatus]):
    """What the pod is doing."""

    METHOD: ClassVar[str] = "status"


@frozen(kw_only=True)
class HistoryEntry:
    """One side of one turn: the message, or all that the agent said to it."""

    role: Literal["user", "assistant"]
    text: str
    turn: int
    seq: int


@frozen(kw_only=True)
class GetHistoryResult:
    """The conversation after `since`; `next` is the cursor to go on from."""

    entries: tuple[HistoryEntry, ...]
    next: int


@frozen(kw_only=True)
class GetHistory(Request[GetHistoryResult]):
    """The conversation as messages."""

    METHOD: ClassVar[str] = "history"
    since: int = 0
    limit: int = DEFAULT_READ_LIMIT


@frozen(kw_only=True)
class ReadEventsResult:
    """Events after the cursor.

    Attributes:
        events: in order; those of other kinds than asked for are left out.
        next: the cursor that goes on from here (it counts the left-out ones too).
        last_seq: the newest event there is.
        truncated: more are there than this answer holds.
        state: the pod's state at the time of the answer.
        last_turn: how the newest ended turn ended.
    """

    events: tuple[Event, ...]
    next: int
    last_seq: int
    truncated: bool
    state: PodState
    last_turn: TurnSummary | None = None


@frozen(kw_only=True)
class ReadEvents(Request[ReadEventsResult]):
    """Read events after a cursor.

    Attributes:
        since: everything after this seq.
        kinds: only these kinds; empty is all.
        limit: events at most.
        max_bytes: encoded bytes at most; at least one event comes whatever its size.
        wait_seconds: with nothing new, wait up to this long for something.
    """

    METHOD: ClassVar[str] = "read"
    since: int = 0
    kinds: tuple[str, ...] = ()
    limit: int = DEFAULT_READ_LIMIT
    max_bytes: int = DEFAULT_READ_BYTES
    wait_seconds: float = 0.0


@frozen(kw_only=True)
class SubscribeResult:
    """The subscription stands; `event` notifications follow, the first with a seq above `since`."""

    last_seq: int


@frozen(kw_only=True)
class Subscribe(Request[SubscribeResult]):
    """Get every event after `since` as it comes: no gap, no repeat. One a connection."""

    METHOD: ClassVar[str] = "subscribe"
    since: int = 0
    kinds: tuple[str, ...] = ()


@frozen(kw_only=True)
class WaitForResult:
    """Whether it came to pass in time, and what the pod was doing then."""

    reached: bool
    state: PodState
    last_seq: int
    last_turn: TurnSummary | None = None


@frozen(kw_only=True)
class WaitFor(Request[WaitForResult]):
    """Wait until the pod is idle, has ended, or asks; true at once where it already is so."""

    METHOD: ClassVar[str] = "wait"
    until: WaitUntil = "idle"
    timeout_seconds: float = DEFAULT_WAIT_SECONDS


@frozen(kw_only=True)
class Withdraw(Request[Empty]):
    """Take a queued message back.

    Raises:
        UnknownMessage: it is not queued (any more).
    """

    METHOD: ClassVar[str] = "withdraw"
    message_id: str


@frozen(kw_only=True)
class Shutdown(Request[Empty]):
    """End the pod: after the running turn (`finish`), or cancelling it (`now`)."""

    METHOD: ClassVar[str] = "shutdown"
    mode: Literal["finish", "now"] = "finish"


@frozen(kw_only=True)
class ToldOfChild:
    """How far the pod has been told of this child: the seq of the newest event; it is on disk."""

    cursor: int


@frozen(kw_only=True)
class TellOfChild(Request[ToldOfChild]):
    """Tell a parent of an event of its child; its own journal has it as `child_event` then.

    Only the supervisor may: it says hello with its own token. The events of one child come in
    order, each after the answer to the one before; what the pod has been told before has no effect.

    Attributes:
        pod, id: the child's name and id.
        seq, type, turn, data: the event, as in the child's journal.
        since, text, omitted: what the child said around it (see `child_event`).
        wake: start a turn for it, now or after the running one, if nothing else starts one.

    Raises:
        NotAuthorized: somebody else asks.
        PodEnded: the pod has said its last word.
    """

    METHOD: ClassVar[str] = "child_event"
    pod: str
    id: str
    seq: int
    type: str
    turn: int | None = None
    data: dict[str, Any]
    since: int = 0
    text: str = ""
    omitted: int = 0
    wake: bool = False


@frozen(kw_only=True)
class Ping(Request[Empty]):
    """Are you there?"""

    METHOD: ClassVar[str] = "ping"
