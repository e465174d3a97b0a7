"""`pods read`: what a pod said since the last read, alive or ended."""

from __future__ import annotations

import argparse
from typing import Final

from pods.cli import options, render
from pods.cli.follow import open_for, pages
from pods.cli.transcript import TEXT_KINDS
from pods.client.plain import Json
from pods_protocol.errors import ExitCode

READER: Final = "cli"
"""The cursor that a person's reads share, whatever terminal they come from."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pod(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--since",
        metavar="SEQ",
        type=options.count,
        help="after this event; leaves the mark of the last read alone",
    )
    where.add_argument("--all", action="store_true", help="from the beginning, as --since 0")
    parser.add_argument("--events", action="store_true", help="every event, one JSON object a line")
    options.add_json(parser, "one page: events, state, next, truncated")


def run(args: argparse.Namespace) -> int:
    """Print, flush, and only then say that it was read.

    Raises:
        PodsError: unknown pod, storage.
    """
    since: int | None = 0 if args.all else args.since
    everything = args.events or args.json
    empty = True
    with open_for(args.pod, args.supervisor) as client:
        for page in pages(
            client,
            args.pod,
            since=since,
            reader=READER,
            kinds=() if everything else TEXT_KINDS,
        ):
            if args.json:
                render.say_json(page)
            else:
                _show(page, events=args.events)
            render.flush()
            empty = empty and not page["events"]
            if since is None:
                client.call("advance", {"pod": page["id"], "seq": page["next"], "reader": READER})
            if args.json:
                return ExitCode.OK
            if not page["truncated"] and empty:
                render.note(f"nothing new; {page['pod']} is {page['state']}")
    return ExitCode.OK


def _show(page: Json, *, events: bool) -> None:
    for event in page["events"]:
        if events:
            render.say_json(event)
        else:
            render.write(event["data"]["text"])
