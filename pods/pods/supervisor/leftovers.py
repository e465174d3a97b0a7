"""What pods that are gone have left in the supervisor's runtime directory.

Owns the judgement that a directory there is nobody's, and its removal. Used by adoption, which
finishes what a killed supervisor was at, and by `doctor`.
"""

from __future__ import annotations

import os
from typing import Final

from pods.pod.cgroup import empty_groups, read
from pods.scope.identity import is_pid_free
from pods.supervisor.core import Supervisor
from pods.supervisor.probes import REHEARSAL
from pods.supervisor.removal import remove_tree
from pods_protocol.errors import StorageFailed

SET_ASIDE: Final = ".gone"
"""Ends the name of a directory that is being removed; no pod's id has a dot in it."""


def stale_directories(supervisor: Supervisor) -> list[str]:
    """Names beside those of living pods, and of processes that rehearse a pod's start."""
    living = {record.id for record in supervisor.table.living()} | supervisor.pods.keys()
    try:
        with os.scandir(supervisor.places.runtime) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []  # reported as missing
    return sorted(name for name in names if name not in living and not _is_rehearsing(name))


def stale_cgroups(supervisor: Supervisor) -> list[str]:
    """Groups in which nothing lives and which are of no living pod."""
    home = read(supervisor.places.cgroup_note)
    living = {record.id for record in supervisor.table.living()} | supervisor.pods.keys()
    names = empty_groups(home) if home else []
    return [f"{home}/{name}" for name in names if name not in living]


def _is_rehearsing(name: str) -> bool:
    match = REHEARSAL.match(name)
    return match is not None and not is_pid_free(int(match[1]))


async def remove_stale(supervisor: Supervisor, name: str) -> bool:
    """Remove one, if it still is nobody's: a pod may have been restored since it was looked at.

    Returns:
        Whether it was removed.

    Raises:
        StorageFailed: something in it cannot be removed.
    """
    path = f"{supervisor.places.runtime}/{name}"
    aside = path.removesuffix(SET_ASIDE) + SET_ASIDE
    was_stale = name in stale_directories(supervisor)
    await remove_tree(aside)  # of a supervisor that was killed on the way, if there is one
    if path == aside:
        return was_stale
    # No wait from here to the move: from then on the name is free for a pod that comes back.
    if name not in stale_directories(supervisor):
        return False
    try:
        os.rename(path, aside)
    except OSError as error:
        raise StorageFailed(
            f"cannot remove {path}: {error.strerror or error}; see what holds it, remove it by "
            "hand, then try again",
            path=path,
            errno=error.errno,
        ) from error
    await remove_tree(aside)
    return True
