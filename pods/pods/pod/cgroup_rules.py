"""What a process's cgroup is to us: where it lies, if it is ours to divide, what is told of it.

Owns the reading of the kernel's texts (`/proc/PID/cgroup`, `mountinfo`, `*.events`), the judgement
that a group was delegated, the names of what we make in one, and the numbers that are written
there. Pure; `pods.pod.cgroup` and `pods.launcher.delegation` ask it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pods_protocol.values import LimitName, Limits

NEEDED: Final = ("memory", "pids")
"""The controllers that hold what nothing else in the kernel does."""

OWN_NAME: Final = "pods-own"
"""Where in a delegated group everything goes that was in it: a group that gives controllers to the
groups below it may hold no process itself."""

HOME_PREFIX: Final = "pods-of-"
"""Begins the name of a group that holds the pods' groups of one supervisor."""

START_BYTES: Final = 256 * 1024 * 1024
"""Over a pod's limit until its own process has begun: what that takes then is not counted."""

MARGIN_PART: Final = 8
MARGIN_BYTES: Final = 16 * 1024 * 1024
"""From `memory.high`, at which the kernel slows down who takes memory, and tells, to `memory.max`,
at which it kills the largest process, which may be the pod's own: an eighth, at least this. So the
pod ends the turn, as a rule, and goes on."""

TASKS_PER_PROCESS: Final = 8
SPARE_TASKS: Final = 256
"""`pids.max` counts threads, and a limit on processes does not: some programs have dozens. So it is
this far above the limit, and only stops what outruns the count."""

_SYSTEMD: Final = re.compile(r"\.(scope|service|slice)\Z")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")

_MOUNT_ROOT: Final = 3
_MOUNT_POINT: Final = 4
_FIELDS_BEFORE: Final = 5
EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "memory.events": ("high", "oom"),
    "pids.events": ("max",),
}
"""The files that tell of a crossed limit, and the lines in each that do. Not `oom_kill`, which also
counts the victims of a machine without memory, and not `memory.events`' own `max`, at which files
leave memory. So they do at `high`: that only says that it is time to look."""

_CROSSINGS: Final[Mapping[str, LimitName]] = {
    "high": "memory_bytes",
    "oom": "memory_bytes",
    "max": "processes",
}
_FREE_TO_GO: Final = ("active_file", "inactive_file", "slab_reclaimable")
"""In `memory.stat`: what the kernel drops where memory is wanted."""


class Mount(NamedTuple):
    """One place where groups are seen: which of them lies there, and the directory."""

    root: str
    directory: str


class Facts(NamedTuple):
    """What is known of the group that is to be divided.

    Attributes:
        directory: where it lies.
        controllers: what it may give to groups below.
        is_top: it is the machine's own, and nobody's to divide.
        marked: systemd says that it is delegated.
        writable: this process may make groups in it and move processes there.
        is_root: of whom that says nothing.
    """

    directory: str
    controllers: frozenset[str]
    is_top: bool
    marked: bool
    writable: bool
    is_root: bool


def own_path(text: str) -> str | None:
    """The v2 group of a process, as its `/proc/PID/cgroup` names it; None where it has none."""
    for line in text.splitlines():
        if line.startswith("0::/"):
            return line.removeprefix("0::").removesuffix(" (deleted)")
    return None


def mounts_in(mountinfo: str) -> list[Mount]:
    """The places where v2 groups are mounted."""
    found: list[Mount] = []
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and after.split(" ")[0] == "cgroup2" and len(fields) > _FIELDS_BEFORE:
            found.append(Mount(_plain(fields[_MOUNT_ROOT]), _plain(fields[_MOUNT_POINT])))
    return found


def directory_of(path: str, mounts: Sequence[Mount]) -> str | None:
    """Where a group lies; None where no mount shows it."""
    for mount in mounts:
        root = mount.root.rstrip("/")
        if path == mount.root or path.startswith(f"{root}/"):
            below = path[len(root) :].rstrip("/")
            if ".." not in below.split("/"):
                return f"{mount.directory.rstrip('/')}{below}"
    return None


def to_divide(directory: str) -> str:
    """The group that is to be divided by a process in this one: above it, where we made this."""
    return directory.removesuffix(f"/{OWN_NAME}")


def why_not(facts: Facts) -> str:
    """Why a group cannot be divided among pods; empty where it can."""
    where = facts.directory
    name = where.rpartition("/")[2]
    if f"/{HOME_PREFIX}" in where:
        return f"{where} is a pod's own cgroup"
    missing = [one for one in NEEDED if one not in facts.controllers]
    if missing:
        return f"the cgroup {where} has no controller for {' and '.join(missing)}"
    if facts.is_top:
        return f"{where} is the cgroup of the whole machine"
    if _SYSTEMD.search(name) and not facts.marked:
        return f"systemd has not delegated the cgroup {where}"
    if facts.is_root and not facts.marked:
        return (
            f"nothing says that the cgroup {where} was delegated (its attribute `user.delegate`), "
            "and root may write to every one"
        )
    if not facts.writable:
        return f"the cgroup {where} is not delegated to this user"
    return ""


def wants_group(limits: Limits) -> bool:
    """Whether a pod with these limits is better held in a group of its own."""
    return limits.memory_bytes is not None or limits.processes is not None


def task_ceiling(processes: int) -> int:
    """`pids.max` for a pod with this limit on its processes."""
    return processes * TASKS_PER_PROCESS + SPARE_TASKS


def memory_ceilings(memory_bytes: int, begun_with: int | None) -> tuple[int, int]:
    """`memory.high` and `memory.max` for a pod with this limit.

    Args:
        memory_bytes: the limit.
        begun_with: what the group held when the pod's own process had begun; None before.
    """
    high = memory_bytes + (START_BYTES if begun_with is None else min(begun_with, START_BYTES))
    return high, high + max(memory_bytes // MARGIN_PART, MARGIN_BYTES)


def memory_kept(current: int, stat: str) -> int:
    """How much of a group's memory the kernel cannot take back, from two of its files."""
    return max(0, current - sum(count_in(stat, word) for word in _FREE_TO_GO))


def count_in(text: str, word: str) -> int:
    """A number in one of the kernel's lists of words and numbers; 0 where it is not there."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == word and number.isdecimal():
            return int(number)
    return 0


def crossed_by(word: str) -> LimitName:
    """The limit that one more of these in `EVENTS` means."""
    return _CROSSINGS[word]


def pod_group(path: str | None, pod_id: str) -> str:
    """The group of a pod, if its process is in one that was made for it; else empty."""
    if path is None:
        return ""
    above, _, name = path.rpartition("/")
    is_ours = name == pod_id and above.rpartition("/")[2].startswith(HOME_PREFIX)
    return path if is_ours else ""


def _plain(field: str) -> str:
    """A path of `mountinfo`, where spaces and their like are written in octal."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
