"""How a keeper gets the record of its pod's end to somebody: the disk, or who asks for it.

Owns that wait, which is the last thing a keeper does. Called by `main`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from pods.keeper.pod_start import EXIT_CANNOT_START
from pods.keeper.record import write_record
from pods.keeper.rpc_loop import RpcLoop
from pods.keeper.system import reset_signals
from pods_protocol.errors import StorageFailed
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import ExitRecord

RECORD_RETRY_SECONDS: Final = 1.0
"""Between attempts to write the record to a disk that refuses."""

RECORD_DEADLINE_SECONDS: Final = 600.0
"""The record is offered this long where the disk refuses it; then it goes with the keeper."""

EXIT_UNRECORDED: Final = 3
"""The keeper's exit code when the record is not on disk."""


def leave_record(
    state_directory: str,
    record: ExitRecord,
    server: RpcLoop,
    *,
    was_read: Callable[[], bool],
    say: Callable[[str], None],
) -> int:
    """Put the record on disk, or offer it to who asks until it was read.

    Args:
        state_directory: of the pod.
        record: how it ended.
        server: answers meanwhile.
        was_read: whether somebody was given the record.
        say: takes lines for the pod's `stderr.log`.

    Returns:
        The keeper's exit code.
    """
    deadline = time.monotonic() + RECORD_DEADLINE_SECONDS
    said = False
    while True:
        try:
            write_record(state_directory, record)
        except StorageFailed as error:
            if error.data.get("errno") == errno.ENOENT:
                return EXIT_UNRECORDED  # its directory was removed: it will not come back
            if not said:
                say(error.message)
                said = True
        else:
            return 0
        again = time.monotonic() + RECORD_RETRY_SECONDS
        while time.monotonic() < again:
            if was_read() and not server.unsent:
                return EXIT_UNRECORDED
            server.turn(again)
        if time.monotonic() >= deadline:
            return EXIT_UNRECORDED


def end_without_pod(
    spec: PodSpec, keeper_listener: socket.socket, *, say: Callable[[str], None]
) -> int:
    """Leave the record of a pod whose process could not be forked; returns the exit code."""
    reset_signals()
    keeper_listener.close()
    code = 0
    record = ExitRecord(status=EXIT_CANNOT_START, reason="exited", time=time.time())
    try:
        write_record(spec.state_directory, record)
    except StorageFailed as error:
        say(error.message)
        code = EXIT_UNRECORDED
    unlink_sockets(spec)
    return code


def unlink_sockets(spec: PodSpec) -> None:
    """Remove the paths of both sockets; what is gone is fine."""
    for path in (spec.pod_socket, spec.keeper_socket):
        with contextlib.suppress(OSError):
            os.unlink(path)
