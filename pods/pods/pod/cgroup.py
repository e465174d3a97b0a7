"""A pod's cgroup (v2): made, entered, listened to, cleared away; and the look for a place for some.

Owns every file that is read or written there but for those that divide a group among pods
(`pods.launcher.delegation`). The launcher makes a pod's group, the pod's process enters it before
it is confined, and it and its keeper hear what happens there. Knows nothing of turns. Nothing of
this runs where groups are not delegated to us.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from typing import Final

from pods.pod.cgroup_rules import (
    EVENTS,
    Facts,
    count_in,
    crossed_by,
    directory_of,
    memory_ceilings,
    memory_kept,
    mounts_in,
    own_path,
    task_ceiling,
    to_divide,
    why_not,
)
from pods_protocol.values import LimitName, Limits

MAX_FILE_BYTES: Final = 1024 * 1024
"""Of any file there; the longest lists the processes of a group, ten bytes each."""

CLEAR_SECONDS: Final = 0.25
"""One wait for killed processes to leave a group; as long as one sweep of a keeper."""

MARKS: Final = ("user.delegate", "trusted.delegate")
"""The extended attributes by which systemd marks a group that it has delegated; only root may read
the second, which is older."""

COUNTS: Final = ("memory.current", "memory.stat", "pids.current", "cgroup.procs")
"""What says how much there is in a group."""

CEILINGS: Final = ("memory.high", "memory.max")
"""What `memory_ceilings` says, in its order."""


def look() -> tuple[str, str]:
    """The group that this process may divide among pods, and why there is none; one is empty."""
    path = own_path(read("/proc/self/cgroup"))
    if path is None:
        return "", "there is no cgroup v2 here"
    directory = directory_of(path, mounts_in(read("/proc/self/mountinfo")))
    if directory is None:
        return "", "the cgroup of this process is mounted nowhere"
    directory = to_divide(directory)
    reason = why_not(_facts(directory))
    return ("", reason) if reason else (directory, "")


def _facts(directory: str) -> Facts:
    files = ("", "/cgroup.procs", "/cgroup.subtree_control")
    marked = False
    for mark in MARKS:
        with contextlib.suppress(OSError):
            marked = marked or os.getxattr(directory, mark) == b"1"
    return Facts(
        directory=directory,
        controllers=frozenset(read(f"{directory}/cgroup.controllers").split()),
        is_top=not os.path.exists(f"{directory}/cgroup.type"),
        marked=marked,
        writable=all(os.access(f"{directory}{name}", os.W_OK) for name in files),
        is_root=os.geteuid() == 0,
    )


def make_group(home: str, pod_id: str, limits: Limits) -> str:
    """Make the group of a pod; returns its directory.

    Raises:
        OSError: the kernel refuses; then there is none.
    """
    directory = f"{home}/{pod_id}"
    remove_group(directory)  # of a life before this one
    os.mkdir(directory, 0o755)
    try:
        if limits.memory_bytes is not None:
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap
                write(f"{directory}/memory.swap.max", "0")
            _, most = memory_ceilings(limits.memory_bytes, None)
            write(f"{directory}/memory.max", str(most))
        if limits.processes is not None:
            write(f"{directory}/pids.max", str(task_ceiling(limits.processes)))
    except OSError:
        os.rmdir(directory)
        raise
    return directory


def enter_group(directory: str) -> None:
    """Move this process there; what it starts from here on is in it.

    Raises:
        OSError: the kernel refuses.
    """
    write(f"{directory}/cgroup.procs", "0")


def remove_group(directory: str) -> bool:
    """Remove a group, if no process is in it; whether it is gone."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def clear_group(directory: str) -> bool:
    """Kill whatever is in a group, and remove it; whether it is gone.

    The kernel removes none in which anything lives, so this proves once more that nothing does.
    """
    if remove_group(directory):
        return True
    with contextlib.suppress(OSError):  # before Linux 5.14 there is no such file
        write(f"{directory}/cgroup.kill", "1")
    _wait_until_empty(directory)
    for path, _, _ in os.walk(directory, topdown=False):
        remove_group(path)
    return not os.path.exists(directory)


def remove_home(home: str) -> None:
    """Remove what pods have left below a supervisor's group, and it, where nothing lives there."""
    for pod_id in empty_groups(home):
        remove_group(f"{home}/{pod_id}")
    remove_group(home)


