"""What a keeper leaves on disk for the supervisor: how its pod ended, who guards it, what it polls.

Owns `exit.json` in the pod's state directory, written once, when the tree is proven empty, how a
wait status becomes it; in the pod's runtime directory `guard.json`, and the word that limits are
polled. Imports little: the supervisor reads all of it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Final

import orjson

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods.paths import GUARD_NAME, POLLED_NAME
from pods.rpc.unix import write_private_file
from pods_protocol.codec import from_json_lenient, to_json
from pods_protocol.errors import PodsError
from pods_protocol.values import ExitRecord, LimitName, ProcessIdentity

FILE_NAME: Final = "exit.json"

MAX_RECORD_BYTES: Final = 64 * 1024
"""Either file has about a hundred bytes; what is bigger is neither."""


def record_from(
    wait_status: int, survivors_killed: int, limit: LimitName | None = None
) -> ExitRecord:
    """The record of a process that was reaped with `wait_status`, its tree empty as of now."""
    status = os.waitstatus_to_exitcode(wait_status)
    return ExitRecord(
        status=status,
        reason="exited" if status >= 0 else "signalled",
        survivors_killed=survivors_killed,
        limit=limit,
        time=time.time(),
    )


def write_record(state_directory: str, record: ExitRecord) -> None:
    """Put the record where the supervisor finds it, whole.

    Not synced: that the keeper ends is how a supervisor notices, and two syncs were half of the
    time that took. A supervisor that lives journals what it reads here. Where none does and the
    power goes before the system has written it, nobody saw how the pod ended, and it is `lost`.

    Raises:
        StorageFailed: the system refuses; no half of it is there.
    """
    line = orjson.dumps(to_json(record)) + b"\n"
    write_private_file(f"{state_directory}/{FILE_NAME}", line, durable=False)


def read_record(state_directory: str) -> ExitRecord | None:
    """The record, or None where there is none, or what is there is no record."""
    try:
        with open(f"{state_directory}/{FILE_NAME}", "rb") as file:
            return from_json_lenient(ExitRecord, orjson.loads(file.read(MAX_RECORD_BYTES)))
    except (OSError, ValueError, PodsError):
        return None


def write_guard(runtime_directory: str, guard: ProcessIdentity) -> None:
    """Leave word of the process that guards this keeper; it need not outlive a power cut.

    Raises:
        StorageFailed: the system refuses.
    """
    line = orjson.dumps(to_json(guard))
    write_private_file(f"{runtime_directory}/{GUARD_NAME}", line, durable=False)


def note_polled(runtime_directory: str) -> None:
    """Leave word that the keeper counts what its pod's cgroup was to tell; as far as it can."""
    path = f"{runtime_directory}/{POLLED_NAME}"
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def is_polled(runtime_directory: str) -> bool:
    """Whether a pod's keeper has left that word."""
    return os.path.exists(f"{runtime_directory}/{POLLED_NAME}")


def read_guard(runtime_directory: str) -> ProcessIdentity | None:
    """The process that guards a pod's keeper or did; None where there is no word of one.

    Raises:
        CapacityReached: no descriptor is left to read it with.
    """
    try:
        with open(f"{runtime_directory}/{GUARD_NAME}", "rb") as file:
            return from_json_lenient(ProcessIdentity, orjson.loads(file.read(MAX_RECORD_BYTES)))
    except (OSError, ValueError, PodsError) as error:
        if is_out_of_descriptors(error):
            raise no_descriptors("learn who guards a pod", error) from error
        return None
