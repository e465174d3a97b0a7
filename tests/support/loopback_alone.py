"""A network with a loopback interface and nothing else, for the thread of a test and its children.

Owns the namespace, and a name server in it that knows no name and keeps what it was asked: so
nothing can leave the machine, and what a program would have liked to reach is seen. Root alone may
make one. Used by `tests/interop`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Generator
from typing import Final

CLONE_NEWNET: Final = 0x40000000
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
SIOCSIFADDR: Final = 0x8916
IFF_UP: Final = 1

FLAGS: Final = struct.Struct("16sh22x")
ADDRESS: Final = struct.Struct("16sHH4s16x")
"""`struct ifreq` with flags, and with a `sockaddr_in`."""

NO_SUCH_NAME: Final = 0x8183
"""Flags of a name server's answer: it is one, recursion was wanted and is had, there is no such."""

LIBC: Final = ctypes.CDLL(None, use_errno=True)


def may_be_alone() -> bool:
    """Whether this process may make networks."""
    return os.geteuid() == 0


@contextlib.contextmanager
def loopback_alone() -> Generator[list[str]]:
    """Only a loopback interface within the block; the names that were looked up, as they come."""
    asked: list[str] = []
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(LIBC.unshare(CLONE_NEWNET))
        try:
            with contextlib.ExitStack() as stack:
                for server in _raise_loopback():
                    stack.enter_context(_answering(server, asked))
                yield asked
        finally:
            _check(LIBC.setns(before, CLONE_NEWNET))
    finally:
        os.close(before)


def _check(failed: int) -> None:
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, f"a network of its own: {os.strerror(code)}")


def _raise_loopback() -> list[str]:
    """Bring `lo` up, with the addresses of the machine's name servers as its own; what they are."""
    servers = _name_servers()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        _, flags = FLAGS.unpack(fcntl.ioctl(sock, SIOCGIFFLAGS, FLAGS.pack(b"lo", 0)))
        fcntl.ioctl(sock, SIOCSIFFLAGS, FLAGS.pack(b"lo", flags | IFF_UP))
        for at, server in enumerate(servers):
            if not server.startswith("127."):
                address = socket.inet_aton(server)
                entry = ADDRESS.pack(f"lo:{at}".encode(), socket.AF_INET, 0, address)
                fcntl.ioctl(sock, SIOCSIFADDR, entry)
    return servers


def _name_servers() -> list[str]:
    found: list[str] = []
    with contextlib.suppress(FileNotFoundError), open("/etc/resolv.conf") as file:
        for line in file:
            words = line.split()
            if words[:1] == ["nameserver"] and ":" not in words[1]:
                found.append(words[1])
    return found or ["127.0.0.1"]


@contextlib.contextmanager
def _answering(server: str, asked: list[str]) -> Generator[None]:
    """Answer at the address of a name server that there is no such name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((server, 53))
        thread = threading.Thread(target=_answer, args=(sock, asked), name="name server")
        thread.start()
        try:
            yield
        finally:
            sock.sendto(b"", (server, 53))  # what ends it
            thread.join()


def _answer(sock: socket.socket, asked: list[str]) -> None:
    while True:
        data, address = sock.recvfrom(4096)
        if not data:
            return
        name, end = _name_in(data)
        asked.append(name)
        head = data[:2] + struct.pack("!5H", NO_SUCH_NAME, 1, 0, 0, 0)
        sock.sendto(head + data[12 : end + 4], address)


def _name_in(query: bytes) -> tuple[str, int]:
    """The name that a query asks for, and where it ends."""
    labels: list[str] = []
    at = 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    return ".".join(labels), at + 1
