"""What a pod may touch, and who holds it to that.

Owns the shapes of scopes, doors and enforcement. Everybody has them from `values`, of which they
are a part.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Permission = Literal["read", "write"]
Network = Literal["open", "loopback", "none"]
"""`open`: the machine's. `loopback`: one of the pod's own, with nothing in it but the pod itself at
127.0.0.1 and ::1. `none`: no sockets but Unix ones."""
UnixSockets = Literal["any", "none"]
"""`any`: to whatever listens at a path. `none`: only pairs among the pod's own processes."""


@frozen(kw_only=True)
class ScopeRule:
    """One rule of a file-system scope.

    Attributes:
        target: an absolute path. Canonical (symlinks and `..` resolved) in everything we send;
            resolved by the supervisor in everything we receive.
        permission: `read`, or `write`, which includes it.
        recursive: the whole tree below the target; else the target and its direct entries.
    """

    target: str
    permission: Permission
    recursive: bool = True


@frozen(kw_only=True)
class ScopeGrant:
    """What one pod holds: what it may use, what is taken out of that, what it may lend."""

    allow: tuple[ScopeRule, ...] = ()
    deny: tuple[ScopeRule, ...] = ()
    delegable: tuple[ScopeRule, ...] = ()


@frozen(kw_only=True)
class Doors:
    """What a pod's processes may use besides files.

    Attributes:
        network, unix_sockets: what they may connect to.
        pty: they may open terminals, and with them the user's own that are open.
    """

    network: Network = "open"
    unix_sockets: UnixSockets = "any"
    pty: bool = False


@frozen(kw_only=True)
class LentScope:
    """What a pod has lent to one of its children, and does not write itself while that lives.

    Attributes:
        pod: the child's name.
        rules: what the child may write or lend on for writing.
        deny: taken out of that: it stays the pod's own.
    """

    pod: str
    rules: tuple[ScopeRule, ...]
    deny: tuple[ScopeRule, ...] = ()


@frozen(kw_only=True)
class RuleEnforcement:
    """What became of one allow rule of a scope in the kernel.

    Attributes:
        rule: the rule.
        asked: what it asks for, its exceptions included, in words for people.
        got: what the kernel was given.
        exact: these are the same.
    """

    rule: ScopeRule
    asked: str
    got: str
    exact: bool = True


@frozen(kw_only=True)
class Enforcement:
    """Who holds a pod to its scope, as it was granted and not as it was wished.

    Attributes:
        backend: `landlock`, or `none`: only pods' own tools check.
        summary: a few words for a table.
        gaps: what is not enforced, in words for people.
        reason: why not more; empty where nothing is missing.
        abi: the version of Landlock; 0 for none.
        files: `kernel`, or `partial` where the kernel cannot refuse emptying files.
        rules: what became of each allow rule. `list` leaves out those that are exact.
        signals: whether the pod is kept from signalling what is not its own.
        syscalls: whether the system calls that Landlock leaves open are refused.
        unix_sockets, network: what the pod may connect to.
        pty: whether it may open terminals.
        warnings: what the scope itself lets out, such as files that the user's own shell runs.
        kill: how its tree is ended: one atomic call for the domain, or a loop until none is left.
        besides: what its agent was given besides the scope, in words for people: a home of its own,
            its program, copies of logins. `list` leaves it out.
    """

    backend: Literal["landlock", "none"]
    summary: str
    gaps: tuple[str, ...] = ()
    reason: str = ""
    abi: int = 0
    files: Literal["kernel", "partial", "none"] = "none"
    rules: tuple[RuleEnforcement, ...] = ()
    signals: Literal["kernel", "none"] = "none"
    syscalls: Literal["seccomp", "none"] = "none"
    unix_sockets: UnixSockets = "any"
    network: Network = "open"
    pty: bool = False
    warnings: tuple[str, ...] = ()
    kill: Literal["landlock_domain", "subreaper_loop"] = "subreaper_loop"
    besides: tuple[str, ...] = ()
