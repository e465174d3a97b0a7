"""Keepers that nobody knows any more: ended by their identity, never by a name or a number alone.

Owns the only way in which doctor ends a process: pid, start time and boot id from our own records
prove it, a process descriptor holds it. The keeper is asked first, because it alone ends its whole
tree; only one that does not go is killed. Blocking: call it in a thread from an event loop.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from typing import Final

from pods.scope.identity import is_alive
from pods_protocol.values import ProcessIdentity

ASK_SECONDS: Final = 2.0
"""After each SIGTERM: at the first the keeper asks its pod, at the second it makes it."""

KILL_SECONDS: Final = 5.0
"""SIGKILL to gone: a few milliseconds, but for processes in uninterruptible sleep."""

STEPS: Final = (
    (signal.SIGTERM, ASK_SECONDS),
    (signal.SIGTERM, KILL_SECONDS),
    (signal.SIGKILL, KILL_SECONDS),
)


def end_keeper(identity: ProcessIdentity) -> bool:
    """End a keeper with all that is below it; returns whether it is gone."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return True
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
