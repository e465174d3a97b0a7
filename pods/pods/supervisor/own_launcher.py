"""The launcher as a process of this supervisor's own: started, waited for, reaped.

Owns the process and its word that it is ready. Knows nothing of the connection to it, nor of a
launcher that an earlier supervisor left, which is nobody's child here. Used by `launcher_link`.
"""

from __future__ import annotations

import os
from typing import Final

import trio

from pods.supervisor.head_start import HeadStart
from pods.supervisor.launcher_process import LauncherProcess, start_launcher
from pods.supervisor.options import Options
from pods.supervisor.records import error_tail
from pods_protocol.errors import StartFailed

START_SECONDS: Final = 20.0
"""A launcher imports trio, attrs and the pod runtime: a quarter of a second, on a machine that is
very busy a good deal more."""


class OwnLauncher:
    """The launcher that this process started, if it did.

    Args:
        options: where it listens and what it is started with.
        head_start: may have one that was started before this supervisor had its imports.
    """

    def __init__(self, options: Options, head_start: HeadStart) -> None:
        self._options = options
        self._places = options.places
        self._head_start = head_start
        self._process: LauncherProcess | None = None

    @property
    def begun(self) -> bool:
        """Whether one is on its way that was started ahead."""
        return self._head_start.begun

    async def start(self) -> None:
        """Start it, or take over the one that was started ahead; returns once it is ready.

        Raises:
            StartFailed: it does not come up; nothing of it is left.
        """
        process = self._head_start.take_launcher()
        if process is None:
            await self.reap()  # the one before ended; it is a zombie until it is waited for
            try:
                process = await trio.to_thread.run_sync(
                    start_launcher, self._places, self._options.environ, self._options.open_files
                )
            except OSError as error:
                raise StartFailed(
                    f"cannot start the launcher: {error.strerror or error}; free some memory, "
                    "files or processes, then try again",
                    step="launcher",
                    detail=str(error),
                ) from error
        self._process = process
        try:
            await self._wait_ready(process.ready)
        except BaseException:
            process.kill()
            with trio.CancelScope(shield=True):
                await self.reap()
            raise

    async def reap(self) -> None:
        """Wait until the launcher that this process started, if any, has ended."""
        process, ended = self._process, None
        if process is not None:
            ended = process.end_descriptor()
        if process is not None and ended is not None:
            try:
                await trio.lowlevel.wait_readable(ended)
            finally:
                os.close(ended)
            process.wait()
        self._process = None

    async def _wait_ready(self, reader: int) -> None:
        line = b""
        async with trio.lowlevel.FdStream(reader) as pipe:
            with trio.move_on_after(START_SECONDS):
                while not line.endswith(b"\n"):
                    piece = await pipe.receive_some(64)
                    if not piece:
                        break
                    line += piece
        if line != b"ready\n":
            raise StartFailed(
                "cannot start the launcher: it ended or said nothing within "
                f"{START_SECONDS:g} s; the log {self._places.log} ends: "
                f"{error_tail(self._places.log)}",
                step="launcher",
                detail=line.decode("utf-8", "replace"),
            )
