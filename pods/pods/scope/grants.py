"""From the rules of a scope to kernel rules, and what is lost on the way.

Owns the translation (ISOLATION.md sections 1.2 to 1.4) and its honesty: each rule is answered with
what was asked and what the kernel was given. Landlock knows trees only, and no exceptions: a rule
for direct entries is exact where the directory has no directories in it, and otherwise cut down to
the files that are there; a deny inside an allowed tree cannot be said at all. Used by `confine`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from pods.scope.baseline import READ, WRITE
from pods.scope.landlock import FILE_ACCESS, Access, LandlockError, Ruleset
from pods.scope.regions import contains, intersect, region_of
from pods_protocol.values import Permission, RuleEnforcement, ScopeGrant, ScopeRule

MAX_ENTRIES: Final = 4096
"""Files of one directory that become kernel rules of their own, at 6 microseconds each; those
beyond are not given, and the record says so."""

_READ_ENTRIES: Final = READ & FILE_ACCESS
_WRITE_ENTRIES: Final = WRITE & FILE_ACCESS
_WRITE_FLAT: Final = WRITE & ~(Access.MAKE_DIR | Access.REMOVE_DIR)
"""In a directory without directories: none can be made there, so there is nothing further down."""


class TargetChanged(OSError):
    """A rule's target is not what it was when the rule was checked; `filename` is the target."""


class _Descriptor:
    """An O_PATH descriptor, closed at the end of its block."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)


def open_target(target: str) -> _Descriptor:
    """Open what a canonical path stands for, and prove that it still is the path's own.

    Check and rule use this one descriptor, so a symlink put on the way after the check is seen, and
    one put there later changes nothing.

    Raises:
        TargetChanged: it is gone, or the path leads elsewhere now.
    """
    try:
        descriptor = os.open(target, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise TargetChanged(
            error.errno, f"it cannot be opened: {os.strerror(error.errno or 0)}", target
        ) from error
    found = os.readlink(f"/proc/self/fd/{descriptor}")
    if found != target:
        os.close(descriptor)
        raise TargetChanged(errno.ESTALE, f"it leads to {found} now", target)
    return _Descriptor(descriptor)


def allow_grant(ruleset: Ruleset, grant: ScopeGrant) -> tuple[RuleEnforcement, ...]:
    """Give a ruleset what a grant allows; returns what became of each allow rule, in order.

    Raises:
        TargetChanged: a target is not what it was.
        LandlockError: the kernel refused a rule.
    """
    return tuple(_allow(ruleset, rule, grant.deny) for rule in grant.allow)


def _allow(ruleset: Ruleset, rule: ScopeRule, deny: Sequence[ScopeRule]) -> RuleEnforcement:
    permission: Permission | None = rule.permission
    exceptions: list[ScopeRule] = []
    region = region_of(rule)
    for denial in deny:
        if contains(region_of(denial), region):
            if denial.permission == "read":
                permission = None
            elif permission == "write":
                permission = "read"
        elif intersect(region_of(denial), region) is not None:
            exceptions.append(denial)
    exceptions = [
        denial for denial in exceptions if denial.permission == "read" or permission == "write"
    ]
    asked = _in_words(rule)
    if permission is None:
        return RuleEnforcement(rule=rule, asked=asked, got="nothing: all of it is denied")
    with closing(open_target(rule.target)) as target:
        got, exact = _give(ruleset, rule, permission, target.number)
    if exceptions:
        asked += "".join(f", except {_in_words(denial)}" for denial in exceptions)
        got += ", without the exceptions: the kernel has no deny inside what is allowed"
        exact = False
    elif permission != rule.permission:
        got += ", because a deny takes the rest"
    return RuleEnforcement(rule=rule, asked=asked, got=got, exact=exact)


def _in_words(rule: ScopeRule) -> str:
    reach = "and all below" if rule.recursive else "and its direct entries"
    return f"{rule.permission} {rule.target} {reach}"


def _give(
    ruleset: Ruleset, rule: ScopeRule, permission: Permission, target: int
) -> tuple[str, bool]:
    path = rule.target
    writes = permission == "write"
    whole = WRITE if writes else READ
    if not stat.S_ISDIR(os.fstat(target).st_mode):
        ruleset.allow(target, path, whole)
        return f"{permission} in place", True
    if rule.recursive:
        ruleset.allow(target, path, whole)
        return f"{permission} {path} and all below", True
    files, directories = _entries(target, path)
    if not directories:
        ruleset.allow(target, path, _WRITE_FLAT if writes else READ)
        return f"{permission} {path} and its direct entries", True
    given = 0
    for name in files[:MAX_ENTRIES]:
        try:
            entry = os.open(
                f"/proc/self/fd/{target}/{name}", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            )
        except OSError:  # it is gone since it was listed
            continue
        with closing(_Descriptor(entry)):
            if stat.S_ISREG(os.fstat(entry).st_mode):
                ruleset.allow(entry, path, _WRITE_ENTRIES if writes else _READ_ENTRIES)
                given += 1
    ruleset.allow(target, path, Access.READ_DIR)
    got = (
        f"{permission} the {given} files that are in {path} now, in place, and list names: it has "
        "directories in it, and the kernel's rules reach down"
    )
    return got, False


def _entries(directory: int, path: str) -> tuple[list[str], bool]:
    """The names of the regular files in a directory, and whether it has directories."""
    files: list[str] = []
    directories = False
    try:
        with os.scandir(f"/proc/self/fd/{directory}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories = True
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
    except OSError as error:
        raise LandlockError(error.errno, "it cannot be listed", path) from error
    return sorted(files), directories
