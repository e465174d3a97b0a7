"""Scopes in which git cannot work, as the repository lies elsewhere: warnings for people.

Owns the looking for linked worktrees and submodules among the targets of a grant. Changes nothing
and refuses nothing. Used by `confine`, for the record.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from pods.scope.regions import is_below
from pods_protocol.values import ScopeGrant, ScopeRule

MAX_GIT_FILE_BYTES: Final = 4096 + 16
"""Of a file of git's that holds one path."""


class _Repository(NamedTuple):
    """What a tree's `.git` file leads to: what the tree is to it, and its directory."""

    kind: str
    directory: str


def worktree_warnings(grant: ScopeGrant) -> tuple[str, ...]:
    """Which scopes are working trees of git whose repository lies outside of them.

    There `.git` is a file that names a directory elsewhere, where git reads its objects and writes
    its index. It is never given unasked: who may write there may write the hooks that others run.
    """
    found: list[str] = []
    for rule in grant.allow:
        repository = _repository(rule.target)
        if repository is None or _covered(repository.directory, rule, grant):
            continue
        kind, directory = repository
        told = f"{rule.target} is a git {kind} and its repository {directory} is outside of the"
        if rule.permission == "write":
            found.append(
                f"{told} write scope, so git cannot commit; --write {directory} adds it, with its "
                "hooks"
            )
        else:
            found.append(f"{told} scope, so git cannot read it; --read {directory} adds it")
    return tuple(found)


def _covered(directory: str, rule: ScopeRule, grant: ScopeGrant) -> bool:
    return any(
        is_below(directory, other.target) and other.recursive
        for other in grant.allow
        if rule.permission == "read" or other.permission == "write"
    )


def _repository(tree: str) -> _Repository | None:
    """The repository that a tree shares or is kept in; None where this is neither."""
    try:
        word, _, rest = _read_line(f"{tree}/.git").partition(b": ")
        if word != b"gitdir":
            return None
        own = os.path.realpath(os.path.join(tree, os.fsdecode(rest)))
        # A pod may have written that, or put a symlink to any file of the user's there, and reads
        # what is warned of: nothing of that is said but a place that git itself would have written.
        if _is_submodules(own):
            return _Repository("submodule", own)
        common = os.path.realpath(os.path.join(own, os.fsdecode(_read_line(f"{own}/commondir"))))
    except (OSError, ValueError):  # no file, no worktree, or none that can be told
        return None
    if os.path.dirname(own) != f"{common}/worktrees":
        return None
    return _Repository("worktree", common)


def _is_submodules(directory: str) -> bool:
    """Whether git keeps a submodule there: below `modules` of the repository that it is part of."""
    if not os.path.isfile(f"{directory}/HEAD"):
        return False
    parts = directory.split("/modules/")
    return any(
        os.path.isfile("/modules/".join(parts[:count]) + "/HEAD") for count in range(1, len(parts))
    )


def _read_line(path: str) -> bytes:
    # Others write there: what is a pipe by now must not be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, MAX_GIT_FILE_BYTES).rstrip(b"\n")
    finally:
        os.close(descriptor)
