"""Values that several messages share: limits, what is known of a pod; with scopes and doors.

Owns their shapes. All are frozen; sequences are tuples; times are seconds since the epoch as
floats, durations are seconds, sizes are bytes.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from pods_protocol.bounds import DEFAULT_RESTARTS
from pods_protocol.scope_values import (
    Doors as Doors,
)
from pods_protocol.scope_values import (
    Enforcement as Enforcement,
)
from pods_protocol.scope_values import (
    LentScope as LentScope,
)
from pods_protocol.scope_values import (
    Network as Network,
)
from pods_protocol.scope_values import (
    Permission as Permission,
)
from pods_protocol.scope_values import (
    RuleEnforcement as RuleEnforcement,
)
from pods_protocol.scope_values import (
    ScopeGrant as ScopeGrant,
)
from pods_protocol.scope_values import (
    ScopeRule as ScopeRule,
)
from pods_protocol.scope_values import (
    UnixSockets as UnixSockets,
)

PodState = Literal[
    "starting", "idle", "working", "waiting", "paused", "stopping", "stopped", "failed", "lost"
]
"""`waiting`: a question is open. `paused`: held until it is resumed. `stopped`: ended because it
was asked to. `failed`: its process ended by itself. `lost`: found dead, with no witness of how."""
ENDED_STATES: frozenset[str] = frozenset({"stopped", "failed", "lost"})
StopReason = Literal[
    "end_turn",
    "max_tokens",
    "max_turn_requests",
    "refusal",
    "cancelled",
    "error",
    "timeout",
    "limit",
    "lost",
]
"""How a turn ended: the words of the Agent Client Protocol, then ours. Success is `end_turn`
alone. `timeout`: it crossed `turn_seconds`. `limit`: it crossed another of the pod's limits."""
LimitName = Literal[
    "wall_seconds",
    "turn_seconds",
    "idle_seconds",
    "memory_bytes",
    "processes",
    "open_files",
    "output_bytes",
    "turns",
]
"""The fields of `Limits`."""
IfBusy = Literal["fail", "queue", "interrupt"]
StopMode = Literal["finish", "now", "kill"]
"""`finish`: after the running turn. `now`: cancel the turn, then end. `kill`: no farewell."""
StopStep = Literal["already_ended", "shutdown", "terminate", "kill"]
"""Which step of a stop worked."""
ParentExit = Literal["stop", "keep"]
WaitUntil = Literal["idle", "ended", "question"]
WakeOn = Literal["none", "ended", "question"]
"""Which events of a child give its parent a turn: none; its ends (see `SpawnPod`); those and its
questions."""
RestartWhen = Literal["never", "on-failure"]


@frozen(kw_only=True)
class Limits:
    """Ceilings of one pod; `None` is none of its own, or for a child what its parent has left.

    Attributes:
        wall_seconds: of the pod, since it was spawned; then it ends.
        turn_seconds: of one turn; then that ends, as `timeout`.
        idle_seconds: without a running turn; then the pod ends.
        memory_bytes: of all its processes together, beside what the pod's own runtime took when
            it began; then the turn ends, and the pod where something of the turn outlives that,
            or none runs. With 4096 processes it is crossed, whatever they take.
        processes: below the pod's own; as `memory_bytes`. Less than 4096.
        open_files: of each process; the kernel refuses more.
        output_bytes: of what one turn writes into the journal; then the turn ends.
        turns: of the pod; messages beyond them are refused.
    """

    wall_seconds: float | None = None
    turn_seconds: float | None = None
    idle_seconds: float | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    open_files: int | None = None
    output_bytes: int | None = None
    turns: int | None = None


@frozen(kw_only=True)
class HeldLimit:
    """One limit of a pod, and who sees to it.

    Attributes:
        name: of the limit.
        value: seconds, bytes or a number.
        by: `kernel`: it refuses what is beyond, at once. `pod`: the pod's own process ends what is
            beyond; where that process is stopped or hurt, nobody does. `keeper`: the pod's own
            process does, and where it did not, its keeper ends the pod.
        how: in words for people.
    """

    name: LimitName
    value: float
    by: Literal["kernel", "keeper", "pod"]
    how: str


@frozen(kw_only=True)
class RestartPolicy:
    """Whether a pod that dies is started again, on its own journal and with its own name.

    Attributes:
        when: `on-failure`: where its process or its keeper ended without having been asked to.
            What was stopped, and what ended with its parent, stays ended.
        limit: restarts in a row; those before a life that lasted are not counted.
    """

    when: RestartWhen = "never"
    limit: int = DEFAULT_RESTARTS


