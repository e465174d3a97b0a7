"""What a supervisor's socket tells of itself: scopes, health, its end.

Owns the shapes of those requests and their results; `supervisor_messages` has all of the socket's.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from pods_protocol.bounds import (
    DEFAULT_GRACE_SECONDS,
)
from pods_protocol.pod_messages import Request
from pods_protocol.values import (
    Enforcement,
    ScopeGrant,
    ScopeRule,
)


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
        cgroup: the directory of the cgroup (v2) in which pods get groups of their own, which then
            keep their limits on memory and processes; empty where they get none.
        no_cgroup: why they get none.
    """

    supervisor: SupervisorInfo
    pods: dict[str, int]
    scopes: int
    enforcement: Enforcement
    doors: dict[str, str]
    settings: SettingsInForce
    problems: tuple[Problem, ...]
    cgroup: str = ""
    no_cgroup: str = ""


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
