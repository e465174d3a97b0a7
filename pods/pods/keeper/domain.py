"""The keeper's signal domain: it may signal everybody, because only its own are in reach.

Owns the entering of a Landlock domain that scopes signals only, the proof that it holds, and
`kill(-1)`, which inside of it reaches this process's own descendants and nothing else: the kernel
walks its list of processes once, under its lock, and a fork that is under way sees the signal. So a
whole tree is signalled at once, whatever it did to be forgotten (ISOLATION.md section 4).

**Outside such a domain the same call ends everything of the user, as root the machine.** Hence the
interlock in the type: only `SignalDomain.enter` makes one, only after the kernel took the
restriction and a witness of the same user that stays outside (the launcher), which could be reached
before, could not be reached any more; and every call asks a witness first: the same one, or where
that has ended any process of this very user that cannot be signalled, which without a domain there
is none of. Knows nothing of pods. Used by `main`, `guard` and `probe`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from pods.keeper.system import plain_fork
from pods.keeper.tree import has_ended
from pods.scope.confine import missing, spoken_abi
from pods.scope.landlock import (
    NO_ACCESS,
    Access,
    LandlockError,
    Ruleset,
    Scoped,
    known_scopes,
)

MAX_STATUS_BYTES: Final = 4096
"""`/proc/PID/status` is some 1500 bytes, and what is looked for stands within the first 300."""

UIDS: Final = 4
"""Real, effective, saved, and of the file system."""

_shared: Final[list[Ruleset]] = []
"""The one set of rules that every keeper enters, where its launcher has made it; else none."""

_KEY: Final = object()
"""Known to this file alone, so that nothing else can make a domain by accident."""


class DomainBroken(RuntimeError):
    """It is not proven that the domain holds, so it was not used; find the processes one by one."""


def share_rules(switches: Mapping[str, str]) -> None:
    """Make the rules of a domain once, for every keeper that this process forks.

    To enter makes a domain of its own each time; what the rules are made of is the same for all
    (40 of the 300 pages that a keeper copies). Where the kernel refuses, each finds out by itself.

    Args:
        switches: as in `SignalDomain.enter`.
    """
    abi = 0 if missing(switches) else spoken_abi(switches)
    if not _shared and known_scopes(abi) & Scoped.SIGNALS:
        with suppress(OSError):
            _shared.append(_rules(abi, files_follow=True))


def shared_descriptors() -> tuple[int, ...]:
    """What a keeper has to keep open until it has entered, or will not enter."""
    return tuple(rules.descriptor for rules in _shared)


def forget_shared() -> None:
    """Close them: this process enters no domain any more."""
    for rules in _shared:
        rules.close()


class SignalDomain:
    """Proof that this process and its descendants are kept apart, and what that allows.

    Args:
        key: this file's own.
        owner: the process that entered; a fork of it may not use the proof, but one by `fork`.
        outsider: a process outside, asked before every call.
    """

    def __init__(self, key: object, *, owner: int, outsider: int) -> None:
        if key is not _KEY:
            raise TypeError("cannot make a signal domain: one is entered, by SignalDomain.enter")
        self._owner = owner
        self._outsider = outsider

    @classmethod
    def enter(
        cls, outsider: int, *, switches: Mapping[str, str], files_follow: bool
    ) -> SignalDomain | None:
        """Enter a domain for ever. Called in a process that has one thread and no children.

        Args:
            outsider: a living process of this user that stays outside: the launcher.
            switches: the launcher's environment; as in `pods.scope.confine`.
            files_follow: descendants will be held to file rules. Every layer refuses to move files
                between directories unless it gives that right itself, so this one then gives it
                everywhere and leaves the judgement to theirs. It also ends mounting, for root.

        Returns:
            None where the kernel cannot, or the proof failed: then nothing was signalled, and the
            tree must be found process by process.
        """
        if missing(switches):
            return None
        abi = spoken_abi(switches)
        if not known_scopes(abi) & Scoped.SIGNALS:
            return None
        if not _enter(outsider, abi, files_follow=files_follow):
            return None
        return cls(_KEY, owner=os.getpid(), outsider=outsider)

    def signal_all(self, *numbers: int) -> None:
        """Send signals to every process below this one, each to all at once.

        That none was there is no error; believe `waitpid` alone that none is.

        Raises:
            DomainBroken: the outsider does not answer EPERM, or another process entered.
        """
        for number in numbers:
            self._check()
            try:
                os.kill(-1, number)
            except ProcessLookupError:
                return

    def fork(self) -> int:
        """Fork this process, as `plain_fork`; the child is inside as well, and may use the proof.

        Raises:
            DomainBroken: another process entered.
            OSError: the system refuses.
        """
        self._check_owner()
        pid = plain_fork()
        if pid == 0:
            self._owner = os.getpid()
        return pid

    def others(self) -> list[int]:
        """Every living process of the domain but this one, as far as /proc shows them.

        Raises:
            DomainBroken: as `signal_all`.
        """
        self._check()
        own = os.getpid()
        return [
            pid for pid in _processes() if pid != own and _reachable(pid) and not has_ended(pid)
        ]

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise DomainBroken("cannot signal the domain: this process did not enter it")

    def _check(self) -> None:
        self._check_owner()
        if _refused(self._outsider):
            return
        for pid in _processes():
            if _is_of(pid, os.geteuid()) and _refused(pid) and _is_of(pid, os.geteuid()):
                self._outsider = pid
                return
        raise DomainBroken(
            f"cannot signal the domain: process {self._outsider} outside of it does not prove that "
            "it is closed, and no other one of this user does"
        )


def _enter(outsider: int, abi: int, *, files_follow: bool) -> bool:
    """Enter, and ask the process outside before and after; whether the domain is proven."""
    if not _reachable(outsider):
        return False  # an EPERM afterwards would prove nothing
    try:
        with _shared[0] if files_follow and _shared else _rules(abi, files_follow) as ruleset:
            ruleset.restrict_self()
    except LandlockError:
        return False
    return _refused(outsider)


def _rules(abi: int, files_follow: bool) -> Ruleset:
    access = Access.REFER if files_follow else NO_ACCESS
    ruleset = Ruleset(access, Scoped.SIGNALS, abi=abi)
    try:
        if files_follow:
            root = os.open("/", os.O_PATH | os.O_CLOEXEC)
            try:
                ruleset.allow(root, "/", access)
            finally:
                os.close(root)
    except BaseException:
        ruleset.close()
        raise
    return ruleset


def _reachable(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (PermissionError, ProcessLookupError):
        return False
    return True


def _processes() -> Iterator[int]:
    """Every process that /proc shows, the oldest numbers first."""
    yield from sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _is_of(pid: int, user: int) -> bool:
    """Whether a process is wholly this user's: then nothing but a domain keeps us from it."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            lines = file.read(MAX_STATUS_BYTES).splitlines()
    except OSError:
        return False
    users = [line.split()[1:] for line in lines if line.startswith(b"Uid:")]
    return len(users) == 1 and users[0] == [b"%d" % user] * UIDS


def _refused(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        pass
    return False
