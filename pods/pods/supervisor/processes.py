"""The end of single processes, waited for by a descriptor: whoever their parent is, none is polled.

Knows nothing of pods. Used by who judges that a pod's tree is gone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import trio

from pods.scope.identity import identify, is_alive
from pods_protocol.values import ProcessIdentity

FORK_TICKS: Final = 100
"""From a keeper's start to its pod's, in clock ticks of a hundredth of a second: two or three, on a
machine that swaps a good deal more. No pid comes round again within a second of its first use."""


async def wait_child_gone(keeper: ProcessIdentity, pid: int | None) -> None:
    """Wait for the end of a pod whose keeper was killed; of its pid alone the number is known.

    A keeper forks its pod within moments of its own start. Another process that got the number got
    it after the pod's end, and began later than that.
    """
    if pid is None:
        return
    with suppress(ProcessLookupError):
        found = identify(pid)
        if 0 <= found.start_ticks - keeper.start_ticks <= FORK_TICKS:
            await wait_process_gone(found)


async def wait_process_gone(identity: ProcessIdentity) -> None:
    """Wait until this very process has ended, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor is one process for ever; here it proves to be the right one, or to be
        # another that got its pid.
        if not is_alive(identity):
            return
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
