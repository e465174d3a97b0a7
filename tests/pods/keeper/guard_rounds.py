"""Run inside a PID namespace of its own: a launcher is killed, then a keeper, and what is left.

unshare --fork --pid --mount-proc --kill-child python -P guard_rounds.py [stopped] [late]
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import tempfile
import time
from typing import NoReturn
from unittest import mock

from pods.keeper import guard
from pods.keeper.domain import SignalDomain
from pods.keeper.main import become_keeper
from pods.keeper.record import read_guard
from pods.keeper.system import (
    ALL_SIGNALS,
    PARENT_DIED,
    die_with_parent,
    hear_of_parents_death,
    plain_fork,
)
from pods.scope.identity import is_alive

STOPPED = "stopped" in sys.argv
"""Whether the whole domain is paused when the keeper is killed."""

LATE = "late" in sys.argv
"""Whether the guard comes on only once the keeper has paused the domain, unless that waits for it.
"""

WAIT_SECONDS = 20.0

LATE_SECONDS = 0.2
"""So long a guard that its keeper waits for is late: longer than a keeper needs that does not."""


def say(text: str) -> None:
    print(text, flush=True)


def stay() -> NoReturn:
    while True:
        signal.pause()


def launcher(directory: str, told: int) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
    if plain_fork() == 0:
        keeper(directory, told)
    stay()


def keeper(directory: str, told: int) -> NoReturn:
    become_keeper(keep=(told,))
    domain = SignalDomain.enter(os.getppid(), switches={}, files_follow=True)
    assert domain is not None
    own = os.getpid()
    pod = os.fork()
    if pod == 0:
        die_with_parent(own)
        for _ in range(5):  # what programs leave: sessions of their own, SIGTERM ignored
            if os.fork() == 0:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                stay()
        stay()
    os.write(told, b"%d\n" % own)
    signal.sigwait((PARENT_DIED,))
    if LATE:
        mock.patch.object(guard, "hear_of_parents_death", hear_late).start()
    guard.fork_guard(domain, directory)
    if STOPPED:
        domain.signal_all(signal.SIGSTOP)
    os.write(told, b"guarded\n")
    stay()


def hear_late(number: int) -> None:
    select.select([], [], [], LATE_SECONDS)
    hear_of_parents_death(number)


def wait_for(number: int) -> None:
    """Until so many processes are left in this namespace."""
    deadline = time.monotonic() + WAIT_SECONDS
    while len(living()) != number and time.monotonic() < deadline:
        time.sleep(0.002)


def living() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def main() -> int:
    assert os.getpid() == 1, "this belongs in a PID namespace of its own"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who ends is gone at once
    bystander = os.fork()
    if bystander == 0:
        stay()
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as directory, open(reader) as told:
        first = os.fork()
        if first == 0:
            launcher(directory, writer)
        pid = int(told.readline())
        wait_for(3 + 1 + 1 + 5)
        os.kill(first, signal.SIGKILL)
        say(told.readline().strip())
        found = read_guard(directory)
        assert found is not None
        say(f"the guard lives: {is_alive(found)}")
        os.kill(pid, signal.SIGKILL)
        wait_for(2)
        say(f"left: {sorted(living()) == [1, bystander]}")
    with contextlib.suppress(ProcessLookupError):
        os.kill(bystander, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
