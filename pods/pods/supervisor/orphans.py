"""Keepers that no launcher knows any more: ended by their identity, never by a name or a number.

Owns the only way in which `doctor` and the hard end of a pod end such a process: pid, start time
and boot id from our own records prove it, a process descriptor holds it. The keeper is told to end,
because it alone ends its whole tree; one that does not go is never killed, since what is below it
would then be nobody's. Blocking: call it in a thread from an event loop.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from typing import Final

from pods.descriptors import no_descriptors
from pods.scope.identity import is_alive
from pods_protocol.values import ProcessIdentity

ASK_SECONDS: Final = 2.0
"""After each SIGTERM: at the first the keeper asks its pod, at the second it makes it."""

KILL_SECONDS: Final = 5.0
"""From the keeper's SIGKILL to its tree's end: a few milliseconds, but for processes in
uninterruptible sleep."""

STEPS: Final = (
    (signal.SIGTERM, ASK_SECONDS),
    (signal.SIGTERM, KILL_SECONDS),
)


def end_keeper(identity: ProcessIdentity) -> bool:
    """End a keeper with all that is below it; returns whether it is gone.

    Raises:
        CapacityReached: no descriptor is left to hold it by.
    """
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return True
    except OSError as error:
        raise no_descriptors(f"end process {identity.pid}", error) from error
    try:
        # The descriptor is one process for ever; here it proves to be the right one.
        if not is_alive(identity):
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        for number, seconds in STEPS:
            with suppress(ProcessLookupError):
                # A stopped one hears nothing else.
                signal.pidfd_send_signal(descriptor, signal.SIGCONT)
                signal.pidfd_send_signal(descriptor, number)
            if poll.poll(seconds * 1000):
                return True
        return False
    finally:
        os.close(descriptor)


def end_and_say(identity: ProcessIdentity) -> str:
    """As `end_keeper`; says what was done.

    Raises:
        TimeoutError: it does not go.
    """
    if not end_keeper(identity):
        raise TimeoutError(f"process {identity.pid} does not go")
    return f"ended process {identity.pid} and what was below it"
