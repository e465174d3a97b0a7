"""What the standard library does not offer of Linux: prctl; and cleaning up after a fork.

Owns the few calls that change what a process is: subreaper, death signal, name, signal handlers,
descriptors. Knows nothing of pods. Used by keeper, launcher and the pod's first steps.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
from collections.abc import Collection, Iterable
from typing import Any, Final, cast

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36

LAUNCHER_NAME: Final = "pods-launcher"
"""What the launcher calls its process: a keeper whose parent has another name lost its launcher."""

PYTHON_IGNORES: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Python ignores these from its start, so that writes fail with an error that can be caught."""

ALL_SIGNALS: Final = tuple(sorted(map(int, signal.valid_signals())))
"""Made once: in a forked child each object that is made or touched costs a copied page."""

PARENT_DIED: Final = signal.SIGUSR1
"""How a keeper hears that its launcher has ended."""

LOOP_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM, PARENT_DIED)
"""What a keeper and a launcher notice."""

LOOP_IGNORES: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""What they ignore: a person's Ctrl-C is not meant for them."""

MAX_DESCRIPTORS: Final = 2**20
"""The kernel gives a process no number from here on (`fs.nr_open`), unless it is told to."""

_signals: Final = cast("Any", importlib.import_module("_signal"))
"""What `signal` is made of."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc_holding_the_interpreter: Final = ctypes.PyDLL(None, use_errno=True)


def plain_fork() -> int:
    """Fork without what Python does after a fork; as `os.fork` otherwise.

    For a process of one thread whose child runs none of what cares: `threading`'s table of threads,
    the seed of `random`, the locks of `logging`, worker threads. To put them right writes to 170 of
    the pages that parent and child share. A keeper uses none of them, and those of the pod that it
    forks in turn are right as they are, but for the seed, which the pod makes anew.

    Raises:
        OSError: the system refuses.
    """
    pid = int(_libc_holding_the_interpreter.fork())
    if pid < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return pid


def become_subreaper() -> None:
    """Make descendants whose parent has ended children of this process.

    Raises:
        OSError: the kernel refuses.
    """
    _prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even if that has happened already.

    Args:
        parent: the pid of the process that forked this one.

    Raises:
        OSError: the kernel refuses.
    """
    _prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:  # it ended before the line above
        os.kill(os.getpid(), signal.SIGKILL)


def hear_of_parents_death(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends.

    Raises:
        OSError: the kernel refuses.
    """
    _prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number))


def set_process_name(name: str) -> None:
    """Name this process for `ps`; the kernel keeps 15 bytes of it."""
    _prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()))


def reset_signals(
    numbers: Collection[int] = ALL_SIGNALS, *, keep_ignored: Collection[int] = ()
) -> None:
    """Give signals their default action, and let none be blocked.

    Args:
        numbers: which; a process that knows what its parent changed names only that.
        keep_ignored: those that stay ignored where they are.
    """
    signal.set_wakeup_fd(-1)
    for number in numbers:
        handler = signal.getsignal(number)
        if handler is signal.SIG_DFL or (handler is signal.SIG_IGN and number in keep_ignored):
            continue
        # SIGKILL, SIGSTOP and what the C library keeps for itself cannot be set.
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    set_mask(())


def set_mask(numbers: Iterable[int], how: int = signal.SIG_SETMASK) -> Collection[int]:
    """`signal.pthread_sigmask` in numbers alone; returns what was blocked before.

    That makes an enum of each of sixty numbers, which in a process that was just forked takes a
    thirtieth of its start.
    """
    return cast("Collection[int]", _signals.pthread_sigmask(how, numbers))


def close_descriptors(*, keep: Collection[int]) -> None:
    """Close every descriptor of this process but those named.

    Python objects that own a closed one must never be collected in this process: a forked child
    stays inside the call that forked it, so everything its parent held is held for ever.
    """
    below = 0
    for kept in (*sorted(keep), MAX_DESCRIPTORS):
        if below < kept:
            os.closerange(below, kept)
        below = kept + 1


def redirect_standard_streams(output: int) -> None:
    """Point standard input at nothing, standard output and error at `output`."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        if source != target:
            os.dup2(source, target)
    if null > 2:
        os.close(null)


def _prctl(option: int, argument: ctypes.c_ulong | ctypes.c_char_p) -> None:
    if _libc.prctl(option, argument, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")
