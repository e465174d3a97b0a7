"""What a pod finds when it begins: its directories and its two listening sockets.

Owns making them before the fork, so that a connect never comes too early, and taking the sockets
away again where no keeper does it. Called by the launcher's loop.
"""

from __future__ import annotations

import contextlib
import os
import socket

from pods.paths import check_socket_path
from pods.rpc.unix import bind_unix, ensure_private_directory
from pods_protocol.process_messages import PodSpec


def prepare(spec: PodSpec) -> tuple[socket.socket, socket.socket]:
    """Make the pod's directories and listen for it; returns the pod's socket and its keeper's.

    Raises:
        PathTooLong: a socket path is over the kernel's bound.
        UnsafeDirectory: a directory belongs to somebody else, or is open to others.
        StartFailed: something listens there already.
        StorageFailed: the system refuses to make a directory.
    """
    check_socket_path(spec.pod_socket)
    check_socket_path(spec.keeper_socket)
    for directory in (
        spec.state_directory,
        spec.runtime_directory,
        f"{spec.runtime_directory}/tmp",
    ):
        ensure_private_directory(directory)
    pod_listener = bind_unix(spec.pod_socket)
    try:
        return pod_listener, bind_unix(spec.keeper_socket)
    except BaseException:
        pod_listener.close()
        os.unlink(spec.pod_socket)
        raise


def abandon(*sockets: str) -> None:
    """Unlink the sockets of a pod that has no keeper to do it."""
    for path in sockets:
        with contextlib.suppress(OSError):
            os.unlink(path)
