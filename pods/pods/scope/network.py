"""A network of a process's own, with a loopback in it and nothing else.

Owns the namespaces and the one interface. The kernel gives a new network to whom it lets administer
one: to root outright, to others within a user namespace of their own, in which every other user is
nobody. The powers that come with that are given up before anything of a pod runs: they are what
exploits of the kernel's network code need, and with root's own one could put an interface into the
machine's network from in here. Used by `confine`, before all other restrictions, in a
process with one thread.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from typing import Final

from pods.scope.capabilities import NETWORKS, give_up, give_up_all

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_INTERFACE: Final = struct.Struct("16sh22x")
"""`struct ifreq`: the name and the flags."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def enter_loopback() -> bool:
    """Leave the machine's network for one with a loopback alone, for ever.

    Returns:
        Whether it took a user namespace, in which files of other users look like nobody's.

    Raises:
        OSError: the kernel, or what this process runs in, does not let it.
    """
    try:
        _unshare(_CLONE_NEWNET)
    except PermissionError:
        _enter_with_users()
        return True
    _raise_loopback()
    give_up(NETWORKS)
    return False


def network_of(process: str = "self") -> str:
    """Which network a process is in, by the kernel's name for it."""
    return os.readlink(f"/proc/{process}/ns/net")


def _enter_with_users() -> None:
    user, group = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    # Each stays who it is. Groups cannot be mapped by who could drop one that a file's mode denies.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "wb", buffering=0) as file:
            file.write(text.encode())
    _raise_loopback()
    give_up_all()


def _unshare(what: int) -> None:
    if _libc.unshare(ctypes.c_int(what)):
        code = ctypes.get_errno()
        why = os.strerror(code)
        if code in (errno.EPERM, errno.ENOSPC, errno.EUSERS):
            why += "; this system lets its users have no namespaces"
        raise OSError(code, f"a network of its own: {why}")


def _raise_loopback() -> None:
    """Bring up `lo`; its addresses, 127.0.0.1 and ::1, come with that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = _INTERFACE.pack(b"lo", 0)
        _, flags = _INTERFACE.unpack(fcntl.ioctl(sock, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, _INTERFACE.pack(b"lo", flags | _IFF_UP))
