"""`pods logs`: all that a pod did, from its journal; `-f` goes on as it does more."""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable, Iterator

from pods.cli import options, render
from pods.cli.follow import journal_after_end, live_events, open_for, open_pod, pages
from pods.cli.transcript import Transcript, event_line
from pods.client.plain import Json, PlainClient
from pods_protocol.errors import ExitCode, NotConnected, PodEnded


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pod(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more comes")
    parser.add_argument(
        "--tail", metavar="N", type=options.count, help="begin with the last N events"
    )
    parser.add_argument("-t", "--timestamps", action="store_true", help="say when")
    parser.add_argument("--events", action="store_true", help="every event, one a line")
    options.add_json(parser, "every event, one object a line")


def run(args: argparse.Namespace) -> int:
    """Print the journal.

    Raises:
        PodsError: unknown pod, storage.
    """
    show = _printer(args)
    with open_for(args.pod, args.supervisor) as client:
        cursor, ended = _print_journal(client, args.pod, args.tail, show)
        render.flush()
        if not args.follow or ended:
            return ExitCode.OK
        try:
            for event in _live(client, args.pod, cursor):
                show(event)
                render.flush()
        except KeyboardInterrupt:
            render.note(f"no longer following; {args.pod} goes on")
            return ExitCode.INTERRUPTED
    return ExitCode.OK


def _printer(args: argparse.Namespace) -> Callable[[Json], None]:
    if args.json:
        return render.say_json
    if args.events:
        return lambda event: render.say(event_line(event, timestamps=args.timestamps))
    return Transcript(timestamps=args.timestamps).show


def _print_journal(
    client: PlainClient, pod: str, tail: int | None, show: Callable[[Json], None]
) -> tuple[int, bool]:
    """Print what there is; returns the cursor after it and whether the pod has ended."""
    held: collections.deque[Json] = collections.deque(maxlen=tail)
    since, state = 0, ""
    for page in pages(client, pod, since=0):
        for event in page["events"]:
            if tail is None:
                show(event)
            else:
                held.append(event)
        since, state = int(page["next"]), page["state"]
    for event in held:
        show(event)
    return since, state in ("stopped", "failed", "lost")


def _live(client: PlainClient, name: str, since: int) -> Iterator[Json]:
    """Events as they come, to the pod's end."""
    try:
        pod = open_pod(client, name)
    except (NotConnected, PodEnded):
        yield from journal_after_end(client, name, since)
        return
    with pod:
        yield from live_events(client, pod, name, since)
