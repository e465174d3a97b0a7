"""The system calls that Landlock leaves open, and sockets, refused by a filter of our own.

Owns the numbers of those calls for x86-64 and aarch64, the assembling of the filter, and its
installing. Knows nothing of scopes or pods. Used by `pods.scope.confine`, last of all restrictions.

The list is a deny-list on purpose: it closes ways out of a pod (ISOLATION.md section 3), it does
not decide what programs may use. A machine that is not in the tables gets no filter, and says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Mapping
from functools import cache
from typing import Final, Literal, NamedTuple

from pods.scope.landlock import set_no_new_privileges
from pods_protocol.values import Doors, Network

_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

_RETURN_ALLOW: Final = 0x7FFF0000
_RETURN_ERRNO: Final = 0x00050000

_LOAD: Final = 0x20
_MASK: Final = 0x54
_JUMP: Final = 0x05
_JUMP_EQUAL: Final = 0x15
_JUMP_NOT_BELOW: Final = 0x35
_RETURN: Final = 0x06

_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_ARGUMENTS_AT: Final = 16
"""Where `struct seccomp_data` has the call's number, the architecture and six 64-bit arguments;
both machines of the tables put an argument's low half first."""

X32_BIT: Final = 0x40000000
"""Set in the number of a call in x86-64's second convention, which has numbers of its own."""

Action = Literal["EPERM", "EACCES", "ENOSYS"]

_ERRNO: Final[Mapping[Action, int]] = {
    "EPERM": errno.EPERM,
    "EACCES": errno.EACCES,
    "ENOSYS": errno.ENOSYS,
}

_ALL_BITS: Final = 0xFFFFFFFF


class Test(NamedTuple):
    """A condition on the low 32 bits of one argument, counted from 0; on those of `mask` alone."""

    argument: int
    value: int
    equal: bool = True
    mask: int = _ALL_BITS


class Refusal(NamedTuple):
    """A call that is refused: always, or if one of the tests holds, or unless one of them does."""

    name: str
    action: Action = "EPERM"
    tests: tuple[Test, ...] = ()
    unless: tuple[Test, ...] = ()


class Machine(NamedTuple):
    """One architecture: its AUDIT_ARCH value and its numbers of the calls below."""

    audit: int
    numbers: Mapping[str, int]


TIOCSTI: Final = 0x5412
TIOCLINUX: Final = 0x541C
PRIO_USER: Final = 2
IOPRIO_WHO_USER: Final = 3

REFUSALS: Final = (
    # Anybody's limits but one's own: with RLIMIT_CPU this kills what no signal reaches. The pid is
    # told by its low half; the upper is no part of it.
    Refusal("prlimit64", tests=(Test(0, 0, equal=False),)),
    # Priorities of others, by their pid, and of all the user's processes at once.
    Refusal("setpriority", tests=(Test(0, PRIO_USER), Test(1, 0, equal=False))),
    Refusal("ioprio_set", tests=(Test(0, IOPRIO_WHO_USER), Test(1, 0, equal=False))),
    # How others are scheduled: a policy or a niceness by which they hardly run at all. A thread of
    # one's own is named by its number as well (`pthread_setschedparam`) and refused with them, for
    # a filter cannot tell them apart. `sched_setaffinity` is none of it: libraries pin their
    # threads by it, each by its number, and fail where they cannot.
    Refusal("sched_setparam", tests=(Test(0, 0, equal=False),)),
    Refusal("sched_setscheduler", tests=(Test(0, 0, equal=False),)),
    Refusal("sched_setattr", tests=(Test(0, 0, equal=False),)),
    # Typing into a terminal as if the user did.
    Refusal("ioctl", tests=(Test(1, TIOCSTI), Test(1, TIOCLINUX))),
    # Keys of the user's session.
    Refusal("keyctl"),
    Refusal("add_key"),
    Refusal("request_key"),
    # Large parts of the kernel that agents have no use for and exploits do.
    Refusal("bpf"),
    Refusal("userfaultfd"),
    Refusal("perf_event_open"),
    # Opens by inode, past every path.
    Refusal("open_by_handle_at"),
    # Does what system calls do without being one, so no filter sees it. Programs fall back.
    Refusal("io_uring_setup", "ENOSYS"),
    Refusal("io_uring_enter", "ENOSYS"),
    Refusal("io_uring_register", "ENOSYS"),
    # Starts a process in any cgroup that the user may write to, through a descriptor that Landlock
    # does not ask for: out of the pod's own and all its limits. C libraries fall back to `clone`.
    Refusal("clone3", "ENOSYS"),
)
"""What a pod's processes may not call, whatever is open to them."""

NETLINK: Final = 16
"""Tells of the interfaces of one's own network; Python has the name on Linux alone."""

FAMILIES: Final[Mapping[Network, tuple[int, ...]]] = {
    "loopback": (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, NETLINK),
    "none": (socket.AF_UNIX,),
}
"""The kinds of sockets that are left where the network is not open. Named are those that stay: a
network of its own does not keep a process from the machine's host (vsock), radios or buses."""

SOCKET_TYPE: Final = 0xF
"""The part of a socket's type that is no flag."""


