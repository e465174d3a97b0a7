"""`pods down`: end the supervisor."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
from typing import Final

from pods.cli import options, render
from pods.client.open import NoSupervisor, open_plain
from pods.client.plain import ANSWER_SECONDS
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.errors import ExitCode

EXIT_SECONDS: Final = 5.0
"""How long the supervisor may take to leave once it has answered. One that is embedded in a program
leaves that program running, and is then not waited for any longer."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--stop-pods", action="store_true", help="stop every pod first; without it, pods refuse"
    )
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        type=options.grace,
        default=DEFAULT_GRACE_SECONDS,
        help="between the steps of a stop (default: %(default)g)",
    )
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask it to end; none there is no error.

    Raises:
        PodRunning: pods live and `--stop-pods` is not given.
    """
    try:
        client = open_plain(args.supervisor, when_absent="fail")
    except NoSupervisor:
        if args.json:
            render.say_json({"stopped": []})
        else:
            render.note("no supervisor runs")
        return ExitCode.OK
    with client, _Exit(int(client.hello["pid"])) as its_exit:
        answer = client.call(
            "shutdown",
            {"stop_pods": args.stop_pods, "grace_seconds": args.grace},
            timeout=3 * args.grace + ANSWER_SECONDS,
        )
        its_exit.wait()
    if args.json:
        render.say_json(answer)
    else:
        stopped = ", ".join(answer["stopped"])
        render.say(f"the supervisor has ended{', with ' + stopped if stopped else ''}")
    return ExitCode.OK


class _Exit:
    """The supervisor's process, held before it is told to end: its pid cannot become another's."""

    def __init__(self, pid: int) -> None:
        self._descriptor = -1
        with contextlib.suppress(OSError):  # another namespace, or it has gone already
            self._descriptor = os.pidfd_open(pid)

    def wait(self) -> None:
        """Wait until the process has ended, so that "has ended" is true."""
        if self._descriptor >= 0:
            select.select([self._descriptor], [], [], EXIT_SECONDS)

    def __enter__(self) -> _Exit:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
