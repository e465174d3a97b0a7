"""What a write scope lets out of a pod by itself, whatever the kernel holds: warnings for people.

Owns the looking for files that the user's own programs run or obey, and for worktrees of git whose
repository lies elsewhere. Changes nothing and refuses nothing. Used by `confine`, for the record.
"""

from __future__ import annotations

import os
from typing import Final

from pods.scope.regions import is_below
from pods_protocol.values import ScopeGrant

MAX_GIT_FILE_BYTES: Final = 4096 + 16
"""Of a file of git's that holds one path."""

_DOTFILES: Final = (
    ".ssh", ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv", ".zprofile",
    ".config/fish", ".config/autostart", ".config/systemd", ".gitconfig", ".config/git",
)  # fmt: skip
"""What runs, or lets in, on behalf of the user outside of any pod."""


def home_warnings(grant: ScopeGrant, home: str) -> tuple[str, ...]:
    """What a write scope holds that runs outside of the pod, or opens doors to it."""
    at_home = os.path.realpath(home) if home else ""
    found: list[str] = []
    for rule in grant.allow:
        if rule.permission != "write":
            continue
        if rule.target == at_home:
            found.append(f"the write scope {rule.target} is the home directory")
            continue
        for name in _DOTFILES:
            path = f"{at_home}/{name}"
            if at_home and (
                is_below(rule.target, path) or (rule.recursive and is_below(path, rule.target))
            ):
                found.append(f"the write scope {rule.target} holds {path}")
    return tuple(found)


def worktree_warnings(grant: ScopeGrant) -> tuple[str, ...]:
    """Which write scopes are working trees of git whose repository lies elsewhere.

    There `.git` is a file that names a directory within the repository's own, where git writes its
    index and its objects. It is never given unasked: who may write there may write the hooks that
    others run.
    """
    found: list[str] = []
    for rule in grant.allow:
        if rule.permission != "write":
            continue
        common = _common_directory(rule.target)
        if common and not any(
            other.permission == "write" and other.recursive and (is_below(common, other.target))
            for other in grant.allow
        ):
            found.append(
                f"{rule.target} is a git worktree and its repository {common} is outside of the "
                f"write scope, so git cannot commit; --write {common} adds it, with its hooks"
            )
    return tuple(found)


def _common_directory(tree: str) -> str:
    """The repository's directory that a linked worktree shares; empty where this is none."""
    try:
        word, _, rest = _read_line(f"{tree}/.git").partition(b": ")
        if word != b"gitdir":
            return ""
        own = os.path.realpath(os.path.join(tree, os.fsdecode(rest)))
        common = os.path.realpath(os.path.join(own, os.fsdecode(_read_line(f"{own}/commondir"))))
    except (OSError, ValueError):  # no file, no worktree, or none that can be told
        return ""
    # A pod may have written both, or put a symlink to any file of the user's there, and reads what
    # is warned of: nothing of that is said but a place that git itself would have written.
    return common if os.path.dirname(own) == f"{common}/worktrees" else ""


def _read_line(path: str) -> bytes:
    # Others write there: what is a pipe by now must not be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, MAX_GIT_FILE_BYTES).rstrip(b"\n")
    finally:
        os.close(descriptor)
