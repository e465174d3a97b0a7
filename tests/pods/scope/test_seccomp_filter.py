"""The filter: what it refuses, on this kernel and by a machine of our own for the others."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
import subprocess
import threading
from typing import Any

import pytest

from confined import in_child, outcome
from pods.scope.seccomp import (
    IOPRIO_WHO_USER,
    MACHINES,
    PRIO_USER,
    REFUSALS,
    TIOCLINUX,
    TIOCSTI,
    X32_BIT,
    assemble,
    install,
    machine_filter,
    refusals_for,
)
from pods_protocol.values import Doors

ALLOW, REFUSE = 0x7FFF0000, 0x00050000

HERE = machine_filter(Doors())
CLOSED = Doors(network="none", unix_sockets="none")
needs_filter = pytest.mark.skipif(HERE is None, reason="no table for this machine")


def run(program: bytes, machine: int, number: int, *arguments: int) -> int:
    """What the program answers, by the kernel's rules of its small machine."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, machine, 0, *padded)
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at, held = 0, 0
    while True:
        code, if_true, if_false, constant = steps[at]
        at += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, constant)
        elif code == 0x54:
            held &= constant
        elif code == 0x05:
            at += constant
        elif code == 0x15:
            at += if_true if held == constant else if_false
        elif code == 0x35:
            at += if_true if held >= constant else if_false
        else:
            assert code == 0x06
            return int(constant)


@pytest.mark.parametrize("name", MACHINES)
def test_the_table_of_every_machine_names_every_call(name: str) -> None:
    assert set(MACHINES[name].numbers) == {refusal.name for refusal in refusals_for(CLOSED)}


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_refused_and_what_is_not(name: str) -> None:
    machine = MACHINES[name]
    program = assemble(machine)
    numbers = machine.numbers

    def ask(call: str, *arguments: int) -> int:
        return run(program, machine.audit, numbers[call], *arguments)

    refused, absent = REFUSE | errno.EPERM, REFUSE | errno.ENOSYS
    assert ask("prlimit64", 0, 7) == ALLOW
    assert ask("prlimit64", 1234) == refused
    # The kernel looks at the lower half alone; a caller may leave anything in the upper.
    assert ask("prlimit64", 1 << 32) == ALLOW
    assert ask("setpriority", 0, 0) == ALLOW
    assert ask("setpriority", 0, 77) == refused
    assert ask("setpriority", PRIO_USER, 0) == refused
    assert ask("ioprio_set", 1, 0) == ALLOW
    assert ask("ioprio_set", 1, 77) == refused
    assert ask("ioprio_set", IOPRIO_WHO_USER, 0) == refused
    for call in ("sched_setparam", "sched_setscheduler", "sched_setattr"):
        assert ask(call, 0, 1) == ALLOW
        assert ask(call, 1234, 0) == refused
        assert ask(call, 1 << 32) == ALLOW
    assert ask("ioctl", 0, 0x5401) == ALLOW
    assert ask("ioctl", 0, TIOCSTI) == refused
    assert ask("ioctl", 0, TIOCSTI | 1 << 32) == refused
    assert ask("ioctl", 0, TIOCLINUX) == refused
    for call in ("keyctl", "add_key", "request_key", "bpf", "userfaultfd"):
        assert ask(call) == refused
    assert ask("perf_event_open") == ask("open_by_handle_at") == refused
    assert ask("io_uring_setup") == ask("io_uring_enter") == ask("io_uring_register") == absent
    assert ask("clone3") == absent
    taken = {numbers[refusal.name] for refusal in REFUSALS}
    assert all(run(program, machine.audit, n) == ALLOW for n in range(470) if n not in taken)


FAMILIES = {
    "UNIX": 1, "INET": 2, "INET6": 10, "NETLINK": 16,
    "PACKET": 17, "CAN": 29, "TIPC": 30, "BLUETOOTH": 31, "ALG": 38, "VSOCK": 40, "QIPCRTR": 42,
}  # fmt: skip
"""By the kernel's numbers: Python has the names of those that it was built with."""

