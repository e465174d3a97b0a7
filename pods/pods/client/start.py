"""Starting a supervisor on demand, without a race.

Owns the order: connect, take the start lock, connect again, only then start. Two clients at the
same instant get one supervisor, because the second finds it when it gets the lock. Used by the
verbs and by `aio` (in a worker thread); imported only when nobody answers.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Final

from pods.paths import SupervisorPlaces
from pods.rpc.unix import ensure_private_directory, require_unix_sockets
from pods_protocol.errors import StartFailed, TimedOut

START_SECONDS: Final = 20.0
"""From starting the process to its `ready`, and the wait for another client that is starting it. A
cold Python on a busy machine needs two; twenty is a machine that cannot run agents."""

LOCK_POLL_SECONDS: Final = 0.01
"""filelock polls; its own 50 ms would be felt by the second of two clients."""

LOG_TAIL_BYTES: Final = 2000
"""How much of the log goes into the error: the end of one traceback."""

READY_LINE: Final = b"ready"


def start_supervisor(
    places: SupervisorPlaces, environ: Mapping[str, str], *, timeout: float = START_SECONDS
) -> bool:
    """Make sure that a supervisor answers; blocking, so call it in a thread from an event loop.

    Args:
        places: whose.
        environ: the environment that the supervisor gets.
        timeout: seconds for the lock, and again for the start.

    Returns:
        Whether this call started it; False where another client was first.

    Raises:
        StartFailed: it ended or stayed silent; `detail` has the tail of its log.
        TimedOut: another client holds the start lock and does not come to an end.
        InvalidParams: the user's configuration is wrong, so that no supervisor would come up.
        UnsafeDirectory: a directory of ours is somebody else's.
        PathTooLong: no socket could be bound in the runtime directory.
        PlatformUnsupported: no Unix sockets here.
    """
    from filelock import (
        FileLock,
        Timeout,
    )  # a supervisor, which asks here what answers, needs it later

    require_unix_sockets()
    places.check_socket_paths()
    check_config(places.places.config)
    ensure_private_directory(places.places.runtime)
    ensure_private_directory(places.places.state)
    ensure_private_directory(places.state)
    lock = FileLock(places.start_lock, timeout=timeout, mode=0o600)
    try:
        with lock.acquire(poll_interval=LOCK_POLL_SECONDS):
            if answers(places.socket):
                return False
            _start(places, environ, timeout)
            return True
    except Timeout as error:
        raise TimedOut(
            f"cannot start the supervisor {places.name}: another client has held "
            f"{places.start_lock} for {timeout:g} s; look for a hanging `pods` process",
            timeout_seconds=timeout,
        ) from error


def check_config(path: str) -> None:
    """Refuse a configuration that no supervisor would start with, while somebody can be told.

    Raises:
        InvalidParams: with what is wrong, and where.
    """
    if os.path.exists(path):
        from pods.config import load_config  # brings the codec; most users have no such file

        load_config(path)


def answers(path: str) -> bool:
    """Whether somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(START_SECONDS)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def supervisor_argv(name: str) -> list[str]:
    """The command that runs the supervisor called `name`; `-P` keeps the user's files out of it."""
    return [sys.executable, "-P", "-m", "pods.supervisor", "--name", name]


def supervisor_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a process that runs in `/`: entries of PYTHONPATH are made absolute."""
    passed = dict(environ)
    search_path = passed.get("PYTHONPATH")
    if search_path:
        passed["PYTHONPATH"] = os.pathsep.join(
            os.path.abspath(entry) for entry in search_path.split(os.pathsep) if entry
        )
    return passed


def _start(places: SupervisorPlaces, environ: Mapping[str, str], timeout: float) -> None:
    ready, said = os.pipe()
    try:
        log = os.open(places.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        logged = os.fstat(log).st_size
        try:
            process = subprocess.Popen(
                [*supervisor_argv(places.name), "--ready-fd", str(said), "--detach"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=supervisor_environment(environ),
                pass_fds=(said,),
                start_new_session=True,
            )
        finally:
            os.close(log)
            os.close(said)
        heard = _hear(ready, time.monotonic() + timeout)
    finally:
        os.close(ready)
    if heard == READY_LINE:
        process.wait()  # it has forked the supervisor and gone
        return
    status = _put_down(process)
    detail = _tail(places.log, logged)
    why = f"not ready in {timeout:g} s"
    if heard is not None:
        why = f"it ended with status {status}" if status else "it ended"
    raise StartFailed(
        f"cannot start the supervisor {places.name}: {why}; its log {places.log} ends:\n{detail}",
        step="supervisor",
        detail=detail,
        log=places.log,
    )


def _hear(descriptor: int, deadline: float) -> bytes | None:
    """What is said on the pipe up to a newline or its end; None when time runs out."""
    heard = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while b"\n" not in heard:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return None
        data = os.read(descriptor, len(READY_LINE) + 1)
        if not data:
            break
        heard += data
    return heard.partition(b"\n")[0]


def _put_down(process: subprocess.Popen[bytes]) -> int:
    """End what did not come up, by the group of the process that was started; its exit status."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _tail(path: str, since: int) -> str:
    """The end of what this start wrote to the log."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace").strip()
    except OSError as error:
        return f"(the log cannot be read: {error.strerror})"
    return text or "(nothing was logged)"
