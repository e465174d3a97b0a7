"""Why a pod was refused something: which rule or which pod stands in the way, in words.

Owns that judgement, over the rules that a pod has and the leases that others hold. Pure: it opens
nothing and knows no process. What was refused, `pods.scope.tracer` has seen; `pods explain` asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeVar, assert_never

from attrs import evolve, frozen

from pods.scope.regions import is_below
from pods.scope.rules import covers, describe
from pods_protocol.values import Enforcement, Permission, ScopeGrant, ScopeRule

T = TypeVar("T")

Need = Literal["read", "write", "connect", "abstract", "socket", "signal", "call"]
"""What a call wanted: to read or write a file, to connect to a socket that has a path or only an
abstract name, to make a socket, to signal a process, or what no file is about."""

MAX_REFUSALS: Final = 200
"""Different refusals that are kept of one program: more than anybody reads."""


@frozen(kw_only=True)
class Refused:
    """A call that the kernel refused.

    Attributes:
        call: its name.
        need: what it wanted.
        target: of what: a path, or words where there is none.
        error: the kernel's answer, such as `EACCES`.
        times: how often.
        beside: the other path of a call that has two, such as a rename.
    """

    call: str
    need: Need
    target: str
    error: str
    times: int = 1
    beside: str = ""


@frozen(kw_only=True)
class Holding:
    """What a pod holds for itself, or has lent: its rules for writing."""

    pod: str
    rules: tuple[ScopeRule, ...]
    deny: tuple[ScopeRule, ...] = ()


@frozen(kw_only=True)
class Situation:
    """All that a judgement goes by.

    Attributes:
        pod: the pod's name.
        grant: its rules, with what its ancestors deny.
        enforcement: what the kernel made of them.
        others: what other pods hold, its own descendants left out.
        lent: what its descendants hold.
        readable: the places of the baseline that every pod may read.
        own: directories of its own that it may write.
        closed: the roots of pods' own directories.
    """

    pod: str
    grant: ScopeGrant
    enforcement: Enforcement
    others: tuple[Holding, ...] = ()
    lent: tuple[Holding, ...] = ()
    readable: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()


@frozen(kw_only=True)
class Reason:
    """Why something was refused.

    Attributes:
        why: in words, with what to do where there is something to do.
        pod: who stands in the way; None where nobody does.
        rule: the rule that does, where it is one.
        permitted: its own rules permit it, so something else refuses it.
    """

    why: str
    pod: str | None = None
    rule: ScopeRule | None = None
    permitted: bool = False


def judge(refused: Refused, at: Situation) -> Reason | None:
    """Why this was refused; None where the other path of its call is what stands in the way."""
    reason = _judge(refused, at)
    if refused.beside and reason.permitted:
        other = _judge(evolve(refused, target=refused.beside), at)
        if not other.permitted:
            return None
    return reason


def _judge(refused: Refused, at: Situation) -> Reason:
    match refused.need:
        case "read" | "write":
            return _of_file(refused.target, refused.need, at)
        case "connect":
            return Reason(
                why="pods may connect to sockets that have a path: what listens there, or the "
                "socket's own mode, refuses it"
            )
        case "abstract":
            return Reason(why="abstract sockets of processes outside of the pod are closed to it")
        case "socket":
            return Reason(why=_why_no_socket(refused.target, at.enforcement))
        case "signal":
            return Reason(why="a pod may signal its own processes alone")
        case "call":
            return Reason(why="this call is refused to every pod, whatever its scope is")
        case _:
            assert_never(refused.need)


def _why_no_socket(target: str, held: Enforcement) -> str:
    unix = target.endswith("AF_UNIX")
    if unix and held.unix_sockets == "none":
        return "it was spawned without Unix sockets (`--unix-sockets none`)"
    if not unix and held.network != "open":
        return f"it was spawned with `--network {held.network}`"
    return "the kernel refuses sockets of this kind here"


def _of_file(path: str, need: Permission, at: Situation) -> Reason:
    if any(is_below(path, root) for root in at.closed) and not _any_below(path, at.own):
        return Reason(why="pods' own directories are closed to pods: others' tokens lie there")
    denial = _first(
        rule for rule in at.grant.deny if covers(rule, path) and _takes(rule.permission, need)
    )
    if denial is not None:
        return Reason(why=f"a deny of its own scope takes it: {describe(denial)}", rule=denial)
    if need == "write":
        for holding in at.lent:
            rule = _covering(holding, path)
            if rule is not None:
                return Reason(
                    why=f"it is lent to {holding.pod} ({describe(rule)}), and comes back when that "
                    "pod ends",
                    pod=holding.pod,
                    rule=rule,
                )
    allowed = _first(
        rule
        for rule in at.grant.allow
        if covers(rule, path) and (need == "read" or rule.permission == "write")
    )
    if allowed is not None:
        return _though_allowed(path, need, allowed, at)
    holder = _first(
        (holding, rule) for holding in at.others if (rule := _covering(holding, path)) is not None
    )
    readable = _first(
        rule for rule in at.grant.allow if rule.permission == "read" and covers(rule, path)
    )
    why = _not_allowed(path, need, readable, at)
    if holder is None:
        return Reason(why=f"{why}; a spawn with `--{need}` would give it", rule=readable)
    holding, rule = holder
    if need == "read":
        why = f"{why}; {holding.pod} writes there, and reading may be given beside that: `--read`"
    else:
        why = f"{why}; {holding.pod} holds it ({describe(rule)}): let that pod do it, or stop it"
    return Reason(why=why, pod=holding.pod, rule=rule)


def _not_allowed(path: str, need: Permission, readable: ScopeRule | None, at: Situation) -> str:
    if need == "write" and readable is not None:
        return f"its scope lets it read there, not write ({describe(readable)})"
    if need == "write" and _any_below(path, at.readable):
        return "every pod may read there and none may write"
    return "no rule of its scope covers it"


def _though_allowed(path: str, need: Permission, allowed: ScopeRule, at: Situation) -> Reason:
    cut = _first(rule for rule in at.enforcement.rules if not rule.exact and rule.rule == allowed)
    if cut is not None:
        return Reason(
            why=f"its rule cannot be given whole by the kernel: asked: {cut.asked}; got: {cut.got}",
            rule=allowed,
        )
    near = _first(
        holding
        for holding in at.lent
        if need == "write" and any(is_below(rule.target, _above(path)) for rule in holding.rules)
    )
    if near is not None:
        return Reason(
            why=f"beside it lies what is lent to {near.pod}: until that is back, nothing can be "
            "made, removed or moved in the directories above it (the kernel's rules reach down)",
            pod=near.pod,
            rule=allowed,
        )
    return Reason(
        why=f"its scope permits it ({describe(allowed)}); the file's own mode, owner or file "
        "system refuses it",
        rule=allowed,
        permitted=True,
    )


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _takes(denied: Permission, need: Permission) -> bool:
    return denied == "read" or need == "write"


def _covering(holding: Holding, path: str) -> ScopeRule | None:
    if any(covers(rule, path) for rule in holding.deny):
        return None
    return _first(rule for rule in holding.rules if covers(rule, path))


def _any_below(path: str, roots: Sequence[str]) -> bool:
    return any(is_below(path, root) for root in roots)


def _first(found: Iterable[T]) -> T | None:
    return next(iter(found), None)
