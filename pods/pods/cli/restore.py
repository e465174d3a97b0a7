"""`pods restore`: start an ended pod again, with its name, its history and its scope."""

from __future__ import annotations

import argparse
import sys

from pods.cli import options, render
from pods.cli.environment import add_environment, joined
from pods.cli.follow import open_for
from pods.cli.spawn import tell
from pods.client.plain import ANSWER_SECONDS
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pod(parser, options.ENDED)
    parser.add_argument("--prompt", metavar="TEXT", help="its next message; `-` reads it")
    add_environment(parser, "a variable that it was spawned with: the values are kept nowhere")
    options.add_json(parser, "the pod, its scope and capacity")


def run(args: argparse.Namespace) -> int:
    """Restore it.

    Raises:
        PodsError: it lives, was removed, or its scope is another's now.
    """
    params = {
        "pod": args.pod,
        "prompt": sys.stdin.read() if args.prompt == "-" else args.prompt,
        "env": joined(args.env),
    }
    with open_for(args.pod, args.supervisor) as client:
        answer = client.call("restore", params, timeout=ANSWER_SECONDS)
    del answer["token"]  # a secret: neither shown nor piped into anything
    if args.json:
        render.say_json(answer)
    else:
        tell(answer, args.supervisor, next_steps=True, verb="restored")
    return ExitCode.OK
