"""`pods down`: end the supervisor."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.client.open import NoSupervisor, open_plain
from pods.client.plain import ANSWER_SECONDS
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.errors import ExitCode


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
    with client:
        answer = client.call(
            "shutdown",
            {"stop_pods": args.stop_pods, "grace_seconds": args.grace},
            timeout=3 * args.grace + ANSWER_SECONDS,
        )
    if args.json:
        render.say_json(answer)
    else:
        stopped = ", ".join(answer["stopped"])
        render.say(f"the supervisor has ended{', with ' + stopped if stopped else ''}")
    return ExitCode.OK
