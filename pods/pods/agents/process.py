"""Running one program: its output streamed and bounded, its whole group ended with it.

Owns the program from start to reaped. Output is read as it comes, never by line and never without a
bound, and handed to an `Output`. Knows no journal and no turn.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import trio

from pods.agents.text import Coalescer, Decoder
from pods_protocol.errors import StartFailed

if TYPE_CHECKING:
    from pods.agents.held import HeldProcess
    from pods.scope.landlock import Ruleset

Process: TypeAlias = "trio.Process | HeldProcess"
"""A program that was started, one way or the other."""

RECEIVE_BYTES: Final = 64 * 1024
"""One read: what a pipe holds."""

COALESCE_SECONDS: Final = 0.05
"""Output waits at most this long for more to join it in one event: too short to notice, long enough
that a program that prints characters does not make an event of each."""

CANCEL_GRACE_SECONDS: Final = 2.0
"""Between SIGTERM and SIGKILL when a turn is cancelled: time to remove a lock file, short of the
supervisor's own grace for a stop (5 s)."""

GROUP_POLL_SECONDS: Final = 0.02
"""How often a group is asked whether anybody is left, only while it is being ended: the kernel
tells of the end of a child, not of a group."""

DRAIN_SECONDS: Final = 0.5
"""After the program itself has ended, the pipes are read for this long at most: what is in them is
there already, and a process left behind may hold them open for ever."""


class Output(Protocol):
    """Takes what a program writes. Not async: what it does with it is quick or its own affair."""

    def feed(self, stream: str, data: bytes) -> None:
        """Take bytes of `stdout` or `stderr`."""
        ...

    def flush(self) -> None:
        """Hand on what was held back to be joined; called in time, and at the end."""
        ...

    def end(self) -> None:
        """Both streams are over."""
        ...

    @property
    def holds(self) -> bool:
        """Whether something is held back and wants a `flush` soon."""
        ...


class TextOutput:
    """Decodes both streams and joins their text into bounded pieces.

    Args:
        coalescer: where the text goes.
    """

    def __init__(self, coalescer: Coalescer) -> None:
        self._coalescer = coalescer
        self._decoders = {"stdout": Decoder(), "stderr": Decoder()}

    def feed(self, stream: str, data: bytes) -> None:
        """Take bytes of a stream."""
        self._coalescer.feed(stream, self._decoders[stream].feed(data))

    def flush(self) -> None:
        """Hand the joined text on."""
        self._coalescer.flush()

    def end(self) -> None:
        """Hand on the rest, broken characters included."""
        for stream, decoder in self._decoders.items():
            self._coalescer.feed(stream, decoder.end())
        self._coalescer.flush()

    @property
    def holds(self) -> bool:
        """Whether text waits to be joined."""
        return len(self._coalescer) > 0


async def run_process(
    argv: Sequence[str],
    output: Output,
    *,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes | None = None,
    layer: Ruleset | None = None,
) -> ProcessEnd:
    """Run a program to its end, in a session of its own.

    Cancelled, it ends the program's whole process group: SIGTERM, `CANCEL_GRACE_SECONDS`, SIGKILL.
    What the program leaves running when it ends by itself goes on.

    Args:
        argv: the program and its arguments, no shell between.
        output: gets what it writes.
        cwd: where it runs.
        env: its whole environment.
        stdin: what it reads; None is `/dev/null`.
        layer: what it is held to besides what holds this process.

    Raises:
        StartFailed: it could not be started; `data` has `detail` and `errno`.
    """
    process = await open_program(argv, cwd, env, stdin is not None, layer)
    try:
        left_open = await _attend(process, output, stdin)
    except BaseExceptionGroup as group:
        # The nurseries in there are nobody's business: whoever runs a program sees what failed.
        raise _first_failure(group) from group
    finally:
        with trio.CancelScope(shield=True):
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()
        output.end()
    assert process.returncode is not None, "it has been waited for"
    return ProcessEnd(process.returncode, left_open)


class ProcessEnd:
    """How a program ended.

    Attributes:
        status: exit status, or the negative of the signal that ended it.
        left_open: a process that it left behind still held its output.
        hint: what may help, where it failed and its output says why; whoever ran it puts it here.
    """

    __slots__ = ("hint", "left_open", "status")

    def __init__(self, status: int, left_open: bool) -> None:
        self.status = status
        self.left_open = left_open
        self.hint = ""

    def describe(self) -> str:
        """The end in words, `exit status 3` or `ended by SIGTERM`; empty for a success."""
        if self.status == 0:
            return ""
        return f"{self._status()}; {self.hint}" if self.hint else self._status()

    def _status(self) -> str:
        if self.status > 0:
            return f"exit status {self.status}"
        try:
            return f"ended by {signal.Signals(-self.status).name}"
        except ValueError:
            return f"ended by signal {-self.status}"


