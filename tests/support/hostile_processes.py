"""What a hostile pod tries with other processes: the rows and their functions."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Callable

from hostile_ground import (
    NOT_OURS,
    OK,
    REFUSED,
    SIGNALS,
    UNTRIED,
    Attempt,
    Ground,
    number,
    read,
    syscall,
    write,
)

_BEST_EFFORT = 2 << 13
_OTHER = os.sched_param(0)


def _pidfd_signal(ground: Ground) -> None:
    signal.pidfd_send_signal(os.pidfd_open(ground.bystander), 0)


def _thread_signal(ground: Ground) -> None:
    syscall(number(234, 131), ground.bystander, ground.bystander, 0)


def _trace(of: Callable[[Ground], int]) -> Callable[[Ground], object]:
    return lambda ground: syscall(number(101, 117), 0x4206, of(ground), 0, 0)


def _signal(of: Callable[[Ground], int]) -> Callable[[Ground], None]:
    return lambda ground: os.kill(of(ground), 0)


def _environment(of: Callable[[Ground], int]) -> Callable[[Ground], object]:
    return lambda ground: read(f"/proc/{of(ground)}/environ")


def _memory(call: int) -> Callable[[Ground], object]:
    """A page of the bystander's; whether one may is asked before whether there is such a page."""

    def act(ground: Ground) -> object:
        here = ctypes.create_string_buffer(8)
        mine = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(here), 8))
        theirs = ctypes.create_string_buffer(struct.pack("=QQ", 4096, 8))
        return syscall(call, ground.bystander, mine, 1, theirs, 1, 0)

    return act


def _descriptor(ground: Ground) -> None:
    syscall(438, os.pidfd_open(ground.bystander), 0, 0)


def _limits(ground: Ground) -> None:
    resource.prlimit(ground.bystander, resource.RLIMIT_CPU, (3600, 3600))


def _attributes(ground: Ground) -> None:
    """The niceness of 19, which who is not root cannot take back."""
    fields = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, 19, 0, 0, 0, 0)
    buffer = ctypes.create_string_buffer(fields, len(fields))
    syscall(number(314, 274), ground.bystander, buffer, 0)


def _own_child(ground: Ground) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


PROCESSES: tuple[Attempt, ...] = (
    Attempt(
        "processes", "signal a bystander", _signal(lambda g: g.bystander), NOT_OURS, since=SIGNALS
    ),
    Attempt("processes", "signal it by descriptor", _pidfd_signal, NOT_OURS, since=SIGNALS),
    Attempt("processes", "signal its thread (tgkill)", _thread_signal, NOT_OURS, since=SIGNALS),
    Attempt(
        "processes", "signal the launcher", _signal(lambda g: g.launcher), NOT_OURS, since=SIGNALS
    ),
    Attempt("processes", "signal its keeper", _signal(lambda g: g.keeper), NOT_OURS, since=SIGNALS),
    Attempt(
        "processes", "signal a supervisor", _signal(lambda g: g.supervisor), NOT_OURS, since=SIGNALS
    ),
    Attempt(
        "processes", "signal another pod", _signal(lambda g: g.sibling), NOT_OURS, since=SIGNALS
    ),
    Attempt("processes", "trace a bystander", _trace(lambda g: g.bystander), NOT_OURS, UNTRIED),
    Attempt("processes", "trace a supervisor", _trace(lambda g: g.supervisor), NOT_OURS, UNTRIED),
    Attempt("processes", "trace another pod", _trace(lambda g: g.sibling), NOT_OURS, UNTRIED),
    Attempt(
        "processes", "read a bystander's memory (process_vm_readv)", _memory(number(310, 270)),
        NOT_OURS, UNTRIED,
    ),
    Attempt(
        "processes", "write it (process_vm_writev)", _memory(number(311, 271)), NOT_OURS, UNTRIED,
    ),
    Attempt("processes", "take its descriptor (pidfd_getfd)", _descriptor, NOT_OURS, UNTRIED),
    Attempt(
        "processes", "read a bystander's environment", _environment(lambda g: g.bystander), REFUSED,
    ),
    Attempt(
        "processes", "read a supervisor's environment", _environment(lambda g: g.supervisor),
        REFUSED,
    ),
    Attempt(
        "processes", "read another pod's environment", _environment(lambda g: g.sibling), REFUSED,
    ),
    Attempt(
        "processes", "see a bystander's descriptors",
        lambda g: os.listdir(f"/proc/{g.bystander}/fd") and os.readlink(
            f"/proc/{g.bystander}/fd/0"), REFUSED,
    ),
    Attempt("processes", "limit a bystander (prlimit)", _limits, NOT_OURS),
    Attempt(
        "processes", "change a bystander's priority",
        lambda g: os.setpriority(os.PRIO_PROCESS, g.bystander, 19), NOT_OURS,
    ),
    Attempt(
        "processes", "the priority of its reads (ioprio_set)",
        lambda g: syscall(number(251, 30), 1, g.bystander, _BEST_EFFORT | 7), NOT_OURS,
    ),
    Attempt(
        "processes", "how it is scheduled (sched_setscheduler)",
        lambda g: os.sched_setscheduler(g.bystander, os.SCHED_BATCH, _OTHER), NOT_OURS,
    ),
    Attempt(
        "processes", "with which parameters (sched_setparam)",
        lambda g: os.sched_setparam(g.bystander, _OTHER), NOT_OURS,
    ),
    Attempt("processes", "with which niceness (sched_setattr)", _attributes, NOT_OURS),
    Attempt(
        "processes", "have it killed where memory is short (oom_score_adj)",
        lambda g: write(f"/proc/{g.bystander}/oom_score_adj", "900"), REFUSED,
    ),
)  # fmt: skip

MOVED: tuple[Attempt, ...] = (
    Attempt(
        "gaps", "move a bystander to another processor",
        lambda g: os.sched_setaffinity(g.bystander, os.sched_getaffinity(g.bystander)), OK,
    ),
)  # fmt: skip

WORKING: tuple[Attempt, ...] = (Attempt("must work", "signal a child of its own", _own_child, OK),)
