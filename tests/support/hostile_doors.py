"""What a pod tries at the doors that a spawn may close or open, and what becomes of it at each.

As `hostile_attempts`, for network, Unix sockets and terminals: each row has an answer for every way
to spawn a pod, all of them held by Landlock and seccomp. The second table of `pods/README.md` is
written from here.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from attrs import frozen

from confined import in_child, outcome
from pods.scope.seccomp import NETLINK, TIOCSTI
from pods_protocol.values import Doors

WAYS: Mapping[str, Doors] = {
    "": Doors(),
    "--network loopback": Doors(network="loopback"),
    "--network none": Doors(network="none"),
    "--unix-sockets none": Doors(unix_sockets="none"),
    "--pty": Doors(pty=True),
}

ANSWER_SECONDS = 5.0
FAST_OPEN = 0x20000000
MPTCP = 262
NO_MPTCP = ("EPROTONOSUPPORT", "ENOPROTOOPT")
"""Of a kernel without it, or where it is turned off."""

BEYOND = "192.0.2.1"
"""An address that is nobody's, by its standard."""


class DoorGround(NamedTuple):
    """Where an attempt is made.

    Attributes:
        tcp, udp: ports of 127.0.0.1 at which somebody outside of the pod answers.
        stream, datagram: paths of sockets at which somebody outside listens.
        terminal: one that somebody outside has open.
        launcher: a process outside.
    """

    tcp: int
    udp: int
    stream: str
    datagram: str
    terminal: str
    launcher: int


@frozen
class DoorAttempt:
    """One row: what is tried, how, and the system's answer in each of `WAYS`, in their order.

    An answer is any of its words; an empty one is not tried, because it depends on the machine.
    """

    group: str
    what: str
    act: Callable[[DoorGround], object]
    answers: tuple[tuple[str, ...], ...]


_libc = ctypes.CDLL(None, use_errno=True)


def _tcp(ground: DoorGround) -> None:
    socket.create_connection(("127.0.0.1", ground.tcp), timeout=ANSWER_SECONDS).close()


def _fast_open(ground: DoorGround) -> None:
    """Data with the first packet, and no `connect` that anybody could refuse."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.sendto(b"x", FAST_OPEN, ("127.0.0.1", ground.tcp))


def _by_many_paths(ground: DoorGround) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP) as sock:
        sock.settimeout(ANSWER_SECONDS)
        sock.connect(("127.0.0.1", ground.tcp))


def _udp(ground: DoorGround) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(ANSWER_SECONDS)
        sock.connect(("127.0.0.1", ground.udp))
        sock.send(b"x")
        sock.recv(1)


def _beyond(_: DoorGround) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((BEYOND, 9))  # only looks for a way there; nothing is sent


def _own_server(_: DoorGround) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        socket.create_connection(address, timeout=ANSWER_SECONDS).close()


def _of_family(family: int, kind: int) -> Callable[[DoorGround], None]:
    return lambda _: socket.socket(family, kind).close()


def _launchers_network(ground: DoorGround) -> None:
    descriptor = os.open(f"/proc/{ground.launcher}/ns/net", os.O_RDONLY)
    if _libc.setns(descriptor, 0):
        raise OSError(ctypes.get_errno(), "")


def _new_network(ground: DoorGround) -> None:
    if _libc.unshare(0x10000000 | 0x40000000):
        raise OSError(ctypes.get_errno(), "")
    _tcp(ground)


def _interface_outside(ground: DoorGround) -> None:
    """Ask for one's own loopback to be moved there: who may ask is told that it stays."""
    header, new_link, request_and_answer, move_to_process = struct.Struct("=IHHII"), 16, 1 | 4, 19
    link = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("lo"), 0, 0)
    asked = link + struct.pack("=HHI", 8, move_to_process, ground.launcher)
    with socket.socket(NETLINK, socket.SOCK_RAW) as sock:
        head = header.pack(header.size + len(asked), new_link, request_and_answer, 1, 0)
        sock.send(head + asked)
        (answer,) = struct.unpack_from("=i", sock.recv(4096), header.size)
    if answer:
        raise OSError(-answer, "")


def _path(ground: DoorGround) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(ground.stream)


def _pair(_: DoorGround) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        other.recv(1)


def _turned_pair(ground: DoorGround) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"x", ground.datagram)


def _turned_stream(ground: DoorGround) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.connect(ground.stream)


def _new_terminal(_: DoorGround) -> None:
    for descriptor in os.openpty():
        os.close(descriptor)


def _program_at_terminal(_: DoorGround) -> None:
    pid, master = os.forkpty()
    if pid == 0:
        os.execv("/bin/sh", ["sh", "-c", "test -t 0 && stty size >/dev/null && echo at a terminal"])
    said = b""
    while b"terminal" not in said:
        said += os.read(master, 100)  # EIO where the program said something else
    os.waitpid(pid, 0)


def _type(_: DoorGround) -> None:
    slave = os.openpty()[1]
    fcntl.ioctl(slave, TIOCSTI, b"x")


def _open_others(ground: DoorGround) -> None:
    os.close(os.open(ground.terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))


