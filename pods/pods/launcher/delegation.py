"""Where pods get cgroups of their own: a group that was delegated to us is divided, once.

Owns the order: everything that is in the group goes into one below it, since a group that gives
controllers on may hold no process; then a group for the pods of this supervisor, whose name is the
digest of its directory. A file there names that group, for `pods doctor` and for the next launcher,
which removes what this one has left. Where nothing is delegated there is no file, and pods are
forked as if there were no cgroups. Used by the launcher alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve

from pods.paths import SupervisorPlaces
from pods.pod.cgroup import look, make_group, read, remove_group, remove_home, write
from pods.pod.cgroup_rules import HOME_PREFIX, NEEDED, OWN_NAME, wants_group
from pods.scope.regions import is_below
from pods_protocol.process_messages import PodSpec

ATTEMPTS: Final = 16
"""Rounds of moving what is in the group: who forks while it is moved leaves its child behind."""

CONTROLLERS: Final = " ".join(f"+{name}" for name in NEEDED)


class Delegation:
    """The group in which the pods of one supervisor get theirs.

    Args:
        home: its directory.
        log: takes what went wrong.
        written: what every pod may write (`PODS_EXTRA_WRITE`).
    """

    def __init__(self, home: str, log: Callable[[str], None], written: Sequence[str] = ()) -> None:
        self._home = home
        self._log = log
        self._written = tuple(written)

    def place(self, spec: PodSpec) -> PodSpec:
        """The spec with a group that was made for it, if its limits want one.

        Where none can be had, or the pod could write to its own, it is held as without: what is not
        kept by a group is not said to be.
        """
        if not wants_group(spec.limits):
            return spec
        scope = (rule.target for rule in spec.grant.allow if rule.permission == "write")
        # The whole delegated group: who may write to another one below it moves there.
        delegated = os.path.dirname(self._home)
        for target in (*self._written, *scope):
            if is_below(self._home, target) or any(
                is_below(target, above) for above in (delegated, "/sys/fs/cgroup")
            ):
                self._log(f"pod {spec.name} gets no cgroup: it may write to {target}")
                return spec
        try:
            return evolve(spec, cgroup=make_group(self._home, spec.id, spec.limits))
        except OSError as error:
            self._log(f"pod {spec.name} gets no cgroup: {error}")
            return spec

    def forget(self, pod_id: str) -> None:
        """Nothing of this pod is left, or it was never started."""
        remove_group(f"{self._home}/{pod_id}")

    def close(self) -> None:
        """No pod comes after this; groups of those that live on stay."""
        remove_home(self._home)


def take_delegation(
    places: SupervisorPlaces, log: Callable[[str], None], written: Sequence[str] = ()
) -> Delegation | None:
    """Divide the group of this process, if it was delegated to us.

    Args:
        places: of the supervisor.
        log: takes why one that was delegated cannot be used.
        written: as of `Delegation`.
    """
    before = read(places.cgroup_note)
    directory, _ = look()
    if not before and not directory:
        return None
    if before:
        remove_home(before)
    home = f"{directory}/{home_name(places)}"
    try:
        if directory:
            _divide(directory)
            with contextlib.suppress(FileExistsError):
                os.mkdir(home, 0o755)
            write(f"{home}/cgroup.subtree_control", CONTROLLERS)
            _note(places.cgroup_note, home)
            return Delegation(home, log, written)
    except OSError as error:
        log(f"the cgroup {directory} was delegated and cannot be used: {error}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(places.cgroup_note)
    return None


def home_name(places: SupervisorPlaces) -> str:
    """What the group for a supervisor's pods is called."""
    digest = hashlib.blake2b(places.runtime.encode(), digest_size=6).hexdigest()
    return f"{HOME_PREFIX}{digest}"


def _divide(directory: str) -> None:
    """Empty a group into one below it, and let it give its controllers on.

    Raises:
        OSError: the kernel refuses; EBUSY where processes come faster than they are moved.
    """
    control = f"{directory}/cgroup.subtree_control"
    if set(NEEDED) <= set(read(control).split()):
        return
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{directory}/{OWN_NAME}", 0o755)
    for attempt in range(1, ATTEMPTS + 1):
        for pid in read(f"{directory}/cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError):
                write(f"{directory}/{OWN_NAME}/cgroup.procs", pid)
        try:
            write(control, CONTROLLERS)
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == ATTEMPTS:
                raise
        else:
            return


def _note(path: str, home: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(home.encode())
