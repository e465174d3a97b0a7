"""Whether a pod's own grant lets it touch a path.

Owns that one question, for agents that write files themselves and for the tools that do it for
them. The answer knows the pod's own grant; what the pod has lent to its children is the
supervisor's to know (`check_scope`), and what the kernel enforces is the kernel's.
"""

from __future__ import annotations

import os

from pods.scope.rules import covers
from pods_protocol.values import ScopeGrant


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
