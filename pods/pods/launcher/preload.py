"""What is imported, and made warm, once in the launcher instead of once in each pod.

Owns the list and the freezing of what it leaves in memory. A module that cannot be imported ends
the launcher at once and aloud: one that fails in silence costs every pod a hundred milliseconds
(BASELINES.md 7.5). Called by the launcher's `main` before the first fork.
"""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Final

from pods.scope.identity import boot_id
from pods_protocol import codec
from pods_protocol.api import KEEPER_API, LAUNCHER_API, POD_API
from pods_protocol.errors import StartFailed
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import Enforcement

PRELOAD: Final = (
    "trio",
    "orjson",
    "pods.pod.main",
    "pods.pod.limit_keeper",
    "pods.pod.turn_marks",
    "pods.keeper.limit_watch",
    "pods.agents.command",
    "pods.agents.echo",
    "pods.agents.shell",
)
"""The pod runtime with all that it pulls in, what sees to limits, and the built-in agents. A keeper
and a pod that import the watch over their limits themselves copy 2.4 MB for it between them, and
start 20 ms later; here it costs those without limits nothing."""

SERVED: Final = (POD_API, KEEPER_API, LAUNCHER_API)
"""The sockets that this image answers at. What a pod asks of its supervisor it learns when it does:
few pods are parents, and all of it took a quarter of the launcher's start."""

HANDED: Final = (PodSpec,)
"""What a spare is told to be; its keeper and its pod each made code for it, in 570 copied pages."""

RECORDED: Final = (Enforcement,)
"""What a pod leaves for its keeper to tell."""

MAX_SMALL_BYTES: Final = 512
"""Objects up to this come from pools of the interpreter's own, one kind of pool every 16 bytes."""

HOLE_BYTES: Final = 32 * 1024
"""What is filled of each kind of pool: two pools, three times what was found free on average."""


def preload(modules: tuple[str, ...] = PRELOAD) -> None:
    """Import what pods need, and generate the codec.

    Raises:
        StartFailed: a module cannot be imported; `data` names it.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise StartFailed(
                f"cannot start the launcher: importing {name} failed: {error!r}; install "
                "agent-pods again",
                step="preload",
                detail=name,
            ) from error
    codec.warm(SERVED, handed=HANDED, recorded=RECORDED)
    boot_id()


def freeze() -> object:
    """Put everything that there is out of the collector's reach; last, before the first fork.

    The collector stays off here, so that no pass of it ever writes to the pages that every pod
    shares; a pod turns it on again for what it makes itself.

    Returns:
        What must be held as long as pods are forked (`_fill_holes`).
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    return _fill_holes()


def _fill_holes() -> object:
    """Take the free blocks between the objects of this process, for as long as the result is held.

    A pod would put its first objects into them, and copy a page of 4 KiB for each; without them it
    begins a page of its own and fills it (80 of 2,160 copied pages a pod and keeper).
    """
    return [
        [bytes(size - sys.getsizeof(b"")) for _ in range(HOLE_BYTES // size)]
        for size in range(48, MAX_SMALL_BYTES + 1, 16)
    ]
