"""Requests that a supervisor's socket answers, and their results.

Owns their shapes. `pod` is always a name or a unique id prefix. What the caller may see is decided
by the token of its `hello`: the owner's token sees every pod, a pod's token its own descendants;
everything else is `unknown_pod`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import field, frozen

from pods_protocol.bounds import (
    DEFAULT_GRACE_SECONDS,
    DEFAULT_LIST_LIMIT,
    DEFAULT_READ_BYTES,
    DEFAULT_READ_LIMIT,
    DEFAULT_WAIT_SECONDS,
)
from pods_protocol.events import Event
from pods_protocol.pod_messages import Empty, NotifyResult, Request, RunResult, SubscribeResult
from pods_protocol.values import (
    Capacity,
    Enforcement,
    HeldLimit,
    IfBusy,
    LentScope,
    Limits,
    Network,
    OpenQuestion,
    ParentExit,
    PodInfo,
    PodState,
    QueuedMessage,
    RestartPolicy,
    Restarts,
    ScopeGrant,
    ScopeRule,
    StopMode,
    StopStep,
    TurnSummary,
    UndeliveredMessage,
    UnixSockets,
    WaitUntil,
    WakeOn,
)


@frozen(kw_only=True)
class SpawnPodResult:
    """The pod runs and, where a prompt was given, has accepted it.

    Attributes:
        pod: the row that `list` would show.
        socket: path of the pod's own socket.
        token: what commands that pod; a secret.
        message: the fate of the prompt, where one was given.
        enforcement: who holds the pod to its scope.
        capacity: what room the caller has left.
    """

    pod: PodInfo
    socket: str
    token: str = field(repr=False)
    message: RunResult | None
    enforcement: Enforcement
    capacity: Capacity


@frozen(kw_only=True)
class SpawnPod(Request[SpawnPodResult]):
    """Start a pod. Any failure leaves nothing behind.

    Attributes:
        name: `[A-Za-z0-9][A-Za-z0-9._-]*`, at most 64 characters.
        agent: a kind (`shell`, `command`, `echo`, an entry point) or `module:attribute`.
        options: for the agent; `command` takes `argv` (list of words) and `jsonl` (bool).
        prompt: the first message; the answer comes once it is accepted.
        allow: what it may read and write. A person's pod without a rule for reading may read the
            `cwd` it was given.
        deny: taken out of that, for it and its descendants.
        delegable: what it may lend to children; None is all of `allow`.
        cwd: absolute; None is the parent's, or the supervisor's for a person's pod.
        env: variables for the agent's processes, beside a short list of harmless ones. Those whose
            names begin with `PODS_SECRET_` are for the agent alone and in no environment.
        on_parent_exit: None is `stop` for a pod's child, `keep` for a person's pod.
        wake_on: which events of this pod start a turn of its parent pod if that is idle, and after
            its running turn if it is not. `none` (default): none; they wait for its next turn.
            `ended`: whenever a turn of this pod ends, well or not, and whenever the pod itself
            ends: stopped by anybody, failed, lost, or started again after that. `question`: those,
            and its questions. Whatever it is, the parent's journal has them all.
        restart: whether it is started again when it dies.
        python: another interpreter to run the agent in.
        call_back: give the agent's processes the pod's own authority (`PODS_SOCKET`,
            `PODS_TOKEN_FILE`), so that a `pods spawn` in there makes children of this pod.
        replace: remove an ended pod of this name first.
        require_enforcement: refuse where the kernel cannot hold the pod to its scope.
        network, unix_sockets: what its processes may connect to; None is the parent's, or all for a
            person's pod. A child has no more than its parent. What cannot be closed here is
            refused. Without Unix sockets a pod has no children, and no `call_back`.
        pty: its processes may open terminals; not where its parent may not.
        message_id: idempotency key; repeated, the same pod and the same answer.

    Raises:
        InvalidName, NameTaken, InvalidScope, ScopeConflict, ScopeNotDelegable, CapacityReached,
        AgentError, StartFailed, NotEnforceable.
    """

    METHOD: ClassVar[str] = "spawn"
    name: str
    agent: str = "shell"
    options: dict[str, Any] = field(factory=dict[str, Any])
    prompt: str | None = None
    allow: tuple[ScopeRule, ...] = ()
    deny: tuple[ScopeRule, ...] = ()
    delegable: tuple[ScopeRule, ...] | None = None
    cwd: str | None = None
    env: dict[str, str] = field(factory=dict[str, str], repr=False)
    limits: Limits = field(factory=Limits)
    description: str = ""
    on_parent_exit: ParentExit | None = None
    wake_on: WakeOn = "none"
    restart: RestartPolicy = field(factory=RestartPolicy)
    python: str | None = None
    call_back: bool = False
    replace: bool = False
    require_enforcement: bool = False
    network: Network | None = None
    unix_sockets: UnixSockets | None = None
    pty: bool = False
    message_id: str | None = None


@frozen(kw_only=True)
class StopPodResult:
    """The pod and all its processes are gone and its scope is free.

    Attributes:
        previous_state: before the stop.
        state: now: `stopped`, or how it had ended before.
        step: which step worked.
        stopped_descendants: names of the pods below it that were stopped with it.
        released: the rules that are free again.
        seconds: how long it took.
    """

    pod: str
    previous_state: PodState
    state: PodState
    step: StopStep
    stopped_descendants: tuple[str, ...]
    released: tuple[ScopeRule, ...]
    seconds: float


@frozen(kw_only=True)
class StopPod(Request[StopPodResult]):
    """Stop a pod and its descendants that go with it; idempotent.

    `message_id` repeated for the same pod has one effect and the same answer, also after a restart
    of the supervisor or of the pod.
    """

    METHOD: ClassVar[str] = "stop"
    pod: str
    mode: StopMode = "now"
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    message_id: str | None = None


@frozen(kw_only=True)
class PausePodResult:
    """The pod is paused, until it is resumed or stopped.

    Attributes:
        how: `turn`, its agent holds the turn itself, or `tree`, all its processes are stopped.
    """

    pod: str
    state: PodState
    how: Literal["turn", "tree"]


@frozen(kw_only=True)
class PausePod(Request[PausePodResult]):
    """Pause a pod; again is nothing. Its children are pods of their own and go on.

    Raises:
        PodEnded: it has ended, or is being stopped.
        NotConnected: it is still starting, or its keeper does not answer.
    """

    METHOD: ClassVar[str] = "pause"
    pod: str


@frozen(kw_only=True)
class ResumePodResult:
    """The pod goes on."""

    pod: str
    state: PodState


@frozen(kw_only=True)
class ResumePod(Request[ResumePodResult]):
    """Let a paused pod go on; one that is not paused goes on anyway.

    Raises:
        PodEnded: it has ended, or is being stopped.
    """

    METHOD: ClassVar[str] = "resume"
    pod: str


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
    """Where the pod listens and what commands it; a secret. `pid`: the process that is there."""

    id: str
    name: str
    socket: str
    token: str = field(repr=False)
    pid: int | None = None


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


@frozen(kw_only=True)
class RestorePod(Request[SpawnPodResult]):
    """Start an ended pod again: same name and id, its history there, its scope taken again.

    Attributes:
        pod: one that was stopped, crashed or lost.
        prompt: its next message; the answer comes once it is accepted.
        env: the values of the variables that it was spawned with. They are never kept on disk
            beyond a pod's life, so all of them have to be given again.

    Raises:
        PodRunning: it lives.
        ScopeConflict, ScopeNotDelegable: another holds its scope now, or its parent does no more.
        InvalidParams: a variable is missing, or its directory is gone.
        CapacityReached, AgentError, StartFailed, NotEnforceable: it stays ended.
    """

    METHOD: ClassVar[str] = "restore"
    pod: str
    prompt: str | None = None
    env: dict[str, str] = field(factory=dict[str, str], repr=False)


@frozen(kw_only=True)
class RemovePodResult:
    """The ended pod's record and journal are gone."""

    pod: str
    id: str


