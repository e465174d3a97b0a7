"""What a supervisor's socket does to a pod: spawn, stop, pause, resume, restore, remove, prune.

Owns the shapes of those requests and their results; `supervisor_messages` has all of the socket's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import field, frozen

from pods_protocol.bounds import (
    DEFAULT_GRACE_SECONDS,
)
from pods_protocol.pod_messages import Request, RunResult
from pods_protocol.values import (
    Capacity,
    Enforcement,
    Limits,
    Network,
    ParentExit,
    PodInfo,
    PodState,
    RestartPolicy,
    ScopeRule,
    StopMode,
    StopStep,
    UnixSockets,
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
