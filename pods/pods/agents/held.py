"""Starting a program that is held to less than its pod: without what the pod has lent.

Owns the one way to do that without a helper program: the kernel holds threads, and a child gets
what holds the thread that forks it. So a thread of its own enters the layer, starts the program and
ends with it; not before, because to the program the end of that thread is the end of its parent.
Used by `process`, where something is lent.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import trio


class HeldProcess:
    """A program that such a thread has started; as `trio.Process`, as far as it is used here.

    Attributes:
        stdin, stdout, stderr: its streams; `stdin` is None where it was given none.
    """

    def __init__(self, popen: subprocess.Popen[bytes], ended: trio.Event) -> None:
        self._popen = popen
        self._ended = ended
        self.stdin = None if popen.stdin is None else _take(popen.stdin.fileno())
        assert popen.stdout is not None, "asked for a pipe"
        assert popen.stderr is not None, "asked for a pipe"
        self.stdout = _take(popen.stdout.fileno())
        self.stderr = _take(popen.stderr.fileno())
        for file in (popen.stdin, popen.stdout, popen.stderr):
            if file is not None:
                file.close()

    @property
    def pid(self) -> int:
        """The program's, and its group's."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None until `wait` has returned."""
        return self._popen.returncode

    async def wait(self) -> int:
        """Wait for its end, and reap it."""
        await self._ended.wait()
        return self._popen.wait()


def _take(descriptor: int) -> trio.lowlevel.FdStream:
    return trio.lowlevel.FdStream(os.dup(descriptor))


async def open_held(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    with_stdin: bool,
    enter: Callable[[], None],
) -> HeldProcess:
    """Start a program in a session of its own, behind what `enter` puts round a thread.

    Args:
        argv, cwd, env: as for any program.
        with_stdin: it gets a pipe to read; else it reads nothing.
        enter: called in the thread before the program is started.

    Raises:
        OSError, ValueError: it could not be started.
    """
    token = trio.lowlevel.current_trio_token()
    begun, ended = trio.Event(), trio.Event()
    outcome: list[subprocess.Popen[bytes] | BaseException] = []

    def tell(event: trio.Event) -> None:
        with suppress(trio.RunFinishedError):  # the pod has ended
            token.run_sync_soon(event.set)

    def live() -> None:
        try:
            enter()
            popen = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        except BaseException as error:
            outcome.append(error)
            tell(begun)
            return
        outcome.append(popen)
        tell(begun)
        # Not reaped here: as long as it is not, its number is its own.
        os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
        tell(ended)

    threading.Thread(target=live, name="held", daemon=True).start()
    with trio.CancelScope(shield=True):  # a start that has begun is known to somebody
        await begun.wait()
    started = outcome[0]
    if isinstance(started, BaseException):
        raise started
    return HeldProcess(started, ended)
