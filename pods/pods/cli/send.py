"""`pods send`: give a pod a message."""

from __future__ import annotations

import argparse
import sys

from pods.cli import options, render
from pods.cli.follow import open_for, open_pod
from pods.cli.turn_output import fate, wait_for_turn
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pod(parser)
    parser.add_argument("message", metavar="MESSAGE", help="`-` reads it from standard input")
    parser.add_argument(
        "--if-busy",
        choices=("fail", "queue", "interrupt"),
        default="fail",
        help="what to do while a turn runs (default: fail)",
    )
    parser.add_argument(
        "--wait", action="store_true", help="print the turn's output and exit by its outcome"
    )
    options.add_timeout(parser, "with --wait: exit 3 after this; the pod goes on")
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Send, then perhaps wait.

    Raises:
        AlreadyRunning: busy, and `--if-busy` is `fail`.
        PodsError: unknown pod, ended, queue full, too large.
    """
    text = sys.stdin.read() if args.message == "-" else args.message
    with open_for(args.pod, args.supervisor) as client, open_pod(client, args.pod) as pod:
        name = pod.hello["name"]
        since = int(pod.call("status", {})["last_seq"]) if args.wait else 0
        message = pod.call("run", {"input": text, "if_busy": args.if_busy})
        if args.wait:
            return wait_for_turn(
                client, pod, name, message, since=since, timeout=args.timeout, as_json=args.json
            )
        if args.json:
            render.say_json(message)
        else:
            render.say(fate(name, message))
        return ExitCode.OK
