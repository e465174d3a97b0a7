"""Holds a process to its scope: everything the kernel offers without privilege, in one order.

Owns the putting together of scope, baseline, Landlock and seccomp, and the record of what came of
it. Must not know keepers, sockets or journals. The pod's process calls `prepare` and then
`Confinement.enter`, once, before any code of an agent and while it has one thread; a probe does the
same in a child that it throws away. Nothing here falls back in silence: what cannot be had is in
the record, and a rule that cannot be given raises.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Final

from attrs import evolve, frozen

from pods.scope.baseline import DEVICE, READ, WRITE, baseline
from pods.scope.capabilities import give_up
from pods.scope.doors import OPEN, doors_of, in_words
from pods.scope.dotfiles import home_warnings, homes
from pods.scope.grants import TargetChanged, allow_grant, open_target
from pods.scope.landlock import (
    Access,
    LandlockError,
    Ruleset,
    Scoped,
    abi_version,
    known_access,
    known_scopes,
)
from pods.scope.regions import is_below
from pods.scope.seccomp import install, machine_filter
from pods.scope.warnings import worktree_warnings
from pods_protocol.values import Doors, Enforcement, ScopeGrant

OFF_VARIABLE: Final = "PODS_NO_LANDLOCK"
"""Set to 1 for the launcher, this machine is treated as one whose kernel has no Landlock."""

ABI_VARIABLE: Final = "PODS_LANDLOCK_ABI"
"""A number, for the launcher: this machine is treated as one whose kernel offers that version of
Landlock at the most. For tests of what older kernels give; it cannot give more than there is."""

EXTRA_VARIABLES: Final = (("PODS_EXTRA_READ", "read"), ("PODS_EXTRA_WRITE", "write"))
"""Directories, as in PATH, that every pod may read or write besides its scope, set for the
launcher: a shared cache of packages, the place of a coverage measurement. Nobody keeps pods apart
there, so the record warns of those that may be written."""

TRUNCATE_SINCE: Final = 3
"""Below this version of Landlock any process empties any file of its user."""

MOVES_SINCE: Final = 2
"""Below this version nothing is moved, or linked, from one directory to another."""

HANDLED: Final = ~Access.RESOLVE_UNIX
"""All file rights are refused unless given, but for connecting to sockets: that is open, and a gap
of the record."""

_GAPS: Final = (
    "names, sizes, owners and modes of files are not hidden, and those of the user's own files can "
    "be changed anywhere (chmod, touch, setfattr)",
    "when any file is opened, read or written can be watched (inotify), not what is in it",
    "/dev/shm is shared with other programs of the user, and so are System V's shared memory, "
    "semaphores and message queues",
    "other processes can be seen in /proc (command lines, not environments) and moved between "
    "processors",
)

_SOCKETS_GAP: Final = "Unix sockets that have a path can be connected to wherever they are"
_NETWORK_GAP: Final = "the network is open"
_PTY_GAP: Final = "terminals that the user has open can be read and written (/dev/pts)"
_NOBODY: Final = (
    "files of other users look like nobody's to it, as its network took a user namespace of its own"
)

_TERMINALS: Final = (("/dev/ptmx", DEVICE), ("/dev/pts", DEVICE | Access.READ_DIR))


@frozen(kw_only=True)
class OwnPlaces:
    """What a pod has besides its scope and the baseline.

    Attributes:
        write: its own directories.
        read: what else it may read, where it is there.
        modules: what else it may read, where it is there and no link leads to it: whoever writes
            beside it may not choose by a link what that is.
        listed: directories whose names it may list, likewise.
        forbidden: where other pods' things are; the baseline may not contain them.
    """

    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


class Confinement:
    """Everything that is about to hold this process; a context manager until it does.

    Attributes:
        enforcement: the record, true once `enter` has returned.
    """

    def __init__(
        self, enforcement: Enforcement, ruleset: Ruleset | None, instructions: bytes | None
    ) -> None:
        self.enforcement = enforcement
        self._ruleset = ruleset
        self._instructions = instructions

    def __enter__(self) -> Confinement:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ruleset is not None:
            self._ruleset.close()

    def enter(self) -> Enforcement:
        """Hold this process and all that it starts, for ever; returns the record.

        Raises:
            OSError: the kernel refused; what came before it holds.
        """
        if self._ruleset is None:
            return self.enforcement
        if self.enforcement.network == "loopback" and _enter_loopback():
            warnings = (*self.enforcement.warnings, _NOBODY)
            self.enforcement = evolve(self.enforcement, warnings=warnings)
        give_up()
        self._ruleset.restrict_self()
        if self._instructions is not None:
            install(self._instructions)
        return self.enforcement


def switches_from(environ: Mapping[str, str]) -> dict[str, str]:
    """What an environment says about the holding of pods; none of it is for pods themselves."""
    # The user's home, by which warnings are judged: a pod's own may be another.
    names = ("HOME", OFF_VARIABLE, ABI_VARIABLE, *(name for name, _ in EXTRA_VARIABLES))
    return {name: environ[name] for name in names if name in environ}


def missing(switches: Mapping[str, str]) -> str:
    """Why this process cannot be held by Landlock; empty where it can."""
    if switches.get(OFF_VARIABLE) == "1":
        return f"{OFF_VARIABLE}=1 is set where the launcher was started"
    if not abi_version():
        return "this kernel has no Landlock, or it is turned off at boot (see `lsm=`)"
    cap = switches.get(ABI_VARIABLE, "")
    if cap and not (cap.isdecimal() and int(cap)):
        return f"{ABI_VARIABLE}={cap}, set where the launcher was started, is no version of it"
    return ""


def spoken_abi(switches: Mapping[str, str]) -> int:
    """The version of Landlock to hold pods by, where it is not `missing`."""
    cap = switches.get(ABI_VARIABLE, "")
    return min(abi_version(), int(cap)) if cap else abi_version()


def prepare(
    grant: ScopeGrant,
    own: OwnPlaces,
    *,
    environ: Mapping[str, str],
    switches: Mapping[str, str],
    python: str | None = None,
    doors: Doors = OPEN,
) -> Confinement:
    """Make ready to hold this process to a grant.

    Args:
        environ: the pod's; PATH and HOME are read.
        switches: the launcher's (`switches_from`).
        python: the interpreter that the pod is exec'd in; None for this one.
        doors: what else is open to it. What cannot be closed stays open, and the record says so
            (`pods.scope.doors.unmet`).

    Raises:
        TargetChanged: a target of the grant is not what it was when it was checked.
        LandlockError: the kernel refused a rule.
    """
    warnings = (*home_warnings(grant, homes(switches)), *worktree_warnings(grant))
    reason = missing(switches)
    if reason:
        return Confinement(evolve(unenforced(reason), warnings=warnings), None, None)
    abi = spoken_abi(switches)
    ruleset = Ruleset(
        known_access(abi) & HANDLED, Scoped.SIGNALS | Scoped.ABSTRACT_SOCKETS, abi=abi
    )
    try:
        rules = allow_grant(ruleset, grant)
        for path, access in baseline(environ, python=python, forbidden=own.forbidden):
            _allow_if_there(ruleset, path, access)
        for path in own.write:
            with closing(open_target(os.path.realpath(path))) as target:
                ruleset.allow(target.number, path, WRITE)
        for path in own.read:
            _allow_if_there(ruleset, path, READ)
        for path in own.modules:
            _allow_if_itself(ruleset, path, READ)
        for path in own.listed:
            _allow_if_itself(ruleset, path, Access.READ_DIR)
        for path, access in _TERMINALS if doors.pty else ():
            _allow_if_there(ruleset, path, access)
        extra = extra_places(switches, own.forbidden)
        for path, permission in extra:
            _allow_if_there(ruleset, path, WRITE if permission == "write" else READ)
    except BaseException:
        ruleset.close()
        raise
    instructions = machine_filter(doors)
    if instructions is None:  # it takes the filter to keep a pod from sockets of other kinds
        doors = Doors(pty=doors.pty)
    record = Enforcement(
        backend="landlock",
        summary="",
        abi=abi,
        files="kernel" if abi >= TRUNCATE_SINCE else "partial",
        rules=rules,
        signals="kernel" if known_scopes(abi) & Scoped.SIGNALS else "none",
        syscalls="none" if instructions is None else "seccomp",
        unix_sockets=doors.unix_sockets,
        network=doors.network,
        pty=doors.pty,
        gaps=_gaps(abi, doors, filtered=instructions is not None),
        warnings=(
            *warnings,
            *(
                f"every pod may write {path} (PODS_EXTRA_WRITE)"
                for path, permission in extra
                if permission == "write"
            ),
        ),
        reason=_why_not_more(abi, filtered=instructions is not None),
    )
    return Confinement(evolve(record, summary=summarise(record)), ruleset, instructions)


def unenforced(reason: str) -> Enforcement:
    """The record of a pod that nothing holds."""
    return Enforcement(
        backend="none",
        summary="none: the registry keeps write scopes apart, the kernel does not hold pods to "
        "them",
        gaps=("a process of a pod can read and write whatever its user can",),
        reason=reason,
    )


def summarise(record: Enforcement) -> str:
    """A few words for a table."""
    if record.backend == "none":
        return record.summary
    words = f"landlock {record.abi}"
    if record.files == "partial":
        words += " (files can be emptied)"
    if record.signals == "none":
        words += " (signals open)"
    words += " + seccomp" if record.syscalls == "seccomp" else ", no seccomp"
    inexact = sum(not rule.exact for rule in record.rules)
    if inexact:
        words += f", {inexact} of {len(record.rules)} rules not exact"
    return ", ".join((words, *in_words(doors_of(record))))


def shortfall(record: Enforcement) -> str:
    """What keeps the kernel from holding a pod to exactly its scope; empty where nothing does.

    Whoever can signal others, or set their limits, is held to no scope: they do its work.
    """
    if record.files != "kernel" or record.signals != "kernel" or record.syscalls != "seccomp":
        return record.reason
    return "; ".join(
        f"asked: {rule.asked}; got: {rule.got}" for rule in record.rules if not rule.exact
    )


def extra_places(switches: Mapping[str, str], forbidden: Sequence[str]) -> list[tuple[str, str]]:
    """The user's own additions, but for those that hold, or lie in, pods' own directories."""
    found: list[tuple[str, str]] = []
    if not any(variable in switches for variable, _ in EXTRA_VARIABLES):
        return found  # as nearly everywhere: nothing to compare them with
    roots = [os.path.realpath(root) for root in forbidden]
    for variable, permission in EXTRA_VARIABLES:
        for entry in switches.get(variable, "").split(":"):
            path = os.path.realpath(entry) if os.path.isabs(entry) else "/"
            if path != "/" and not any(
                is_below(root, path) or is_below(path, root) for root in roots
            ):
                found.append((path, permission))
    return found


def _enter_loopback() -> bool:
    from pods.scope.network import enter_loopback  # few pods need it

    return enter_loopback()


def _allow_if_there(ruleset: Ruleset, path: str, access: Access) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # a part of the baseline that cannot be reached is of no use to the pod either
        return
    try:
        ruleset.allow(descriptor, path, access)
    except LandlockError as error:
        # On files of the kernel's own making (a pipe, a namespace) no rule can be put.
        if error.errno != errno.EBADFD:
            raise
    finally:
        os.close(descriptor)


def _allow_if_itself(ruleset: Ruleset, path: str, access: Access) -> None:
    with suppress(TargetChanged), closing(open_target(path)) as target:
        ruleset.allow(target.number, path, access)


def _gaps(abi: int, doors: Doors, *, filtered: bool) -> tuple[str, ...]:
    gaps = [*_GAPS]
    if doors.unix_sockets == "any":
        gaps.append(_SOCKETS_GAP)
    if doors.network == "open":
        gaps.append(_NETWORK_GAP)
    if doors.pty:
        gaps.append(_PTY_GAP)
    if abi < TRUNCATE_SINCE:
        gaps.append("any file of the user can be emptied (truncate)")
    if not known_scopes(abi) & Scoped.SIGNALS:
        gaps.append(
            "any process of the user can be signalled, and any of their abstract sockets connected "
            "to"
        )
    if not filtered:
        gaps.append(
            "other processes' limits, priorities and scheduling can be changed, and what else a "
            "filter of system calls refuses is open: keys, bpf, io_uring, typing into terminals"
        )
    if os.geteuid() == 0:
        gaps.append("it runs as root and keeps what root may do to owners, modes and the network")
    return tuple(gaps)


def _why_not_more(abi: int, *, filtered: bool) -> str:
    reasons: list[str] = []
    if abi < abi_version():
        reasons.append(f"{ABI_VARIABLE}={abi} is set where the launcher was started")
    if abi < TRUNCATE_SINCE:
        reasons.append(f"Landlock {abi} cannot refuse emptying files (Linux 6.2 can)")
    if abi < MOVES_SINCE:
        reasons.append(f"Landlock {abi} cannot give moves between directories (Linux 5.19 can)")
    if not known_scopes(abi) & Scoped.SIGNALS:
        reasons.append(f"Landlock {abi} cannot refuse signals (Linux 6.12 can)")
    if not filtered:
        reasons.append(f"no seccomp table for {os.uname().machine}")
    return "; ".join(reasons)