@frozen(kw_only=True)
class RemovePod(Request[RemovePodResult]):
    """Forget an ended pod and delete its journal.

    Raises:
        PodRunning: stop it first.
    """

    METHOD: ClassVar[str] = "remove"
    pod: str


@frozen(kw_only=True)
class PrunePodsResult:
    """Which were, or would be, removed; which could not be judged."""

    removed: tuple[str, ...]
    would_remove: tuple[str, ...]
    uncertain: tuple[str, ...]


@frozen(kw_only=True)
class PrunePods(Request[PrunePodsResult]):
    """Remove pods that ended long ago; without `force` only a report."""

    METHOD: ClassVar[str] = "prune"
    older_than_seconds: float
    force: bool = False


@frozen(kw_only=True)
class ScopeHolder:
    """One row of the registry."""

    pod: str
    id: str
    supervisor: str
    parent_id: str | None
    grant: ScopeGrant
    effective_write: tuple[ScopeRule, ...]
    lent: tuple[ScopeRule, ...]
    pending: bool


@frozen(kw_only=True)
class ShowScopesResult:
    """Who holds what."""

    holders: tuple[ScopeHolder, ...]


@frozen(kw_only=True)
class ShowScopes(Request[ShowScopesResult]):
    """Who of the caller's pods holds what; None is all of them."""

    METHOD: ClassVar[str] = "scope.show"
    pod: str | None = None


