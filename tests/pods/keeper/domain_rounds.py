"""Run inside a PID namespace of its own: the interlock of a signal domain, step by step.

unshare --fork --pid --mount-proc --kill-child python -P domain_rounds.py
"""

from __future__ import annotations

import os
import signal
import sys
import time
from unittest import mock

from pods.keeper.domain import DomainBroken, SignalDomain


def sleeper() -> int:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        while True:
            signal.pause()
    return pid


def say(text: str) -> None:
    print(text, flush=True)


def keeper(outsider: int, bystander: int) -> None:
    domain = SignalDomain.enter(outsider, switches={}, files_follow=True)
    assert domain is not None
    say("entered")
    forked = os.fork()
    if forked == 0:
        try:
            domain.signal_all(signal.SIGKILL)
        except DomainBroken:
            say("a fork may not use it")
        os._exit(0)
    os.waitpid(forked, 0)
    children = [sleeper() for _ in range(5)]
    domain.signal_all(signal.SIGKILL)
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert _lives(bystander)
    say("bystander lives")
    say(f"children end: {ended.count(-signal.SIGKILL)} of {len(children)}")
    domain.signal_all(signal.SIGKILL)  # nobody is there, and that is no error
    # The outsider ends when its pipe does; nobody here may signal it.
    os.write(PIPE[1], b"x")
    while _lives(outsider):
        time.sleep(0.001)
    child = sleeper()
    domain.signal_all(signal.SIGKILL)  # the bystander and others cannot be signalled either
    os.waitpid(child, 0)
    assert _lives(bystander)
    say("without the outsider another proves it")
    with (
        mock.patch.object(os, "listdir", return_value=[]),
        mock.patch.object(domain, "_outsider", outsider),
    ):
        try:
            domain.signal_all(signal.SIGKILL)
        except DomainBroken:
            say("where nobody does it is not used")


def _lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


PIPE = os.pipe()


def main() -> int:
    assert os.getpid() == 1, "this belongs in a PID namespace of its own"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who ends is gone at once
    bystander = sleeper()
    outsider = os.fork()
    if outsider == 0:
        os.read(PIPE[0], 1)
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            keeper(outsider, bystander)
        finally:
            sys.stdout.flush()
            os._exit(0)
    while _lives(pid):
        time.sleep(0.001)
    return 0


if __name__ == "__main__":
    sys.exit(main())
