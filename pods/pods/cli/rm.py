"""`pods rm`: remove ended pods, their records and their journals."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.cli.batch import report_errors
from pods.cli.follow import open_for
from pods.cli.listing import list_pods
from pods.client.plain import ANSWER_SECONDS, Json, PlainClient
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.errors import InvalidParams, PodsError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pods(parser, options.ENDED, optional=True)
    parser.add_argument("--all-ended", action="store_true", help="every pod that has ended")
    parser.add_argument("--force", action="store_true", help="stop those that run first")
    options.add_json(parser, "{removed: [...], errors: [...]}")


def run(args: argparse.Namespace) -> int:
    """Remove them.

    Raises:
        PodsError: nothing could be asked at all.
    """
    names: list[str] = list(args.pods)
    if args.all_ended:
        pods = list_pods(args.supervisor, ended=True)["pods"]
        names += [pod["id"] for pod in pods if pod["ended"] and pod["name"] not in names]
    elif not names:
        raise InvalidParams("cannot remove nothing: name the pods, or say --all-ended", path="pods")
    outcomes: list[Json | PodsError] = []
    if names:
        with open_for(names[0], args.supervisor) as client:
            outcomes = _remove(client, names, force=args.force)
    removed = [outcome for outcome in outcomes if not isinstance(outcome, PodsError)]
    if not args.json:
        for answer in removed:
            render.say(f"{answer['pod']} removed")
        if not names:
            render.note("no pods have ended")
    return report_errors("removed", removed, outcomes, as_json=args.json)


def _remove(client: PlainClient, names: list[str], *, force: bool) -> list[Json | PodsError]:
    """Remove each; with `force`, what refuses to be stopped is not removed and says why."""
    refused: dict[str, PodsError] = {}
    if force:
        stops = client.call_many(
            "stop",
            [{"pod": name} for name in names],
            timeout=3 * DEFAULT_GRACE_SECONDS + ANSWER_SECONDS,
        )
        refused = {
            name: outcome
            for name, outcome in zip(names, stops, strict=True)
            if isinstance(outcome, PodsError)
        }
    rest = [name for name in names if name not in refused]
    return [*refused.values(), *client.call_many("remove", [{"pod": name} for name in rest])]