@frozen(kw_only=True)
class Restarts:
    """What became of a pod's restarts.

    Attributes:
        attempt: the number in a row; 0 where its life has lasted, or nothing happened.
        total: new processes over the pod's whole life, restores included.
        due: when the next one is started, in seconds since the epoch; None where none is due.
        reason: why the newest one was needed; empty where there was none.
    """

    attempt: int = 0
    total: int = 0
    due: float | None = None
    reason: str = ""


@frozen(kw_only=True)
class Capacity:
    """How much room the caller has: `limit` and `in_use` of each cap."""

    depth: int
    depth_limit: int
    children: int
    children_limit: int
    pods: int
    pods_limit: int


@frozen(kw_only=True)
class ProcessIdentity:
    """One process for ever: a pid alone is reused, and start times alone collide.

    Attributes:
        pid: process id.
        start_ticks: clock ticks after boot at which it began (`/proc/PID/stat`, field 22).
        boot_id: the kernel's id of this boot.
    """

    pid: int
    start_ticks: int
    boot_id: str


@frozen(kw_only=True)
class ExitRecord:
    """What the keeper saw: how the pod's process ended and what it took to clear its tree.

    Attributes:
        status: exit code, or the negative of the signal that ended it.
        reason: `exited`, `signalled`, or `lost` where nobody saw it.
        survivors_killed: processes that outlived the pod's main process and were killed.
        time: when the tree was proven empty.
        limit: the limit of the pod for which its keeper ended it, where it did.
    """

    status: int | None
    reason: Literal["exited", "signalled", "lost"]
    survivors_killed: int = 0
    time: float = 0.0
    limit: LimitName | None = None


@frozen(kw_only=True)
class QueuedMessage:
    """A message that waits for its turn.

    Attributes:
        message_id: takes it back, with `withdraw`.
        input: what it says; in answers cut to a readable length.
        position: 1 for the next to run; 0 for a note, which goes along with the next turn.
        sender: what its sender called itself.
        accepted: when it was taken; 0.0 where that is not known.
    """

    message_id: str
    input: str
    position: int
    sender: str = ""
    accepted: float = 0.0


@frozen(kw_only=True)
class UndeliveredMessage:
    """A message or note that its agent never got: the pod ended first.

    Attributes:
        message_id: its sender's, or the one it was given.
        input: the beginning of what it said.
        sender: what its sender called itself.
        accepted: when it was taken.
        given_up: when it was known that it would not be delivered.
    """

    message_id: str
    input: str
    sender: str
    accepted: float
    given_up: float


@frozen(kw_only=True)
class OpenQuestion:
    """A question that the agent waits on; `default` holds at `deadline` (seconds since 1970)."""

    question_id: str
    prompt: str
    options: tuple[str, ...] = ()
    default: str | None = None
    deadline: float | None = None


@frozen(kw_only=True)
class TurnSummary:
    """A turn that ended; `limit` is which of the pod's limits ended it, if one did."""

    turn: int
    stop_reason: StopReason
    message: str = ""
    exit_status: int | None = None
    limit: LimitName | None = None


@frozen(kw_only=True)
class PodStatus:
    """What a pod says of itself.

    Attributes:
        state: one of the living states.
        turn: the running turn, or None.
        turn_started: when it began.
        queue: what waits.
        questions: what it asks.
        last_seq: the newest event.
        last_turn: the newest turn that ended.
        can_pause: its agent can hold a turn by itself; the supervisor can stop any pod's tree.
    """

    state: PodState
    turn: int | None
    turn_started: float | None
    queue: tuple[QueuedMessage, ...]
    questions: tuple[OpenQuestion, ...]
    last_seq: int
    last_turn: TurnSummary | None
    can_pause: bool = False


@frozen(kw_only=True)
class PodInfo:
    """One row of `list`: everything about a pod that its ancestors may know. No secrets.

    Attributes:
        id: twelve hex digits, unique for ever.
        name: unique among the pods of one supervisor.
        parent: the parent's name, or None for a pod that a person asked for.
        depth: 1 for such a pod, 2 for its children.
        session: the owner's session that it, or the pod above it, was asked for in; empty: none.
        unread: events after the caller's cursor.
        last_turn: how the newest turn ended.
        exit: set when it has ended.
        memory_bytes: resident size of the pod's main process, with the pages that it shares with
            other pods; None where unknown.
    """

    id: str
    name: str
    agent: str
    state: PodState
    parent: str | None
    parent_id: str | None
    depth: int
    children: int
    description: str
    cwd: str
    scope: ScopeGrant
    enforcement: Enforcement
    turn: int | None
    turn_started: float | None
    queue_length: int
    waiting_for: str | None
    last_turn: TurnSummary | None
    last_seq: int
    unread: int
    pid: int | None
    created: float
    ended: float | None
    exit: ExitRecord | None
    on_parent_exit: ParentExit
    wake_on: WakeOn = "none"
    memory_bytes: int | None = None
    journal: str = field(default="")
    session: str = ""
