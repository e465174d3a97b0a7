"""`pods pause`: hold pods until they are resumed, whatever their agents are."""

from __future__ import annotations

import argparse
from functools import partial

from pods.cli import options, render
from pods.cli.batch import ask_each
from pods.client.plain import Json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pods(parser, options.LIVING)
    options.add_json(parser, "{paused: [...], errors: [...]}")


def run(args: argparse.Namespace) -> int:
    """Pause them.

    Raises:
        PodsError: nothing could be asked at all.
    """
    return ask_each(args, "pause", "paused", partial(_line, args.supervisor))


def _line(supervisor: str | None, answer: Json) -> str:
    how = {"turn": "its agent holds the turn", "tree": "all its processes are stopped"}
    resume = f"{render.command(supervisor)} resume {answer['pod']}"
    return f"{answer['pod']} paused: {how[answer['how']]}; `{resume}` lets it go on"
