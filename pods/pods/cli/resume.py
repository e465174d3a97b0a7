"""`pods resume`: let paused pods go on where they were."""

from __future__ import annotations

import argparse

from pods.cli import options
from pods.cli.batch import ask_each
from pods.client.plain import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pods(parser, options.LIVING)
    options.add_json(parser, "{resumed: [...], errors: [...]}")


def run(args: argparse.Namespace) -> int:
    """Resume them.

    Raises:
        PodsError: nothing could be asked at all.
    """
    return ask_each(args, "resume", "resumed", _line)


def _line(answer: Json) -> str:
    return f"{answer['pod']} goes on ({answer['state']})"
