"""Where a hostile pod tries things, what one attempt is, and how it reaches the kernel.

Used by the files of attempts (`hostile_files`, `hostile_processes`, `hostile_kernel`), which
`hostile_attempts` puts together.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import NamedTuple

from attrs import frozen

from hostile_ipc import Shared

PRECIOUS = "precious\n"

REFUSED = ("EACCES",)
NOT_OURS = ("EPERM",)
OK = ("ok",)
UNTRIED: tuple[str, ...] = ()

SIGNALS = 6
TRUNCATION = 3
"""The versions of Landlock from which on it keeps these."""


class Ground(NamedTuple):
    """Where an attempt is made: all paths are absolute.

    Attributes:
        name: of the attempt; each has files of its own by that name everywhere.
        write, read: the pod's scopes. `outside`: no scope of it.
        state, runtime: the pod's own directories.
        bystander: a process of the user that is no part of the pod.
        launcher, keeper: the pod's forebears.
        supervisor: one of this user. `sibling`: another pod of the same launcher.
        listener: the path of a socket that somebody else listens at; `abstract`: without a path.
        shared: what somebody else shares with who knows its names.
    """

    name: str
    write: str
    read: str
    outside: str
    state: str
    runtime: str
    bystander: int
    launcher: int
    keeper: int
    supervisor: int
    sibling: int
    listener: str
    abstract: str
    shared: Shared

    def inside(self) -> str:
        return f"{self.write}/{self.name}"

    def readable(self) -> str:
        return f"{self.read}/{self.name}"

    def victim(self) -> str:
        return f"{self.outside}/{self.name}"


@frozen
class Attempt:
    """One row: what is tried, how, and what the system answers.

    Attributes:
        group, what: for the table.
        act: the trial.
        held: the answer under Landlock and seccomp, any of these words.
        open: the answer where nothing holds the pod; empty where it is not tried then, because it
            would do harm or depends on the machine.
        since: the version of Landlock that `held` takes; below it the attempt works.
    """

    group: str
    what: str
    act: Callable[[Ground], object]
    held: tuple[str, ...]
    open: tuple[str, ...] = OK
    since: int = 1

    @property
    def name(self) -> str:
        return "".join(letter if letter.isalnum() else "_" for letter in self.what)

    def promised(self, abi: int) -> tuple[str, ...]:
        """The answer at a version of Landlock, 0 for none."""
        if not abi:
            return self.open
        return self.held if abi >= self.since else OK


libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    """A system call by its number.

    Raises:
        OSError: what the kernel answered.
    """
    passed = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return checked(int(libc.syscall(ctypes.c_long(number), *passed)))


def checked(result: int) -> int:
    """What a call of libc returned.

    Raises:
        OSError: it failed.
    """
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def number(x86: int, arm: int) -> int:
    """The number of a call on this machine."""
    return x86 if os.uname().machine == "x86_64" else arm


def write(path: str, text: str = "clobbered\n") -> None:
    with open(path, "w") as file:
        file.write(text)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()
