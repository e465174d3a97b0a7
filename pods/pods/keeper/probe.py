"""What the kernel would do about a pod's scope here, found by doing it in a child that ends.

Owns that trial: the child enters a signal domain and the confinement that a pod with the same grant
gets, then tries what must be refused. A kernel that takes every call and refuses nothing is told
apart from one that holds, which no version number does. Called by the launcher, which has one
thread; the child is gone when `probe` returns.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import orjson
from attrs import evolve

from pods.keeper.confined import Kill
from pods.keeper.domain import SignalDomain
from pods.scope.confine import OwnPlaces, missing, prepare, unenforced
from pods.scope.doors import OPEN
from pods.scope.grants import TargetChanged
from pods.scope.network import network_of
from pods_protocol.codec import from_json, to_json
from pods_protocol.errors import StartFailed
from pods_protocol.values import Doors, Enforcement, ScopeGrant

PROBE_SECONDS: Final = 5.0
"""A trial takes five milliseconds; the launcher serves nobody meanwhile."""

VSOCK: Final = 40
"""To the host of a virtual machine, past every network; not every Python has the name."""

READ_BYTES: Final = 64 * 1024


def probe(
    grant: ScopeGrant,
    *,
    environ: Mapping[str, str],
    switches: Mapping[str, str],
    python: str | None,
    forbidden: tuple[str, str],
    doors: Doors = OPEN,
) -> Enforcement:
    """What a pod with this grant would be held to.

    Args:
        environ: the pod's; PATH and HOME are read.
        switches: the launcher's.
        python: the interpreter that it would be exec'd in.
        forbidden: the roots of pods' own directories; no pod can list them.
        doors: what else is to be open to it.

    Raises:
        StartFailed: such a pod could not start at all.
    """
    reason = missing(switches)
    if reason:
        return unenforced(reason)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        launcher = os.getpid()
        pid = os.fork()
        if pid == 0:
            be_child(
                writer,
                launcher,
                lambda: _try(grant, environ, switches, python, forbidden, launcher, doors),
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
    try:
        told = _read(reader)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)  # it is ours and not reaped: the pid is its own
        os.waitpid(pid, 0)
    answer = orjson.loads(told) if told else {"failed": "the trial did not end in time"}
    if "refused" in answer:
        raise StartFailed(
            f"cannot hold a pod to this scope: {answer['refused']}; ask again with the scope as it "
            "is now",
            step="probe",
            detail=answer["refused"],
        )
    if "failed" in answer:
        return unenforced(answer["failed"])
    return from_json(Enforcement, answer["held"])


def be_child(writer: int, launcher: int, act: Callable[[], object]) -> None:
    """Be the child of a trial: answer what it found, and end.

    Args:
        writer: where the launcher reads.
        launcher: its pid.
        act: the trial.
    """
    try:
        signal.set_wakeup_fd(-1)
        os.write(writer, orjson.dumps(act()))
    except BrokenPipeError:
        pass  # the launcher was killed, or has given this up
    except BaseException:
        if os.getppid() == launcher:  # else it was killed, and what it is needed for fails
            traceback.print_exc()
    finally:
        os._exit(0)


def _read(reader: int) -> bytes:
    deadline = time.monotonic() + PROBE_SECONDS
    chunks: list[bytes] = []
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(reader, READ_BYTES)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
    return b""


def _try(
    grant: ScopeGrant,
    environ: Mapping[str, str],
    switches: Mapping[str, str],
    python: str | None,
    forbidden: tuple[str, str],
    launcher: int,
    doors: Doors,
) -> Mapping[str, object]:
    domain = SignalDomain.enter(launcher, switches=switches, files_follow=True)
    own = OwnPlaces(forbidden=forbidden)
    network = network_of()
    try:
        with prepare(
            grant, own, environ=environ, switches=switches, python=python, doors=doors
        ) as confinement:
            record = confinement.enter()
    except TargetChanged as error:
        return {"refused": f"{error.filename}: {error.strerror}"}
    except OSError as error:
        return {"failed": f"it was tried, and {error.strerror}"}
    allowed = [what for what, act in _forbidden_acts(record, forbidden, launcher) if _works(act)]
    if record.network == "loopback" and network_of() == network:
        allowed.append("to use the machine's network")
    if allowed:
        return {"failed": f"it was tried, and still allowed: {', '.join(allowed)}"}
    kill: Kill = "subreaper_loop" if domain is None else "landlock_domain"
    return {"held": to_json(evolve(record, kill=kill))}


def _forbidden_acts(
    record: Enforcement, forbidden: tuple[str, str], launcher: int
) -> list[tuple[str, Callable[[], object]]]:
    acts: list[tuple[str, Callable[[], object]]] = [
        ("to list pods' own directories", lambda: os.listdir(forbidden[1]))
    ]
    if record.signals == "kernel":
        acts.append(("to signal the launcher", lambda: os.kill(launcher, 0)))
    if record.syscalls == "seccomp":
        acts.append(
            ("to read others' limits", lambda: resource.prlimit(launcher, resource.RLIMIT_CPU))
        )
    for closed, family in (
        (record.network == "none", socket.AF_INET),
        (record.network != "open", VSOCK),
        (record.unix_sockets == "none", socket.AF_UNIX),
    ):
        if closed:
            acts.append((f"to make a socket of family {family:d}", partial(_make, family)))
    return acts


def _make(family: int) -> None:
    socket.socket(family, socket.SOCK_STREAM).close()


def _works(act: Callable[[], object]) -> bool:
    try:
        act()
    except PermissionError:
        return False
    return True
