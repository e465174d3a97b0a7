"""`python -P -m pods.supervisor`: the daemon that clients start on demand.

Owns its command line, its readiness line and its exit code. Everything else is `service`.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress

import trio

from pods.config import load_config, with_caps
from pods.paths import places_from
from pods.supervisor.core import Supervisor
from pods.supervisor.embedded import launcher_environment
from pods.supervisor.options import DEFAULT_IDLE_EXIT_SECONDS, Options
from pods.supervisor.service import serve
from pods_protocol.errors import ExitCode, PodsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a supervisor until it ends; returns the exit code of the process."""
    parser = argparse.ArgumentParser(prog="python -P -m pods.supervisor")
    parser.add_argument("--name", default="default")
    parser.add_argument("--ready-fd", type=int, metavar="FD", help="gets one line, `ready`")
    parser.add_argument(
        "--idle-exit-seconds",
        type=float,
        default=DEFAULT_IDLE_EXIT_SECONDS,
        metavar="S",
        help="end after this long without pods and clients; 0 never",
    )
    for flag in ("--max-depth", "--max-children", "--max-pods"):
        parser.add_argument(flag, type=int, help="overrides the configuration")
    given = parser.parse_args(arguments)
    os.umask(0o077)
    open_files = _raise_open_files()
    try:
        places = places_from(os.environ, os.geteuid())
        options = Options(
            places=places.supervisor(given.name),
            environ=launcher_environment(os.environ, places),
            idle_exit_seconds=given.idle_exit_seconds or None,
            open_files=open_files,
            config=with_caps(
                load_config(places.config),
                max_depth=given.max_depth,
                max_children=given.max_children,
                max_pods=given.max_pods,
            ),
        )
        trio.run(_run, options, given.ready_fd)
    except PodsError as error:
        print(error.message, file=sys.stderr)  # noqa: T201 - the log, where a client started us
        return error.EXIT_CODE
    return ExitCode.OK


def _raise_open_files() -> int:
    """Let this process have as many descriptors as it may: it holds two a pod. Returns the former.

    An embedding program's limit is its own affair; there `open_supervisor` changes nothing.
    """
    before, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a ceiling above what the kernel allows: it stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, ceiling))
    return before


async def _run(options: Options, ready_fd: int | None) -> None:
    async with trio.open_nursery() as nursery:
        failure: PodsError | None = None

        async def run(
            *, task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED
        ) -> None:
            nonlocal failure
            try:
                await serve(options, signals=True, task_status=task_status)
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


if __name__ == "__main__":
    sys.exit(main())