@frozen(kw_only=True)
class CheckScopeResult:
    """Whether it would be granted now, and what stands in the way.

    Attributes:
        normalised: the rules as they would be stored.
        code: the error that a spawn would get; None where granted.
    """

    granted: bool
    normalised: tuple[ScopeRule, ...]
    code: str | None = None
    message: str = ""
    owner: str | None = None


@frozen(kw_only=True)
class CheckScope(Request[CheckScopeResult]):
    """Ask whether a spawn with these rules would be granted; changes nothing."""

    METHOD: ClassVar[str] = "scope.check"
    allow: tuple[ScopeRule, ...]


@frozen(kw_only=True)
class Problem:
    """Something `doctor` found.

    Attributes:
        fix: what to do about it; where it is fixed, what was done.
        fixed: whether it is a problem no longer.
    """

    code: str
    message: str
    fix: str
    fixed: bool = False


@frozen(kw_only=True)
class SettingsInForce:
    """What the supervisor read from its user's configuration when it started.

    Attributes:
        file: of the configuration, which need not exist.
        max_depth, max_children, max_pods: the caps on the tree.
        max_queue_length: messages that wait in one pod.
        max_spawns: of one pod in a minute.
        max_same_messages: equal ones of one sender to one child in a minute.
        longest_wait_seconds: after which a wait answers that time is up.
        journal_max_bytes, journal_max_age_seconds: what is kept of each journal; None is all.
        keep_ended_seconds: pods that ended longer ago are forgotten; None keeps them.
    """

    file: str
    max_depth: int
    max_children: int
    max_pods: int
    max_queue_length: int
    max_spawns: int
    max_same_messages: int
    longest_wait_seconds: float
    journal_max_bytes: int | None
    journal_max_age_seconds: float | None
    keep_ended_seconds: float | None


@frozen(kw_only=True)
class SupervisorInfo:
    """The supervisor's own facts."""

    pid: int
    version: str
    socket: str
    name: str
    started: float
    launcher_pid: int | None
    runtime_directory: str
    state_directory: str


@frozen(kw_only=True)
class DoctorResult:
    """The health of it all.

    Attributes:
        pods: number by state. `scopes`: number of leases.
        enforcement: what the kernel would hold a pod to, tried.
        doors: what a spawn may close, such as `network=none` -> why it cannot be had here; empty
            where it can. Tried.
    """

    supervisor: SupervisorInfo
    pods: dict[str, int]
    scopes: int
    enforcement: Enforcement
    doors: dict[str, str]
    settings: SettingsInForce
    problems: tuple[Problem, ...]


@frozen(kw_only=True)
class Doctor(Request[DoctorResult]):
    """Look for trouble.

    Attributes:
        fix: mend what can be mended without touching a living pod. The owner's alone.

    Raises:
        NotAuthorized: a pod asks to mend.
    """

    METHOD: ClassVar[str] = "doctor"
    fix: bool = False


@frozen(kw_only=True)
class ShutdownSupervisorResult:
    """What was stopped on the way out."""

    stopped: tuple[str, ...]


@frozen(kw_only=True)
class ShutdownSupervisor(Request[ShutdownSupervisorResult]):
    """End the supervisor.

    Attributes:
        stop_pods: stop every pod first; without it, pods that live make this refuse.

    Raises:
        PodRunning: pods live and `stop_pods` is not set.
    """

    METHOD: ClassVar[str] = "shutdown"
    stop_pods: bool = False
    grace_seconds: float = DEFAULT_GRACE_SECONDS
