"""What is imported, and made warm, once in the launcher instead of once in each pod.

Owns the list and the freezing of what it leaves in memory. A module that cannot be imported ends
the launcher at once and aloud: one that fails in silence costs every pod a hundred milliseconds
(BASELINES.md 7.5). Called by the launcher's `main` before the first fork.
"""

from __future__ import annotations

import gc
import importlib
from typing import Final

from pods.scope.identity import boot_id
from pods_protocol import codec
from pods_protocol.errors import StartFailed

PRELOAD: Final = (
    "trio",
    "orjson",
    "pods.pod.main",
    "pods.agents.command",
    "pods.agents.echo",
    "pods.agents.shell",
)
"""The pod runtime with all that it pulls in, and the built-in agents."""


def preload(modules: tuple[str, ...] = PRELOAD, *, rehearsal: str | None = None) -> None:
    """Import what pods need, generate the codec, and put all of it out of the collector's reach.

    The collector stays off here, so that no pass of it ever writes to the pages that every pod
    shares; a pod turns it on again for what it makes itself.

    Args:
        modules: what to import.
        rehearsal: a directory that is made and removed to go through a pod's start once; None is
            not to.

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
    codec.warm()
    boot_id()
    if rehearsal is not None:
        from pods.pod.rehearsal import rehearse  # with all of the pod runtime behind it

        rehearse(rehearsal)
    gc.collect()
    gc.freeze()
    gc.disable()
