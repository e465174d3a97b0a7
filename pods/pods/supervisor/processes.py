"""Single processes, by a descriptor and a proven identity: their end waited for, a signal sent.

Whoever their parent is, none is polled and none is taken for another. Knows nothing of pods. Used
by who judges that a pod's tree is gone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import trio

from pods.descriptors import is_out_of_descriptors
from pods.scope.identity import identify, is_alive, parent_of
from pods_protocol.errors import CapacityReached
from pods_protocol.values import ProcessIdentity

T = TypeVar("T")

FORK_TICKS: Final = 100
"""From a keeper's start to its pod's, in clock ticks of a hundredth of a second: two or three, on a
machine that swaps a good deal more. No pid comes round again within a second of its first use."""

DESCRIPTOR_RETRY_SECONDS: Final = 0.5
"""Between attempts to hold or to look where no descriptor is left: others close some."""


async def wait_child_gone(keeper: ProcessIdentity, pid: int | None) -> None:
    """Wait for the end of a pod whose keeper was killed; of its pid alone the number is known.

    A keeper forks its pod within moments of its own start. Another process that got the number got
    it after the pod's end, and began later than that.
    """
    if pid is None:
        return
    found = await look(partial(living_child, keeper, pid))
    if found is not None:
        await wait_process_gone(found)


async def look(act: Callable[[], T]) -> T:
    """What `act` finds, waited for while no descriptor is left to look with (CapacityReached)."""
    while True:
        try:
            return act()
        except CapacityReached:
            await trio.sleep(DESCRIPTOR_RETRY_SECONDS)


def living_child(keeper: ProcessIdentity, pid: int) -> ProcessIdentity | None:
    """The pod's process of that number, as `wait_child_gone` knows it; None where it has ended.

    Raises:
        CapacityReached: no descriptor is left to look with.
    """
    with suppress(ProcessLookupError):
        found = identify(pid)
        forked_soon = 0 <= found.start_ticks - keeper.start_ticks <= FORK_TICKS
        if forked_soon or parent_of(pid) == keeper.pid:
            return found
    return None


def signal_process(identity: ProcessIdentity, number: int) -> bool:
    """Send a signal to this very process; whether it was there to get it."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return False
    try:
        # As below: the descriptor is one process for ever, and proves here to be the right one.
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True


async def wait_process_gone(identity: ProcessIdentity) -> None:
    """Wait until this very process has ended, whoever its parent is."""
    descriptor = await _hold(identity.pid)
    if descriptor is None:
        return
    try:
        # The descriptor is one process for ever; here it proves to be the right one, or to be
        # another that got its pid.
        if not is_alive(identity):
            return
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


async def _hold(pid: int) -> int | None:
    """A descriptor of a process, waited for where none is left; None where there is no process."""
    while True:
        try:
            return os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        except OSError as error:
            if not is_out_of_descriptors(error):
                raise
        await trio.sleep(DESCRIPTOR_RETRY_SECONDS)
