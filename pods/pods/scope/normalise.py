"""From the paths that people and models write to rules that may be compared.

Owns the resolving of targets against the file system, and every refusal that a target alone can
earn. Must not know the table. The supervisor calls `normalise_rules` on everything it receives,
before anything is compared or stored.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from pods.scope.regions import is_below
from pods_protocol.errors import InvalidScope
from pods_protocol.values import ScopeRule

MAX_RULES: Final = 256
"""Rules of one kind in one grant. A scope is a handful of directories; each rule is compared with
its neighbours under the registry's lock and becomes kernel rules of every process of the pod."""

_SHOWN_CHARACTERS: Final = 200
"""Of a target in a message."""

Purpose: TypeAlias = Literal["scope", "allow", "deny", "delegable", "cwd"]
"""What rules are for."""

_ACTS: Final[Mapping[Purpose, str]] = {
    "scope": "use in a scope",
    "allow": "let a pod {permission}",
    "deny": "deny a pod",
    "delegable": "let a pod lend",
    "cwd": "have a pod work in",
}
"""What cannot be done, before the target's name."""


def normalise_rules(
    rules: Sequence[ScopeRule],
    *,
    forbidden_roots: Sequence[str] = (),
    what: Purpose = "scope",
) -> tuple[ScopeRule, ...]:
    """The same rules on canonical targets, each once, in the order given.

    Args:
        rules: as received.
        forbidden_roots: directories of pods' own (sockets, tokens, journals) that no target may
            be, lie in or contain.
        what: what the rules are for, for the messages.

    Raises:
        InvalidScope: `data` has `target` and `hint`.
    """
    if len(rules) > MAX_RULES:
        raise InvalidScope(
            f"cannot take {len(rules)} rules at once: {MAX_RULES} is the most; name directories "
            "that contain several of the targets",
            target="",
            hint=f"at most {MAX_RULES} rules",
        )
    roots = [os.path.realpath(root) for root in forbidden_roots]
    found: dict[ScopeRule, None] = {}
    for rule in rules:
        target = _resolve(rule, what)
        if target == "/" and rule.permission == "write":
            raise _invalid(
                rule, what, "it is the whole machine", "name the directories to write in"
            )
        if what != "deny" and rule.permission == "write" and _is_the_kernels(target):
            raise _invalid(
                rule,
                what,
                "it is the kernel's and no place for files",
                "name the directories to write in; what every program needs of it is open anyway",
            )
        for root in roots:
            if is_below(target, root) or is_below(root, target):
                raise _invalid(
                    rule,
                    what,
                    f"pods keeps its own state in {root}, which no pod may touch",
                    "name directories beside it",
                )
        found[ScopeRule(target=target, permission=rule.permission, recursive=rule.recursive)] = None
    return tuple(found)


def _is_the_kernels(target: str) -> bool:
    """A single device, or a place in `/dev/shm` or `/sys`, may be meant; a process never is."""
    return target in ("/dev", "/sys") or is_below(target, "/proc")


def _resolve(rule: ScopeRule, what: Purpose) -> str:
    target = rule.target
    if not target:
        raise _invalid(rule, what, "it is empty", "give an absolute path")
    if "\0" in target:
        raise _invalid(rule, what, "it contains a zero byte", "give an absolute path")
    try:
        target.encode()
    except UnicodeEncodeError:
        raise _invalid(rule, what, "it is not UTF-8", "rename the file") from None
    if target.startswith("~"):
        raise _invalid(
            rule,
            what,
            "nobody expands the tilde here",
            "expand it yourself: your home is not the supervisor's to guess",
        )
    if not target.startswith("/"):
        raise _invalid(
            rule,
            what,
            "it is relative, and to what is not known here",
            "give an absolute path",
        )
    try:
        resolved = os.path.realpath(target, strict=True)
        resolved.encode()
    except UnicodeEncodeError:
        raise _invalid(rule, what, "it leads to a path that is not UTF-8", "rename it") from None
    except OSError as error:
        why, hint = _explain(target, error)
        raise _invalid(rule, what, why, hint) from None
    # POSIX lets a path begin with two slashes mean something else; here it is the root.
    return "/" + resolved.lstrip("/")


def _explain(target: str, error: OSError) -> tuple[str, str]:
    if error.errno == errno.ENOENT:
        return "it does not exist", f"make it first; {_nearest(target)} is there"
    if error.errno == errno.ELOOP:
        return "its symlinks go in a circle", "name the place they should lead to"
    if error.errno == errno.ENOTDIR:
        return "something on its way is a file, not a directory", "name the file or a directory"
    if error.errno == errno.EACCES:
        return "a directory on its way may not be searched", "check its permissions"
    if error.errno == errno.ENAMETOOLONG:
        return "it is longer than the system takes", "give a shorter path"
    return os.strerror(error.errno or 0), "check that the path can be reached"


def _nearest(target: str) -> str:
    """The longest beginning of the path that exists."""
    at = target
    while at != "/" and not os.path.exists(at):
        at = os.path.dirname(at.rstrip("/")) or "/"
    return at


def _invalid(rule: ScopeRule, what: Purpose, why: str, hint: str) -> InvalidScope:
    act = _ACTS[what].format(permission=rule.permission)
    return InvalidScope(
        f"cannot {act} {rule.target[:_SHOWN_CHARACTERS]!a}: {why}; {hint}",
        target=rule.target[:_SHOWN_CHARACTERS].encode("utf-8", "replace").decode(),
        hint=hint,
    )
