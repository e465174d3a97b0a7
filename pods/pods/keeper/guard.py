"""The guard: ends a pod's tree where the keeper is killed and no launcher is left to do it.

What a killed keeper leaves falls to its launcher, which kills it. Where the launcher was killed
before, it would fall to the init process, and nobody could find it any more. So a keeper whose
launcher has ended forks one process more: in its signal domain, above which it is nobody's to
signal, but not the pod's parent. It waits for the keeper's end alone and then signals the domain
until it is the last one in there. Pods whose launcher lives have none.

Owns that process's life. Knows nothing of messages or journals. Forked
by `main`; the supervisor learns of it from a file (`record`), waits for its end and has it as the
lease's guardian.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Final

from pods.keeper.domain import SignalDomain
from pods.keeper.pod_start import end_process
from pods.keeper.record import write_guard
from pods.keeper.system import (
    ALL_SIGNALS,
    close_descriptors,
    hear_of_parents_death,
    set_mask,
    set_process_name,
)
from pods.keeper.tree import identify_child

PROCESS_NAME: Final = "pods-guard"

FIRST_RETRY_SECONDS: Final = 0.001
LAST_RETRY_SECONDS: Final = 0.5
"""Between two looks at who is left, each twice the one before: killed processes need a moment, and
one that waits for a device goes when that answers."""

READY_SECONDS: Final = 5.0
"""A new process needs a millisecond until it hears of its parent's death; one that somebody else
stopped would keep its keeper from everything, so that waits no longer than this."""


def fork_guard(domain: SignalDomain, runtime_directory: str) -> int:
    """Fork the guard of this process, and leave word of it; returns its pid.

    It is on guard by then: paused with the domain a moment earlier, it would never go on.

    Args:
        domain: what this process, the keeper, has entered.
        runtime_directory: of the pod.

    Raises:
        OSError, DomainBroken: there is none.
        StorageFailed: no word can be left, so there is none.
    """
    keeper = os.getpid()
    opened = [os.pidfd_open(keeper)]
    try:
        opened += os.pipe()
        pid = _fork(domain, keeper, opened[0], opened[-1])
        os.close(opened.pop())  # from here on it is the guard's alone: its end is told by that, too
        _wait_ready(opened[-1])
    finally:
        for descriptor in opened:
            os.close(descriptor)
    try:
        write_guard(runtime_directory, identify_child(pid))
    except BaseException:
        os.kill(pid, signal.SIGKILL)  # a child that nobody has reaped, so the pid is its own
        raise
    return pid


def _fork(domain: SignalDomain, keeper: int, ended: int, tells: int) -> int:
    # Blocked over the fork and for ever in the guard: a SIGTERM to the whole domain is not for it.
    before = set_mask(ALL_SIGNALS, signal.SIG_BLOCK)
    try:
        pid = domain.fork()
        if pid == 0:
            end_process(lambda: _guard(domain, keeper, ended, tells))
    finally:
        set_mask(before)
    return pid


def _wait_ready(ready: int) -> None:
    waiting = select.poll()
    waiting.register(ready, select.POLLIN)
    waiting.poll(READY_SECONDS * 1000)


def _guard(domain: SignalDomain, keeper: int, ended: int, tells: int) -> int:
    # A pause stops the whole domain; who is stopped when the keeper dies has to go on.
    hear_of_parents_death(signal.SIGCONT)
    os.write(tells, b"r")
    close_descriptors(keep=(0, 1, 2, ended))
    set_process_name(PROCESS_NAME)
    if os.getppid() == keeper:
        waiting = select.poll()
        waiting.register(ended, select.POLLIN)
        waiting.poll()
    pause = FIRST_RETRY_SECONDS
    while domain.others():
        domain.signal_all(signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 2, LAST_RETRY_SECONDS)
    return 0
