"""The supervisor as a process of its own: options from its arguments, service, readiness line.

Owns what a daemon is besides `service`: how its errors end it, and whom it tells that it answers.
Called by `__main__` once that has begun what need not wait for these imports.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import suppress

import trio

from pods.config import load_config, with_caps
from pods.paths import SupervisorPlaces
from pods.supervisor.core import Supervisor
from pods.supervisor.head_start import HeadStart
from pods.supervisor.options import Options
from pods.supervisor.service import serve
from pods_protocol.errors import ExitCode, PodsError


def run(
    given: Namespace,
    places: SupervisorPlaces,
    environ: dict[str, str],
    open_files: int,
    head_start: HeadStart,
) -> int:
    """Be a supervisor until it ends; returns the exit code of the process.

    Args:
        given: the arguments, as `__main__` reads them.
        places: where its things lie.
        environ: what its launcher is started with.
        open_files: the soft limit on descriptors for launcher and pods.
        head_start: what was begun before; what is not needed of it is given up.
    """
    try:
        options = Options(
            places=places,
            environ=environ,
            idle_exit_seconds=given.idle_exit_seconds or None,
            open_files=open_files,
            config=with_caps(
                load_config(places.places.config),
                max_depth=given.max_depth,
                max_children=given.max_children,
                max_pods=given.max_pods,
            ),
        )
        trio.run(_run, options, given.ready_fd, head_start)
    except PodsError as error:
        # The log, where a client started us; that error has a prefix of its own.
        prefix = "pods: " if given.ready_fd is None else ""
        print(f"{prefix}{error.message}", file=sys.stderr)  # noqa: T201 - above
        return error.EXIT_CODE
    finally:
        head_start.give_up(places)
    return ExitCode.OK


async def _run(options: Options, ready_fd: int | None, head_start: HeadStart) -> None:
    async with trio.open_nursery() as nursery:
        failure: PodsError | None = None

        async def run(
            *, task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED
        ) -> None:
            nonlocal failure
            try:
                await serve(options, signals=True, head_start=head_start, task_status=task_status)
            except PodsError as error:
                failure = error

        with suppress(RuntimeError):  # it ended before it was ready; `failure` says why
            await nursery.start(run)
            if ready_fd is not None:
                with suppress(OSError):  # who started us has gone: others will connect
                    os.write(ready_fd, b"ready\n")
                os.close(ready_fd)
    if failure is not None:
        raise failure