KINDS = tuple(FAMILIES)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(
    ("doors", "kept", "pairs"),
    [
        (Doors(), KINDS, ("STREAM", "SEQPACKET", "DGRAM")),
        (Doors(network="loopback"), KINDS[:4], ("STREAM", "SEQPACKET", "DGRAM")),
        (Doors(network="none"), KINDS[:1], ("STREAM", "SEQPACKET", "DGRAM")),
        (Doors(unix_sockets="none"), KINDS[1:], ("STREAM", "SEQPACKET")),
        (Doors(network="loopback", unix_sockets="none"), KINDS[1:4], ("STREAM", "SEQPACKET")),
        (CLOSED, (), ("STREAM", "SEQPACKET")),
    ],
    ids=["open", "loopback", "none", "no unix", "loopback, no unix", "neither"],
)
def test_the_kinds_of_sockets_that_are_left(
    name: str, doors: Doors, kept: tuple[str, ...], pairs: tuple[str, ...]
) -> None:
    machine = MACHINES[name]
    program = assemble(machine, refusals_for(doors))

    def makes(call: str, *arguments: int) -> bool:
        answer = run(program, machine.audit, machine.numbers[call], *arguments)
        assert answer in (ALLOW, REFUSE | errno.EACCES)
        return answer == ALLOW

    for kind in KINDS:
        family = FAMILIES[kind]
        # The kernel looks at the lower half alone.
        for number in (family, family | 1 << 32):
            assert makes("socket", number, socket.SOCK_STREAM) == (kind in kept), kind
    flags = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    for word in ("STREAM", "SEQPACKET", "DGRAM", "RAW"):
        # To Unix sockets a raw one is a datagram one.
        same = "DGRAM" if word == "RAW" else word
        asked = socket.SocketKind[f"SOCK_{word}"] | flags
        assert makes("socketpair", socket.AF_UNIX, asked) == (same in pairs)
    if doors.network != "open":
        assert not makes("socketpair", FAMILIES["TIPC"], socket.SOCK_STREAM)
    # What is refused to everybody is refused still.
    absent = run(program, machine.audit, machine.numbers["io_uring_setup"])
    assert absent == REFUSE | errno.ENOSYS
    assert run(program, machine.audit, machine.numbers["keyctl"]) == REFUSE | errno.EPERM


@pytest.mark.parametrize("name", MACHINES)
def test_another_convention_has_no_calls_at_all(name: str) -> None:
    machine = MACHINES[name]
    program = assemble(machine)
    absent = REFUSE | errno.ENOSYS
    assert run(program, 0x40000003, 1) == absent
    assert run(program, machine.audit, X32_BIT | 1) == absent
    assert run(program, machine.audit, 0xFFFFFFFF) == absent


def run_in_a_thread() -> None:
    thread = threading.Thread(target=os.getpid)
    thread.start()
    thread.join()


@needs_filter
def test_the_kernel_takes_the_filter_and_keeps_to_it() -> None:
    def act() -> dict[str, str]:
        assert HERE is not None
        install(HERE)
        parent = os.getppid()
        libc = ctypes.CDLL(None, use_errno=True)
        idle = os.sched_param(0)

        def call(name: str, *arguments: int) -> str:
            number = MACHINES[os.uname().machine].numbers[name]
            result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
            return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]

        return {
            "own limits": outcome(lambda: resource.getrlimit(resource.RLIMIT_CPU)),
            "others' limits": outcome(
                lambda: resource.prlimit(parent, resource.RLIMIT_CPU, (1000, 1000))
            ),
            "own priority": outcome(lambda: os.setpriority(os.PRIO_PROCESS, 0, 1)),
            "others' priority": outcome(lambda: os.setpriority(os.PRIO_PROCESS, parent, 1)),
            "all priorities": outcome(lambda: os.setpriority(os.PRIO_USER, 0, 1)),
            "own scheduling": outcome(lambda: os.sched_setscheduler(0, os.SCHED_BATCH, idle)),
            "others' scheduling": outcome(
                lambda: os.sched_setscheduler(parent, os.SCHED_BATCH, idle)
            ),
            "others' parameters": outcome(lambda: os.sched_setparam(parent, idle)),
            "others' attributes": call("sched_setattr", parent, 0, 0),
            "keys": call("keyctl", 0, -3, 0),
            "io_uring": call("io_uring_setup", 8, 0),
            "bpf": call("bpf", 0, 0, 0),
            "clone3": call("clone3", 0, 0),
            "threads": outcome(run_in_a_thread),
            "programs": outcome(lambda: subprocess.run(["true"], check=True)),
            "spawned": outcome(lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)),
        }

    told: Any = in_child(act)
    assert told == {
        "own limits": "ok",
        "others' limits": "EPERM",
        "own priority": "ok",
        "others' priority": "EPERM",
        "all priorities": "EPERM",
        "own scheduling": "ok",
        "others' scheduling": "EPERM",
        "others' parameters": "EPERM",
        "others' attributes": "EPERM",
        "keys": "EPERM",
        "io_uring": "ENOSYS",
        "bpf": "EPERM",
        "clone3": "ENOSYS",
        "threads": "ok",
        "programs": "ok",
        "spawned": "ok",
    }
