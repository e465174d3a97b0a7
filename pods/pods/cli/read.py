"""`pods read`: what a pod said since the last read, alive or ended."""

from __future__ import annotations

import argparse
import sys
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
    text = _Text()
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
                _show(page, text, events=args.events)
                if not page["truncated"] and not _goes_on(page):
                    text.end()
            render.flush()
            empty = empty and not page["events"]
            if since is None:
                client.call("advance", {"pod": page["id"], "seq": page["next"], "reader": READER})
            if args.json:
                return ExitCode.OK
            if not page["truncated"] and empty:
                render.note(f"nothing new; {page['pod']} is {page['state']}")
    return ExitCode.OK


def _show(page: Json, text: _Text, *, events: bool) -> None:
    for event in page["events"]:
        if events:
            render.say_json(event)
        else:
            text.add(event)


def _goes_on(page: Json) -> bool:
    """The next read has the rest of a line that is put together from both; nobody does by eye."""
    return page["state"] in ("working", "waiting") and not sys.stdout.isatty()


class _Text:
    """What was said, with a line's end after each turn: not every agent writes one."""

    def __init__(self) -> None:
        self._turn: int | None = None
        self._open = False

    def add(self, event: Json) -> None:
        text: str = event["data"]["text"]
        if event["turn"] != self._turn:
            self.end()
            self._turn = event["turn"]
        if text:
            render.write(text)
            self._open = not text.endswith("\n")

    def end(self) -> None:
        if self._open:
            render.say()
        self._open = False
