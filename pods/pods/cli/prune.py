"""`pods prune`: remove pods that ended long ago; without `--force` only say which."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.client.open import NoSupervisor, open_plain
from pods.client.plain import Json
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=options.duration,
        default=7 * 86400.0,
        help="ended at least this long ago: 90s, 5m, 2h, 7d (default: 7d)",
    )
    parser.add_argument("--force", action="store_true", help="do it")
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Report or remove.

    Raises:
        PodsError: storage.
    """
    answer = _prune(args)
    if args.json:
        render.say_json(answer)
        return ExitCode.OK
    for name in answer["removed"]:
        render.say(f"{name} removed")
    for name in answer["would_remove"]:
        render.say(f"{name} would be removed")
    for name in answer["uncertain"]:
        look = f"{render.command(args.supervisor)} inspect {name}"
        render.note(f"{name} cannot be judged and stays; `{look}` shows it")
    if answer["would_remove"]:
        render.note("nothing was removed; add --force")
    elif not answer["removed"]:
        render.note("nothing to remove")
    return ExitCode.OK


def _prune(args: argparse.Namespace) -> Json:
    try:
        client = open_plain(args.supervisor)
    except NoSupervisor:
        return {"removed": [], "would_remove": [], "uncertain": []}
    with client:
        return client.call("prune", {"older_than_seconds": args.older_than, "force": args.force})