OK = ("ok",)
REFUSED = ("EACCES",)
ALL_OK = (OK, OK, OK, OK, OK)
UNTRIED: tuple[str, ...] = ()

DOOR_ATTEMPTS: tuple[DoorAttempt, ...] = (
    DoorAttempt(
        "network", "connect to a port of this machine", _tcp,
        (OK, ("ECONNREFUSED",), REFUSED, OK, OK),
    ),
    DoorAttempt(
        "network", "send with the first packet (TCP fast open)", _fast_open,
        (UNTRIED, ("ECONNREFUSED",), REFUSED, UNTRIED, UNTRIED),
    ),
    DoorAttempt(
        "network", "connect by MPTCP", _by_many_paths,
        (UNTRIED, ("ECONNREFUSED", *NO_MPTCP), REFUSED, UNTRIED, UNTRIED),
    ),
    DoorAttempt(
        "network", "be answered over UDP", _udp, (OK, ("ECONNREFUSED",), REFUSED, OK, OK),
    ),
    DoorAttempt(
        "network", "find a way to another machine", _beyond,
        (UNTRIED, ("ENETUNREACH",), REFUSED, UNTRIED, UNTRIED),
    ),
    DoorAttempt(
        "network", "a server of its own at 127.0.0.1", _own_server, (OK, OK, REFUSED, OK, OK),
    ),
    DoorAttempt(
        "network", "see its interfaces (netlink)", _of_family(NETLINK, socket.SOCK_RAW),
        (OK, OK, REFUSED, OK, OK),
    ),
    DoorAttempt(
        "network", "raw packets", _of_family(17, socket.SOCK_RAW),
        (UNTRIED, REFUSED, REFUSED, UNTRIED, UNTRIED),
    ),
    DoorAttempt(
        "network", "the host of a virtual machine (vsock)", _of_family(40, socket.SOCK_STREAM),
        (UNTRIED, REFUSED, REFUSED, UNTRIED, UNTRIED),
    ),
    DoorAttempt(
        "network", "enter the launcher's network", _launchers_network,
        (REFUSED, REFUSED, REFUSED, REFUSED, REFUSED),
    ),
    DoorAttempt(
        "network", "connect from one more network", _new_network,
        (UNTRIED, ("ENETUNREACH", "EPERM"), ("EACCES", "EPERM"), UNTRIED, UNTRIED),
    ),
    DoorAttempt(
        "network", "put an interface into the launcher's network", _interface_outside,
        (UNTRIED, ("EPERM",), REFUSED, UNTRIED, UNTRIED),
    ),
    DoorAttempt(
        "Unix sockets", "connect to a socket that has a path", _path,
        (OK, OK, OK, REFUSED, OK),
    ),
    DoorAttempt(
        "Unix sockets", "turn half a pair to a path (datagrams)", _turned_pair,
        (OK, OK, OK, REFUSED, OK),
    ),
    DoorAttempt(
        "Unix sockets", "turn half a pair to a path (stream)", _turned_stream,
        (("EISCONN",), ("EISCONN",), ("EISCONN",), ("EISCONN",), ("EISCONN",)),
    ),
    DoorAttempt("Unix sockets", "a pair among its own processes", _pair, ALL_OK),
    DoorAttempt(
        "terminals", "open a new one", _new_terminal, (REFUSED, REFUSED, REFUSED, REFUSED, OK),
    ),
    DoorAttempt(
        "terminals", "run a program at one", _program_at_terminal,
        (REFUSED, REFUSED, REFUSED, REFUSED, OK),
    ),
    DoorAttempt(
        "terminals", "type into its own (TIOCSTI)", _type,
        (REFUSED, REFUSED, REFUSED, REFUSED, ("EPERM",)),
    ),
    DoorAttempt(
        "terminals", "read and write one that the user has open", _open_others,
        (REFUSED, REFUSED, REFUSED, REFUSED, OK),
    ),
)  # fmt: skip


def answers_of(way: str) -> list[tuple[str, ...]]:
    """What is promised of each attempt, in their order."""
    at = list(WAYS).index(way)
    return [attempt.answers[at] for attempt in DOOR_ATTEMPTS]


def try_doors(way: str, ground: DoorGround) -> list[str]:
    """Every attempt in a child of its own; what was answered, empty where it is not tried."""
    return [
        str(in_child(partial(outcome, partial(attempt.act, ground)))) if promised else ""
        for attempt, promised in zip(DOOR_ATTEMPTS, answers_of(way), strict=True)
    ]


def door_table() -> str:
    """The promise, as Markdown."""

    def words(answers: tuple[str, ...]) -> str:
        if not answers:
            return "not tried"
        return "works" if answers == OK else " or ".join(answers)

    heads = [f"`{way}`" if way else "usual" for way in WAYS]
    lines = [f"| | a process of a pod tries to | {' | '.join(heads)} |"]
    lines.append("|---|---|" + "---|" * len(heads))
    group = ""
    for attempt in DOOR_ATTEMPTS:
        shown = attempt.group if attempt.group != group else ""
        group = attempt.group
        cells = " | ".join(words(answers) for answers in attempt.answers)
        lines.append(f"| {shown} | {attempt.what} | {cells} |")
    return "\n".join(lines) + "\n"
