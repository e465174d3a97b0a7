"""`pods resume`: let paused pods go on where they were."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.cli.batch import report_errors
from pods.cli.follow import open_for
from pods.client.plain import Json
from pods_protocol.errors import PodsError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pods(parser)
    options.add_json(parser, "{resumed: [...], errors: [...]}")


def run(args: argparse.Namespace) -> int:
    """Resume them.

    Raises:
        PodsError: nothing could be asked at all.
    """
    with open_for(args.pods[0], args.supervisor) as client:
        outcomes = client.call_many("resume", [{"pod": name} for name in args.pods])
    done = [outcome for outcome in outcomes if not isinstance(outcome, PodsError)]
    if not args.json:
        for answer in done:
            render.say(_line(answer))
    return report_errors("resumed", done, outcomes, as_json=args.json)


def _line(answer: Json) -> str:
    return f"{answer['pod']} goes on ({answer['state']})"
