"""Whether a pod's own grant lets it touch a path, and the grant in words.

Owns that question, for agents that write files themselves and for the tools that do it for them,
and how the scope is told to programs and to models. The answer knows the pod's own grant; what the
pod has lent to its children is the supervisor's to know (`check_scope`), and what the kernel
enforces is the kernel's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Final

from pods.scope.doors import OPEN
from pods.scope.rules import covers
from pods_protocol.values import Doors, ScopeGrant, ScopeRule

MAX_SCOPE_BYTES: Final = 8 * 1024
"""Of a scope in a variable or a prompt: some hundred paths. What does not fit is counted."""


def canonical(path: str, cwd: str) -> str:
    """The path as scopes are compared: absolute, symlinks and `..` resolved."""
    return os.path.realpath(os.path.join(cwd, path))


def may_write(grant: ScopeGrant, path: str) -> bool:
    """Whether the grant lets a canonical path be written: any deny takes it away."""
    return any(
        rule.permission == "write" and covers(rule, path) for rule in grant.allow
    ) and not any(covers(rule, path) for rule in grant.deny)


def may_read(grant: ScopeGrant, path: str) -> bool:
    """Whether the grant lets a canonical path be read: denied write leaves that."""
    return any(covers(rule, path) for rule in grant.allow) and not any(
        rule.permission == "read" and covers(rule, path) for rule in grant.deny
    )


def scope_environment(grant: ScopeGrant, doors: Doors = OPEN) -> dict[str, str]:
    """What a pod's programs are told of its scope."""
    targets = {
        permission: os.pathsep.join(
            rule.target for rule in grant.allow if rule.permission == permission
        )
        for permission in ("write", "read")
    }
    return {
        "PODS_SCOPE": as_json(grant, doors),
        "PODS_SCOPE_WRITE": targets["write"],
        "PODS_SCOPE_READ": targets["read"],
    }


def as_json(grant: ScopeGrant, doors: Doors = OPEN) -> str:
    """The scope for programs: lists of patterns, `/a/**` for a tree, `/a/*` for direct entries.

    `network` and `unix_sockets` are in it where they are closed.
    `left_out` counts the rules that were cut to stay within `MAX_SCOPE_BYTES`.
    """
    lists: dict[str, list[str]] = {name: [] for name, _ in _titles(grant)}
    size = left_out = 0
    for name, rules in _titles(grant):
        for rule in rules:
            pattern = pattern_of(rule)
            size += len(os.fsencode(pattern)) + 4
            if size <= MAX_SCOPE_BYTES - 128:
                lists[name].append(pattern)
            else:
                left_out += 1
    document: dict[str, object] = {**lists, **({"left_out": left_out} if left_out else {})}
    if doors.network != "open":
        document["network"] = doors.network
    if doors.unix_sockets != "any":
        document["unix_sockets"] = doors.unix_sockets
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def as_text(grant: ScopeGrant, *, name: str, cwd: str, doors: Doors = OPEN) -> str:
    """The scope for a model's prompt: a few lines, within `MAX_SCOPE_BYTES`."""
    lines = [f"You are the pod {name}; your working directory is {cwd}."]
    size = 512
    for title, rules in _titles(grant):
        if not rules:
            continue
        lines.append(_WORDS[title])
        for at, rule in enumerate(rules):
            pattern = pattern_of(rule)
            size += len(os.fsencode(pattern)) + 3
            if size > MAX_SCOPE_BYTES:
                lines.append(f"- and {len(rules) - at} more")
                break
            lines.append(f"- {pattern}")
    lines += _closed(doors)
    lines.append(
        "Everything else of the user's files is refused (Permission denied). Do not try to get "
        f"round it: say what you need. `pods explain {name} -- COMMAND` tells what refuses it."
    )
    return "\n".join(lines) + "\n"


def _closed(doors: Doors) -> list[str]:
    lines: list[str] = []
    if doors.network == "none":
        lines.append("You have no network, not even 127.0.0.1.")
    elif doors.network == "loopback":
        lines.append("Your network is 127.0.0.1 and ::1 alone, with your own programs there.")
    if doors.unix_sockets == "none":
        lines.append("You cannot connect to Unix sockets (container engines, agents, displays).")
    return lines


_WORDS: Final = {
    "write": "You may read and write:",
    "read": "You may read:",
    "deny": "Taken out of that, neither to read nor to write:",
    "deny_write": "Taken out of that, not to write:",
}


def _titles(grant: ScopeGrant) -> Sequence[tuple[str, Sequence[ScopeRule]]]:
    return [
        (title, [rule for rule in rules if rule.permission == permission])
        for title, rules, permission in (
            ("write", grant.allow, "write"),
            ("read", grant.allow, "read"),
            ("deny", grant.deny, "read"),
            ("deny_write", grant.deny, "write"),
        )
    ]


def pattern_of(rule: ScopeRule) -> str:
    """What a rule covers, as a pattern: `/a/**` for a tree, `/a/*` for direct entries."""
    if not os.path.isdir(rule.target):
        return rule.target
    return f"{'' if rule.target == '/' else rule.target}/{'**' if rule.recursive else '*'}"
