"""Requests between a supervisor and the two kinds of process that own others: launcher and keeper.

Owns their shapes. Neither socket is for users: the token is the supervisor's own.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import field, frozen

from pods_protocol.bounds import (
    MAX_QUEUE_LENGTH,
    MAX_SAME_MESSAGES_PER_MINUTE,
    MAX_WAIT_SECONDS,
)
from pods_protocol.pod_messages import Empty, Request
from pods_protocol.values import (
    Doors,
    Enforcement,
    ExitRecord,
    Limits,
    ProcessIdentity,
    ScopeGrant,
)

Enforce = Literal["off", "available", "required"]
"""Whether the kernel holds a pod to its scope: not at all, as far as this machine can, or exactly
and else the pod does not start."""


@frozen(kw_only=True)
class PodSettings:
    """The part of the user's configuration that a pod goes by.

    Attributes:
        max_queue_length: messages that may wait in it.
        max_same_messages: equal ones of one sender in a minute, where the pod is a child.
        longest_wait_seconds: after which a wait answers that time is up.
        journal_max_bytes, journal_max_age_seconds: what is kept of its journal; None is all.
    """

    max_queue_length: int = MAX_QUEUE_LENGTH
    max_same_messages: int = MAX_SAME_MESSAGES_PER_MINUTE
    longest_wait_seconds: float = MAX_WAIT_SECONDS
    journal_max_bytes: int | None = None
    journal_max_age_seconds: float | None = None


@frozen(kw_only=True)
class Revival:
    """Why a pod's process goes on with a journal that another one began.

    Attributes:
        reason: a sentence, for the journal and the agent.
        attempt: the number of restarts in a row; None for a pod that was restored.
    """

    reason: str
    attempt: int | None = None


@frozen(kw_only=True)
class PodSpec:
    """Everything a new pod's process needs to know; handed over by descriptor, never by argv.

    Attributes:
        id, name, agent, options, cwd, env, limits, grant, python, call_back: as in `SpawnPod`.
        parent: the parent's name, or None.
        supervisor_socket: where the pod asks for children.
        pod_socket, keeper_socket: where the launcher binds for the pod and its keeper.
        state_directory: the journal's place. `runtime_directory`: sockets and private temp.
        token: what commands this pod. In a launch it and `env` are empty: the pod reads them from
            the file `secrets` in its runtime directory, which it removes.
        owner_digest: hex SHA-256 of the supervisor's token, which the keeper obeys.
        enforce: what the kernel is asked to do about `grant`.
        doors: what else is open to it; where one that is to be closed cannot be, it does not start.
        settings: the user's configuration, as far as it is about pods.
        revival: set in every life of a pod but its first.
        wall_until: when `limits.wall_seconds` are over, in seconds since the epoch; None is never.
        cgroup: the directory of the group that its process enters first; empty is none. Filled in
            by the launcher.
    """

    id: str
    name: str
    agent: str
    options: dict[str, Any] = field(factory=dict[str, Any])
    parent: str | None
    cwd: str
    env: dict[str, str] = field(factory=dict[str, str], repr=False)
    limits: Limits = field(factory=Limits)
    grant: ScopeGrant
    python: str | None
    call_back: bool
    supervisor: str
    supervisor_socket: str
    pod_socket: str
    keeper_socket: str
    state_directory: str
    runtime_directory: str
    token: str = field(repr=False)
    owner_digest: str
    enforce: Enforce = "off"
    settings: PodSettings = field(factory=PodSettings)
    revival: Revival | None = None
    wall_until: float | None = None
    doors: Doors = field(factory=Doors)
    cgroup: str = ""


@frozen(kw_only=True)
class LaunchPodResult:
    """The keeper was forked and both sockets accept; the pod may still be starting."""

    keeper: ProcessIdentity


@frozen(kw_only=True)
class LaunchPod(Request[LaunchPodResult]):
    """Fork a keeper, which forks the pod."""

    METHOD: ClassVar[str] = "launch"
    spec: PodSpec


@frozen(kw_only=True)
class KeeperEnded:
    """Notification of the launcher: a keeper is gone and nothing of its pod is left.

    Attributes:
        pid: the keeper's.
        id: the pod's.
        status: the keeper's exit code, or the negative of a signal; 0 after a proper end.
        strays_killed: processes that fell back to the launcher and were killed.
    """

    pid: int
    id: str
    status: int
    strays_killed: int


@frozen(kw_only=True)
class ListKeepersResult:
    """Pod id and keeper pid: of keepers that live, or whose pods have left something."""

    keepers: dict[str, int]


@frozen(kw_only=True)
class ListKeepers(Request[ListKeepersResult]):
    """Which pods are there: a keeper is listed until nothing of its pod is left."""

    METHOD: ClassVar[str] = "keepers"


@frozen(kw_only=True)
class ProbeResult:
    """What a pod would be held to."""

    enforcement: Enforcement


@frozen(kw_only=True)
class ProbeEnforcement(Request[ProbeResult]):
    """Confine a throw-away child as a pod with this grant would be, and try to break out of it.

    Attributes:
        grant: the scope to try; an empty one asks what this machine can do at all.
        python: as in `SpawnPod`.
        doors: what else is to be open to it.

    Raises:
        StartFailed: a rule's target is not what it was, or the kernel refuses the rules.
    """

    METHOD: ClassVar[str] = "probe"
    grant: ScopeGrant = field(factory=ScopeGrant)
    python: str | None = None
    doors: Doors = field(factory=Doors)


@frozen(kw_only=True)
class KillKeeper(Request[Empty]):
    """Kill one keeper and everything below it; `KeeperEnded` follows."""

    METHOD: ClassVar[str] = "kill_keeper"
    pid: int


@frozen(kw_only=True)
class ShutdownLauncher(Request[Empty]):
    """End the launcher.

    Raises:
        PodRunning: keepers live; it must outlive them.
    """

    METHOD: ClassVar[str] = "shutdown"


@frozen(kw_only=True)
class KeeperStatus:
    """What the keeper sees.

    Attributes:
        keeper, pod: the two processes.
        processes: how many live below the keeper.
        exit: set once the tree is proven empty.
        enforcement: what the pod's process was held to before its first line ran; None until then,
            and where nothing was asked.
        memory_bytes: what the pod's processes take, beside what its own took at first; None where
            no limit has the keeper count.
    """

    keeper: ProcessIdentity
    pod: ProcessIdentity
    processes: int
    exit: ExitRecord | None
    enforcement: Enforcement | None = None
    memory_bytes: int | None = None


@frozen(kw_only=True)
class GetKeeperStatus(Request[KeeperStatus]):
    """What the keeper sees."""

    METHOD: ClassVar[str] = "status"


@frozen(kw_only=True)
class SignalTreeResult:
    """How many processes were signalled."""

    signalled: int


@frozen(kw_only=True)
class SignalTree(Request[SignalTreeResult]):
    """Signal every process of the pod; `kill` goes on until none is left.

    `wake` lets the pod's own process go on alone, so that a paused pod can answer something.
    """

    METHOD: ClassVar[str] = "signal"
    signal: Literal["terminate", "kill", "pause", "resume", "wake"]
