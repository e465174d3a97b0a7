"""Reaching a socket with the standard library alone: its token, the connection, whose it is.

Owns what has to be right before the first byte is said. Imports as little as `plain`, which calls
it; `read_token` serves the other clients, too.
"""

from __future__ import annotations

import os
import socket
import sys

from pods_protocol.errors import NotConnected, TimedOut


def read_token(path: str) -> str:
    """The token in the file at `path`; none where there is no such path.

    Raises:
        NotConnected: no such file: nobody serves there.
        NotAuthorized: it may not be read.
    """
    if not path:
        return ""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError as error:
        raise NotConnected(
            f"cannot find the token {path}: no supervisor has put one there; `pods spawn` or "
            "`pods up` starts one",
            socket=path,
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        from pods_protocol.errors import NotAuthorized

        reason = error.strerror if isinstance(error, OSError) else "it is no token"
        raise NotAuthorized(
            f"cannot read the token {path}: {reason}; only its owner may command this supervisor",
            path=path,
        ) from error


def connect_plain(path: str, timeout: float) -> socket.socket:
    """Connect to the socket at `path`, which must be this user's; it keeps `timeout` (seconds).

    Raises:
        NotConnected: nobody listens there.
        NotAuthorized: another user does.
        TimedOut: whoever listens takes no connections.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        try:
            sock.connect(path)
        except BlockingIOError:
            _connect_patiently(sock, path, timeout)
        _check_owner(sock, path)
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError):
            raise timed_out(timeout) from error
        if isinstance(error, OSError):
            # `AF_UNIX path too long` comes as an OSError without a number; it has its own words.
            raise NotConnected(
                f"cannot connect to {path}: {error.strerror or error}; `pods doctor` tells what "
                "runs",
                socket=path,
            ) from error
        raise
    return sock


def _check_owner(sock: socket.socket, path: str) -> None:
    """Refuse a socket of another user: what is said to it was meant for nobody else's ears.

    As `pods.rpc.unix.check_owner`, without its imports. The kernel gives `pid, uid, gid`, as ints.
    """
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(credentials[4:8], sys.byteorder)
    if uid != os.geteuid():
        from pods.rpc.unix import foreign_server

        raise foreign_server(path, uid)


def _connect_patiently(sock: socket.socket, path: str, timeout: float) -> None:
    """Connect to a listener whose backlog is full.

    A non-blocking connect to a Unix socket fails at once then, and there is nothing to wait on; a
    blocking one waits in the kernel, for as long as SO_SNDTIMEO says.
    """
    import struct

    whole = int(timeout)
    sock.setblocking(True)
    sock.setsockopt(
        socket.SOL_SOCKET,
        socket.SO_SNDTIMEO,
        struct.pack("ll", whole, int((timeout - whole) * 1_000_000)),
    )
    try:
        sock.connect(path)
    except BlockingIOError as error:
        raise TimeoutError from error


def timed_out(seconds: float) -> TimedOut:
    """What a client says whose patience has come to its end."""
    return TimedOut(
        f"cannot wait longer: no answer within {seconds:g} s; what was asked may still happen, "
        "`pods ls` shows it",
        timeout_seconds=seconds,
    )
