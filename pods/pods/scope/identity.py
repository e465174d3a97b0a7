"""What one process is, for ever: pid, start time and boot; and whether it still lives.

Owns the reading of /proc, with psutil where there is none. A pid alone is reused within minutes,
and a zombie or a process of the last boot must not keep a lease. The registry and the supervisor
call it; it knows nothing of either.

Where no descriptor is left to look with, nobody is taken for dead: whoever has the number counts as
living, and who asks for more than that is refused.

Identities hold within one pid namespace: containers that share a state directory but not their
processes take each other's for dead, so give each container a state directory of its own.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final, NamedTuple

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods_protocol.errors import CapacityReached
from pods_protocol.values import ProcessIdentity

BOOT_ID_PATH: Final = "/proc/sys/kernel/random/boot_id"

_MAX_STAT_BYTES: Final = 4096
"""`/proc/PID/stat` is some 300 bytes; one read takes it whole."""

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

_GONE_STATES: Final = frozenset({b"Z", b"X", b"x"})


class _Stat(NamedTuple):
    state: bytes
    threads: int
    start_ticks: int


@lru_cache(maxsize=8)
def boot_id(boot_id_path: str = BOOT_ID_PATH) -> str:
    """The kernel's id of this boot; where there is none, the second of it."""
    try:
        with open(boot_id_path, encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        if is_out_of_descriptors(error):
            raise no_descriptors(f"look at {boot_id_path}", error) from error
        import psutil  # only where there is no /proc

        return f"boot-{int(psutil.boot_time())}"


def identify(pid: int) -> ProcessIdentity:
    """The identity of a living process.

    Raises:
        ProcessLookupError: there is none, or it is a zombie.
        CapacityReached: no descriptor is left to look with.
    """
    found = _read(pid)
    if found is None or _is_gone(found):
        raise ProcessLookupError(pid, f"cannot identify process {pid}: it has ended")
    return ProcessIdentity(pid=pid, start_ticks=found.start_ticks, boot_id=boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether this very process lives: false for a reused pid, a zombie, and another boot."""
    if identity.boot_id != boot_id():
        return False
    try:
        found = _read(identity.pid)
    except CapacityReached:
        return not is_pid_free(identity.pid)
    return found is not None and found.start_ticks == identity.start_ticks and not _is_gone(found)


def parent_of(pid: int) -> int | None:
    """The pid of a process's parent; None where it is gone or nobody tells.

    Raises:
        CapacityReached: no descriptor is left to look with.
    """
    content = _read_proc(f"/proc/{pid}/stat")
    return None if content is None else int(content.rpartition(b")")[2].split()[1])


def is_pid_free(pid: int) -> bool:
    """Whether surely no process has this pid: forty times cheaper than `is_alive`, and weaker."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        # Somebody else's process: whether it is ours reused is for `is_alive` to say.
        return False
    return False


def memory_bytes(pid: int) -> int | None:
    """Resident size of a process, or None where it is gone or nobody tells."""
    try:
        content = _read_proc(f"/proc/{pid}/statm")
    except CapacityReached:
        return None
    if content is not None:
        pages = int(content.split()[1])
        return pages * _PAGE_BYTES or None
    if _has_proc():
        return None
    import psutil  # only where there is no /proc

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _is_gone(found: _Stat) -> bool:
    # A process whose first thread has ended shows as a zombie while its other threads work on.
    return found.state in _GONE_STATES and found.threads <= 1


def _read(pid: int) -> _Stat | None:
    content = _read_proc(f"/proc/{pid}/stat")
    if content is None:
        return None if _has_proc() else _ask_psutil(pid)
    # The second field is the program's name in brackets; it may contain brackets and spaces.
    fields = content.rpartition(b")")[2].split()
    return _Stat(state=fields[0], threads=int(fields[17]), start_ticks=int(fields[19]))


def _read_proc(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if is_out_of_descriptors(error):
            raise no_descriptors(f"look at {path}", error) from error
        return None
    try:
        return os.read(descriptor, _MAX_STAT_BYTES) or None
    except OSError:
        # The process ended between open and read.
        return None
    finally:
        os.close(descriptor)


@lru_cache(maxsize=1)
def _has_proc() -> bool:
    return os.path.exists("/proc/self/stat")


def _ask_psutil(pid: int) -> _Stat | None:
    import psutil  # only where there is no /proc

    try:
        process = psutil.Process(pid)
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return _Stat(
            state=b"Z" if zombie else b"S",
            threads=1,
            start_ticks=int(process.create_time() * 100),
        )
    except psutil.Error:
        return None
