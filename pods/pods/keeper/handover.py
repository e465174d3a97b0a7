"""One spec and its listening sockets, from one process to another that was forked before.

Owns the message between launcher, spare keeper and spare pod: one byte with descriptors, of which
the first is a file in memory that holds the spec. So the sender never waits, however long the spec
is and whatever the receiver does. Used by `pods.launcher.spares` and `pods.keeper.spare`.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Sequence
from typing import Final

import orjson

from pods_protocol.codec import from_json, to_json
from pods_protocol.process_messages import PodSpec

_MARK: Final = b"s"
MAX_DESCRIPTORS: Final = 3
"""The spec, and the two sockets."""


def write_spec(spec: PodSpec) -> int:
    """The spec in a file without a name; returns its descriptor.

    Raises:
        OSError: the system refuses.
    """
    descriptor = os.memfd_create("pods-spec", os.MFD_CLOEXEC)
    with open(descriptor, "wb", buffering=0, closefd=False) as file:
        file.write(orjson.dumps(to_json(spec)))
    return descriptor


def read_spec(descriptor: int) -> PodSpec:
    """What `write_spec` wrote, wherever the file stands."""
    size = os.fstat(descriptor).st_size
    return from_json(PodSpec, orjson.loads(os.pread(descriptor, size, 0)))


def hand_over(channel: socket.socket, descriptors: Sequence[int]) -> None:
    """Send descriptors, the spec's first.

    Raises:
        OSError: nobody is at the other end.
    """
    socket.send_fds(channel, [_MARK], descriptors)


def take_over(channel: socket.socket) -> list[int]:
    """Wait for what `hand_over` sends; nothing where the other end is closed."""
    # Not `socket.recv_fds`: some versions of Python drop its flags, and every program that the pod
    # runs would inherit the pod's listener.
    received = array.array("i")
    _, ancillary, _, _ = channel.recvmsg(
        len(_MARK),
        socket.CMSG_LEN(MAX_DESCRIPTORS * received.itemsize),
        socket.MSG_CMSG_CLOEXEC,
    )
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    return received.tolist()
