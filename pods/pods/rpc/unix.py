"""Unix sockets and private files: binding, connecting, who is at the other end.

Owns the file-system side of a socket (path length, modes, owner) with the standard library alone:
the launcher, which must never run an event loop, uses it too. trio's `bind` would start a worker
thread (BASELINES.md 7.2), so binding is done here and the socket handed over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import struct
from typing import Final

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods.paths import check_socket_path
from pods.private import fault_of_directory
from pods_protocol.errors import (
    NotAuthorized,
    NotConnected,
    PlatformUnsupported,
    PodsError,
    StartFailed,
    StorageFailed,
    TimedOut,
    UnsafeDirectory,
)

DEFAULT_BACKLOG: Final = 128
"""Connections that may wait while the owner is busy: more than the pods that one start brings."""

_SO_PEERPIDFD: Final = 77
"""Python has no name for it."""

_UCRED: Final = struct.Struct("3i")


def require_unix_sockets() -> None:
    """Make sure that this Python has Unix sockets with peer credentials.

    Raises:
        PlatformUnsupported: it has not.
    """
    if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "SO_PEERCRED"):
        raise PlatformUnsupported(
            "cannot run pods: this Python has no Unix sockets with peer credentials; use CPython "
            "3.11 or newer on Linux",
            feature="AF_UNIX",
        )


def bind_unix(path: str, *, backlog: int = DEFAULT_BACKLOG) -> socket.socket:
    """A listening socket at `path`, mode 0600.

    Bind, chmod, then listen: before `listen` a connect is refused, so there is no moment at which
    somebody else could get in. The caller unlinks the path when it is done.

    Raises:
        PathTooLong: over the kernel's bound.
        StartFailed: something is there already, or the directory refuses.
        CapacityReached: no descriptor is left to listen with.
    """
    require_unix_sockets()
    check_socket_path(path)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(path, error) from error
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise _cannot_listen(path, error) from error
    return listener


def _cannot_listen(path: str, error: OSError) -> PodsError:
    if is_out_of_descriptors(error):
        return no_descriptors(f"listen at {path}", error)
    return StartFailed(
        f"cannot listen at {path}: {os.strerror(error.errno or 0)}; remove what is there if "
        "nothing uses it, or set PODS_RUNTIME_DIR to another directory",
        step="bind",
        detail=str(error),
    )


def no_hello(seconds: float) -> TimedOut:
    """The error for who connected and did not say hello in so many seconds."""
    return TimedOut(
        f"cannot wait for your hello any longer than {seconds:g} s; connect again and say it first",
        timeout_seconds=seconds,
    )


def peer_credentials(sock: socket.socket) -> tuple[int, int]:
    """`(pid, uid)` of the process that connected, as the kernel noted them then."""
    pid, uid, _gid = _UCRED.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return pid, uid


def peer_process(sock: socket.socket) -> int | None:
    """A pidfd of the process that connected, open for the caller to close.

    Returns:
        None where the kernel cannot say (before Linux 6.5), or that process was reaped already.

    Raises:
        CapacityReached: no descriptor is left.
    """
    try:
        return sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if is_out_of_descriptors(error):
            raise no_descriptors("tell who connected", error) from error
        return None


def check_owner(sock: socket.socket, path: str) -> None:
    """Make sure that whom we connected to is this user.

    Somebody who was first to make a directory in a place that is open to all, or was given one,
    could serve there and hear prompts and variables that were meant for our supervisor.

    Raises:
        NotAuthorized: it is another user's process.
    """
    _, uid = peer_credentials(sock)
    if uid != os.geteuid():
        raise foreign_server(path, uid)


def foreign_server(path: str, uid: int) -> NotAuthorized:
    """The error for a socket at which another user listens."""
    return NotAuthorized(
        f"cannot use the socket {path}: user {uid} listens there, not you ({os.geteuid()}); set "
        "PODS_RUNTIME_DIR to a directory of your own",
        path=path,
    )


def connect_failed(path: str, error: OSError) -> PodsError:
    """The error for a connect that the kernel refused."""
    if is_out_of_descriptors(error):
        return no_descriptors(f"connect to {path}", error)  # somebody may well listen there
    why = {
        errno.ENOENT: "there is no socket there",
        errno.ECONNREFUSED: "nobody listens there",
    }.get(error.errno or 0, os.strerror(error.errno or 0))
    return NotConnected(
        f"cannot connect to {path}: {why}; `pods doctor` tells what runs", socket=path
    )


def ensure_private_directory(path: str) -> None:
    """Make `path` a directory that only this user can enter; parents are made as they come.

    Raises:
        UnsafeDirectory: it is a symlink, no directory, another user's, or open to others.
        StorageFailed: the system refuses to make it.
    """
    parent = os.path.dirname(path)
    try:
        if parent and not os.path.isdir(parent):
            os.makedirs(parent, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        found = os.lstat(path)
    except OSError as error:
        raise StorageFailed(
            f"cannot make the directory {path}: {os.strerror(error.errno or 0)}; set "
            "PODS_RUNTIME_DIR and PODS_STATE_DIR to directories that you may write",
            path=path,
            errno=error.errno,
        ) from error
    fault = fault_of_directory(found)
    if fault:
        raise UnsafeDirectory(
            f"cannot use the directory {path}: {fault}; give it to yourself with mode 0700, or set "
            "PODS_RUNTIME_DIR or PODS_STATE_DIR to another one",
            path=path,
            detail=fault,
        )


def write_private_file(path: str, content: bytes, *, durable: bool = True) -> None:
    """Replace the file at `path` as a whole, mode 0600: temp file, fsync, rename.

    Args:
        durable: fsync before the rename, so that a power cut leaves the old or the new content.

    Raises:
        StorageFailed: the system refuses; the old file stands.
    """
    temporary = f"{path}.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise StorageFailed(
            f"cannot write {path}: {os.strerror(error.errno or 0)}; free some space or check the "
            "permissions of its directory, then try again",
            path=path,
            errno=error.errno,
        ) from error
