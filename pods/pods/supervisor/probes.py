"""Small questions to disk and sockets, asked by `checkup`: who holds, who listens, whose is it.

Owns the guards in front of every removal: what does not look as we make it is never taken away,
because a user may have pointed our directories at a place with things of their own.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import stat
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Final

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods.journal.reader import iterate
from pods.journal.snapshots import restore_state
from pods.paths import JOURNAL_NAME, POD_ID_LENGTH, SupervisorPlaces
from pods.pod.cgroup import empty_groups, read, remove_home
from pods.private import fault_of_directory
from pods.records.table import PodTable
from pods_protocol.errors import StorageFailed

PROBE_SECONDS: Final = 5.0
"""Who listens is connected to at once; who is stopped, once there is room in its queue."""

POD_ID: Final = re.compile(rf"[0-9a-f]{{{POD_ID_LENGTH}}}\Z")
REHEARSAL: Final = re.compile(r"(?:rehearsal|spare)-(\d{1,9})\Z")
"""The directory in which the launcher, or a spare pod, of that pid goes through a pod's start."""

_OWN_NAMES: Final = re.compile(
    rf"(?:[a-z]+\.sock|owner\.token|cgroup|(?:rehearsal|spare)-\d+|[0-9a-f]{{{POD_ID_LENGTH}}})\Z"
)
READS: Final = 2
"""Of a journal whose supervisor lives: retention may take what was about to be read, once."""

GAP: Final = "gap"
JOURNAL_LOCK: Final = "journal.lock"


@contextmanager
def locks_of_a_life(places: SupervisorPlaces) -> Generator[bool]:
    """Hold what a living supervisor holds, if nobody does; yields whether it was all free.

    Its journal's lock counts, too: a supervisor may have its runtime directory somewhere else.

    Raises:
        CapacityReached: no descriptor is left to look with; one may well live.
    """
    with ExitStack() as stack:
        yield all(
            _take(stack, path)
            for path in (places.life_lock, f"{places.state}/{JOURNAL_NAME}/{JOURNAL_LOCK}")
        )


def _take(stack: ExitStack, path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if is_out_of_descriptors(error):
            raise no_descriptors(f"see who holds {path}", error) from error
        return True  # made by the first supervisor of that name
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def directories_in(path: str) -> list[str]:
    """The names of the directories in a directory; none where it cannot be read.

    Raises:
        CapacityReached: no descriptor is left to read it with.
    """
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        if is_out_of_descriptors(error):
            raise no_descriptors(f"read {path}", error) from error
        return []


def judge_directory(path: str, seen: os.stat_result, variable: str) -> tuple[str, str] | None:
    """What is wrong with one of our directories and what to do about it; None where nothing is.

    Args:
        path: of the directory.
        seen: what `lstat` says of it.
        variable: of the environment, that names it; empty where none does.
    """
    fault = fault_of_directory(seen)
    if fault is None:
        return None
    if stat.S_ISLNK(seen.st_mode) and variable:
        fix = f"set {variable} to {os.path.realpath(path)}"
    elif not stat.S_ISDIR(seen.st_mode):
        fix = f"stop the supervisor and move {path} away: the next one makes the directory"
    elif seen.st_uid != os.geteuid():
        fix = f"chown it to yourself and chmod 0700 {path}"
    else:
        fix = f"chmod 0700 {path}"
    return f"{path} cannot be used: {fault}", fix


def is_our_runtime(places: SupervisorPlaces) -> bool:
    """Whether this is a runtime directory as a supervisor makes it, with nothing else in it."""
    try:
        if not os.path.isfile(places.life_lock) or os.path.islink(places.runtime):
            return False
        return all(_OWN_NAMES.match(name) for name in os.listdir(places.runtime))
    except OSError:
        return False


def answers(path: str) -> bool:
    """Whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(path)
        except TimeoutError:
            return True  # somebody holds it
        except OSError:
            return False
        return True


def read_table(journal: str) -> PodTable:
    """What a supervisor's journal says of its pods, whole, or not at all.

    Raises:
        StorageFailed: it is damaged, or what retention took of it is in no snapshot.
    """
    for _ in range(READS):
        table = PodTable()
        events = iterate(journal, restore_state(journal, table))
        for event in events:
            if event.type == GAP:
                break
            table.apply(event)
        else:
            return table
    raise StorageFailed(
        f"cannot read the journal {journal} from its beginning: the snapshot before what is kept "
        "is missing or damaged; start its supervisor, and look at what it says",
        path=journal,
        errno=None,
    )


def holds_events(journal: str) -> bool:
    """Whether anything was ever written in a journal; it was not where it cannot be read.

    Raises:
        CapacityReached: no descriptor is left to look with.
    """
    try:
        with os.scandir(journal) as entries:
            return any(
                entry.name.endswith(".jsonl") and entry.stat(follow_symlinks=False).st_size > 0
                for entry in entries
            )
    except OSError as error:
        if is_out_of_descriptors(error):
            raise no_descriptors(f"read {journal}", error) from error
        return False


def remove(path: str) -> str:
    """Remove a directory of ours; says so.

    Raises:
        OSError: something in it refuses.
    """
    shutil.rmtree(path)
    return f"removed {path}"


def left_cgroups(places: SupervisorPlaces) -> list[tuple[str, str, str, Callable[[], str]]]:
    """What is wrong with the cgroups of a supervisor that is gone, and how it is mended."""
    home = read(places.cgroup_note)
    left = empty_groups(home) if home else []
    if not left:
        return []

    def mend() -> str:
        remove_home(home)
        return f"removed what was empty in {home}"

    message = f"{len(left)} cgroups in {home} are of a supervisor that is gone, and empty"
    return [("stale_cgroup", message, f"remove them: rmdir {home}/* {home}", mend)]
