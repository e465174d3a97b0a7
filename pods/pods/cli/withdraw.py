"""`pods withdraw`: take a message back that waits for its turn."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.cli.follow import open_for
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pod(parser)
    parser.add_argument(
        "message_id", metavar="MESSAGE_ID", help="from `pods send`; `pods inspect` lists them"
    )
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Withdraw it.

    Raises:
        UnknownMessage: it does not wait (any more).
        PodsError: unknown pod, ended.
    """
    with open_for(args.pod, args.supervisor) as client:
        answer = client.call("withdraw", {"pod": args.pod, "message_id": args.message_id})
    if args.json:
        render.say_json(answer)
    else:
        render.say(f"{args.pod}: message {args.message_id} withdrawn")
    return ExitCode.OK