def empty_groups(home: str) -> list[str]:
    """The pods' groups below a supervisor's in which nothing lives."""
    try:
        with os.scandir(home) as entries:
            names = sorted(one.name for one in entries if one.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [n for n in names if "populated 0" in read(f"{home}/{n}/cgroup.events").splitlines()]


def _wait_until_empty(directory: str) -> None:
    with contextlib.suppress(OSError), open(f"{directory}/cgroup.events", "rb") as file:
        poll = select.poll()
        poll.register(file, select.POLLPRI)
        while count_in(os.pread(file.fileno(), MAX_FILE_BYTES, 0).decode(), "populated"):
            if not poll.poll(CLEAR_SECONDS * 1000):
                return


class Group:
    """The group of one pod, for who listens to it.

    It is read through descriptors from here on: the pod can take the rights from these files, since
    they are its user's and no Landlock asks about rights.

    Args:
        directory: of it.
        memory_bytes: the pod's limit on it, if it has one.

    Attributes:
        directory: as given.

    Raises:
        OSError: it is not there, or may not be read.
    """

    def __init__(self, directory: str, memory_bytes: int | None) -> None:
        self.directory = directory
        self._memory_bytes = memory_bytes
        self._seen: dict[str, int] = {}
        self._open: dict[str, int] = {}
        with contextlib.ExitStack() as failed:
            failed.callback(self._close_files)
            for name in (*EVENTS, *COUNTS):
                self._open[name] = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for name in CEILINGS:
                with contextlib.suppress(OSError):  # the pod's own process may not, and need not
                    self._open[name] = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            self._epoll = select.epoll()
            for name in EVENTS:
                self._epoll.register(self._open[name], select.EPOLLPRI)
            self._begun_with = self._kept()
            failed.pop_all()
        self.take()

    def fileno(self) -> int:
        """What can be read once something has happened, until `take`."""
        return self._epoll.fileno()

    def take(self) -> list[LimitName]:
        """The limits that were crossed since the last time."""
        crossed: list[LimitName] = []
        for name, words in EVENTS.items():
            text = self._read(name)
            if not text:
                # It would be said to have news for ever.
                with contextlib.suppress(OSError):
                    self._epoll.unregister(self._open[name])
            for word in words:
                count = count_in(text, word)
                if count > self._seen.get(word, 0) and (word != "high" or self._is_over()):
                    crossed.append(crossed_by(word))
                self._seen[word] = count
        return list(dict.fromkeys(crossed))

    def close(self) -> None:
        """Listen no more."""
        self._epoll.close()
        self._close_files()

    def processes(self, most: int) -> int:
        """How many there are beside the pod's own; where it is at most `most`, maybe too many.

        Threads are counted together, in one short read; where even they are few enough, nobody
        need tell them apart.
        """
        tasks = int(self._read("pids.current") or 0) - 1
        if tasks <= most:
            return tasks
        return self._listed(most + 1) - 1

    def begin(self) -> None:
        """The pod's own process has begun: from here on the limit is on what comes on top."""
        self._begun_with = self._kept()
        if self._memory_bytes is None:
            return
        ceilings = memory_ceilings(self._memory_bytes, self._current())
        for name, most in zip(CEILINGS, ceilings, strict=True):
            with contextlib.suppress(OSError, KeyError):
                os.write(self._open[name], str(most).encode())

    def _is_over(self) -> bool:
        """Whether there is more memory than the limit allows, beside what the kernel can drop."""
        most = self._memory_bytes
        return most is not None and self._kept() - self._begun_with > most

    def _kept(self) -> int:
        return memory_kept(self._current(), self._read("memory.stat"))

    def _current(self) -> int:
        return int(self._read("memory.current") or 0)

    def _read(self, name: str) -> str:
        """What is in one of the files, as far as one read goes; empty once the group is gone.

        Others may remove it as soon as nothing lives there; who listens must not fail by that.
        """
        with contextlib.suppress(OSError):
            return os.pread(self._open[name], MAX_FILE_BYTES, 0).decode()
        return ""

    def _listed(self, most: int) -> int:
        """How many processes are listed; where it is more than `most`, at least one more."""
        # One read ends with a page of the kernel's, which is some 600 of them.
        found = at = 0
        with contextlib.suppress(OSError):
            while found <= most:
                part = os.pread(self._open["cgroup.procs"], MAX_FILE_BYTES, at)
                if not part:
                    break
                at += len(part)
                found += part.count(b"\n")
        return found

    def _close_files(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def read(path: str) -> str:
    """What is in a file of the kernel's; empty where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(MAX_FILE_BYTES).decode(errors="surrogateescape")
    except OSError:
        return ""


def write(path: str, text: str) -> None:
    """Write to a file of the kernel's, at once.

    Raises:
        OSError: there is none, or it refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