def refusals_for(doors: Doors) -> tuple[Refusal, ...]:
    """What a pod's processes may not call, with what is closed to them."""
    found = [*REFUSALS]
    paths = doors.unix_sockets == "any"
    if doors.network != "open":
        kept = [kind for kind in FAMILIES[doors.network] if paths or kind != socket.AF_UNIX]
        # With nothing kept there is no test, so that each is refused.
        found += (
            Refusal("socket", "EACCES", unless=tuple(Test(0, kind) for kind in kept)),
            Refusal("socketpair", "EACCES", unless=(Test(0, socket.AF_UNIX),)),
        )
    elif not paths:
        found.append(Refusal("socket", "EACCES", tests=(Test(0, socket.AF_UNIX),)))
    if not paths:
        # One half of a pair of datagram sockets can be turned to any path afterwards, by `connect`
        # or `sendto`; the kernel refuses both to these two types.
        types = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
        found.append(
            Refusal(
                "socketpair",
                "EACCES",
                unless=tuple(Test(1, kind, mask=SOCKET_TYPE) for kind in types),
            )
        )
    return tuple(found)


MACHINES: Final[Mapping[str, Machine]] = {
    "x86_64": Machine(
        audit=0xC000003E,
        numbers={
            "ioctl": 16,
            "socket": 41,
            "socketpair": 53,
            "setpriority": 141,
            "sched_setparam": 142,
            "sched_setscheduler": 144,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "ioprio_set": 251,
            "perf_event_open": 298,
            "prlimit64": 302,
            "open_by_handle_at": 304,
            "sched_setattr": 314,
            "bpf": 321,
            "userfaultfd": 323,
            "io_uring_setup": 425,
            "io_uring_enter": 426,
            "io_uring_register": 427,
            "clone3": 435,
        },
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        numbers={
            "ioctl": 29,
            "ioprio_set": 30,
            "sched_setparam": 118,
            "sched_setscheduler": 119,
            "setpriority": 140,
            "socket": 198,
            "socketpair": 199,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "perf_event_open": 241,
            "prlimit64": 261,
            "open_by_handle_at": 265,
            "sched_setattr": 274,
            "bpf": 280,
            "userfaultfd": 282,
            "io_uring_setup": 425,
            "io_uring_enter": 426,
            "io_uring_register": 427,
            "clone3": 435,
        },
    ),
}

_libc: Final = ctypes.CDLL(None, use_errno=True)


class SeccompError(OSError):
    """The kernel did not take the filter: `errno` and why."""


class _Instruction(NamedTuple):
    code: int
    constant: int
    if_true: int = 0
    if_false: int = 0


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def assemble(machine: Machine, refusals: tuple[Refusal, ...] = REFUSALS) -> bytes:
    """The filter's instructions for one machine, as the kernel reads them.

    Each refusal is a block that looks at the number, and where it is its own at the arguments; what
    it does not refuse goes on to the next block.
    """
    program = [
        _Instruction(_LOAD, _MACHINE_AT),
        _Instruction(_JUMP_EQUAL, machine.audit, if_true=1),
        _Instruction(_RETURN, _RETURN_ERRNO | errno.ENOSYS),
        _Instruction(_LOAD, _NUMBER_AT),
        # aarch64 has no numbers that high, so the test costs nothing there and means the same.
        _Instruction(_JUMP_NOT_BELOW, X32_BIT, if_false=1),
        _Instruction(_RETURN, _RETURN_ERRNO | errno.ENOSYS),
    ]
    for refusal in refusals:
        program += _block(machine.numbers[refusal.name], refusal)
    program.append(_Instruction(_RETURN, _RETURN_ALLOW))
    return b"".join(
        struct.pack("=HBBI", step.code, step.if_true, step.if_false, step.constant)
        for step in program
    )


def _block(number: int, refusal: Refusal) -> list[_Instruction]:
    refuse = _Instruction(_RETURN, _RETURN_ERRNO | _ERRNO[refusal.action])
    tests = refusal.tests or refusal.unless
    if not tests:
        return [_Instruction(_JUMP_EQUAL, number, if_false=1), refuse]
    body: list[_Instruction] = []
    for position, test in enumerate(tests):
        # From behind this test over those after it to the first of the two that end the block.
        found_at = sum(2 + (later.mask != _ALL_BITS) for later in tests[position + 1 :]) + 1
        body.append(_Instruction(_LOAD, _ARGUMENTS_AT + 8 * test.argument))
        if test.mask != _ALL_BITS:
            body.append(_Instruction(_MASK, test.mask))
        if test.equal:
            body.append(_Instruction(_JUMP_EQUAL, test.value, if_true=found_at))
        else:
            body.append(_Instruction(_JUMP_EQUAL, test.value, if_false=found_at))
    # Where no test held the first of these is next, and where one did the second. The number is
    # loaded again for the blocks after this one, which may be about the same call.
    leave = _Instruction(_JUMP, 1)
    if refusal.tests:
        body += [leave, refuse]
    else:
        body.append(refuse)
    body.append(_Instruction(_LOAD, _NUMBER_AT))
    return [_Instruction(_JUMP_EQUAL, number, if_false=len(body)), *body]


@cache
def machine_filter(doors: Doors) -> bytes | None:
    """The filter for this machine; None where its numbers are not known here."""
    machine = MACHINES.get(os.uname().machine)
    # A 32-bit interpreter on a 64-bit kernel speaks the other convention.
    if machine is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    return assemble(machine, refusals_for(doors))


def install(instructions: bytes) -> None:
    """Hold the calling thread and everything it forks or execs to a filter, for ever.

    Raises:
        SeccompError: refused.
    """
    set_no_new_privileges()
    program = _Program(len(instructions) // 8, instructions)
    zero = ctypes.c_ulong(0)
    if _libc.prctl(
        _PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program), zero, zero
    ):
        code = ctypes.get_errno()
        raise SeccompError(code, f"prctl(PR_SET_SECCOMP): {os.strerror(code)}")
