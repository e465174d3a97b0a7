"""`python -P -m pods.supervisor`: the daemon that clients start on demand.

Owns its command line and what is done before anything heavy is imported: limits, places, and the
head start of its launcher. Everything else is `daemon`, imported last for that reason.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pods.paths import places_from
from pods.supervisor.head_start import take_head_start
from pods.supervisor.launcher_process import launcher_environment
from pods_protocol.errors import PodsError

DEFAULT_IDLE_EXIT_SECONDS: Final = 10.0
"""With no pod alive and nobody connected the daemon ends after this: long enough that a person who
types one command after the other meets the same one, short enough to leave a machine clean."""


NEW_OBJECTS: Final = 10_000
"""Made before the collector of garbage looks at what is new: a megabyte of garbage at most. The
interpreter's own 700 have it look once for each pod that is spawned, mostly at what is in use."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a supervisor until it ends; returns the exit code of the process."""
    parser = argparse.ArgumentParser(prog="python -P -m pods.supervisor")
    parser.add_argument("--name", default="default")
    parser.add_argument("--ready-fd", type=int, metavar="FD", help="gets one line, `ready`")
    parser.add_argument(
        "--detach", action="store_true", help="go on as nobody's child, once this is read"
    )
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
    if given.detach and os.fork():
        # Hosts of `pods mcp` end what they started with all that is below it (Copilot does).
        os._exit(0)
    os.umask(0o077)
    open_files = _raise_open_files()
    try:
        places = places_from(os.environ, os.geteuid())
        own = places.supervisor(given.name)
    except PodsError as error:
        # The log, where a client started us; that error has a prefix of its own.
        prefix = "pods: " if given.ready_fd is None else ""
        print(f"{prefix}{error.message}", file=sys.stderr)  # noqa: T201 - above
        return error.EXIT_CODE
    environ = launcher_environment(os.environ, places)
    head_start = take_head_start(own, environ, open_files)
    # What is imported stays: nothing of it is garbage, while it comes or later, when a full pass
    # over it would hold up a hundred spawns for 20 ms.
    gc.disable()
    from pods.supervisor.daemon import run

    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
    gc.enable()
    return run(given, own, environ, open_files, head_start)


def _raise_open_files() -> int:
    """Let this process have as many descriptors as it may: it holds two a pod. Returns the former.

    An embedding program's limit is its own affair; there `open_supervisor` changes nothing.
    """
    before, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a ceiling above what the kernel allows: it stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, ceiling))
    return before


if __name__ == "__main__":
    sys.exit(main())