async def open_program(
    argv: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    with_stdin: bool,
    layer: Ruleset | None,
) -> Process:
    """Start a program in a session of its own, with pipes to its output.

    Args:
        argv, cwd, env, layer: as in `run_process`.
        with_stdin: it gets a pipe to read; else it reads nothing.

    Raises:
        StartFailed: it could not be started.
    """
    try:
        if layer is not None:
            from pods.agents.held import open_held  # most pods lend nothing

            return await open_held(
                argv, cwd=cwd, env=env, with_stdin=with_stdin, enter=layer.restrict_self
            )
        return await trio.lowlevel.open_process(
            list(argv),
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _cannot_start(argv, cwd, error) from error


def _cannot_start(argv: Sequence[str], cwd: str, error: OSError | ValueError) -> StartFailed:
    number = error.errno if isinstance(error, OSError) else None
    why = str(error) if number is None else os.strerror(number)
    advice = "check its name, PATH and permissions"
    if number == errno.E2BIG:
        why = "its arguments are longer than the kernel takes (128 KiB each)"
        advice = "write the text to a file and name that"
    elif not os.path.isdir(cwd):
        why, advice = f"the working directory {cwd} is not there", "make it, or choose another"
    program = argv[0] if argv else ""
    return StartFailed(
        f"cannot start {program!r}: {why}; {advice}", step="exec", detail=why, errno=number
    )


async def _attend(process: Process, output: Output, stdin: bytes | None) -> bool:
    """Feed it, read it, wait for it; whether its pipes were still held at the end."""
    assert process.stdout is not None, "asked for a pipe"
    assert process.stderr is not None, "asked for a pipe"
    fed = _Fed(output)
    async with trio.open_nursery() as helpers:
        helpers.start_soon(fed.flush_in_time)
        helpers.start_soon(_end_when_cancelled, process)
        if stdin is not None and process.stdin is not None:
            helpers.start_soon(_write, process.stdin, stdin)
        # Shielded, because what the program says while it is being ended counts too.
        with trio.CancelScope(shield=True) as drain:
            async with trio.open_nursery() as readers:
                readers.start_soon(_read, process.stdout, "stdout", fed)
                readers.start_soon(_read, process.stderr, "stderr", fed)
                await process.wait()
                drain.deadline = trio.current_time() + DRAIN_SECONDS
        helpers.cancel_scope.cancel()
    return drain.cancelled_caught


def _first_failure(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", group).exceptions
        group = next((one for one in inner if not isinstance(one, trio.Cancelled)), inner[0])
    return group


class _Fed:
    """An output and the task that flushes it in time."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._something = trio.Event()

    def feed(self, stream: str, data: bytes) -> None:
        self._output.feed(stream, data)
        if self._output.holds:
            self._something.set()

    async def flush_in_time(self) -> None:
        while True:
            await self._something.wait()
            await trio.sleep(COALESCE_SECONDS)
            self._something = trio.Event()
            self._output.flush()


async def _read(stream: trio.abc.ReceiveStream, name: str, fed: _Fed) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(RECEIVE_BYTES):
            fed.feed(name, bytes(data))


async def _write(stream: trio.abc.SendStream, data: bytes) -> None:
    """Give the program its input; one that does not read it is no error."""
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(data)
    await stream.aclose()


async def _end_when_cancelled(process: Process) -> None:
    """End the program if it still runs when the turn, or the reading of it, no longer does."""
    try:
        await trio.sleep_forever()
    finally:
        if process.returncode is None:
            with trio.CancelScope(shield=True):
                await _end_group(process)


async def _end_group(process: Process) -> None:
    """SIGTERM to the group, a grace, SIGKILL; the program itself is reaped on return."""
    group = process.pid
    signal_group(group, signal.SIGTERM)
    with trio.move_on_after(CANCEL_GRACE_SECONDS):
        await process.wait()
        # A shell ends at once on SIGTERM, and what it ran may still be tidying up.
        while signal_group(group, 0):  # noqa: ASYNC110 - see GROUP_POLL_SECONDS
            await trio.sleep(GROUP_POLL_SECONDS)
        return
    signal_group(group, signal.SIGKILL)
    await process.wait()


def signal_group(group: int, number: int) -> bool:
    """Signal a process group; whether anybody is in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Somebody is there who is not ours to signal: it changed its user.
        return number != 0
    return True
