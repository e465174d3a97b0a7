"""`pods stop`: end pods with all their processes, and free what they hold."""

from __future__ import annotations

import argparse
import time
from functools import partial

from pods.cli import options, render
from pods.cli.again import ask_again, new_message_id
from pods.cli.batch import report_errors
from pods.cli.follow import open_for
from pods.cli.listing import list_pods
from pods.client.breaks import Breaks
from pods.client.plain import ANSWER_SECONDS, Json
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS, MAX_WAIT_SECONDS
from pods_protocol.errors import InvalidParams, PodsError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pods(parser, options.LIVING, optional=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--finish", action="store_true", help="after the running turn")
    how.add_argument("--kill", action="store_true", help="without a farewell")
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        type=options.grace,
        default=DEFAULT_GRACE_SECONDS,
        help="between asking, SIGTERM and SIGKILL (default: %(default)g)",
    )
    parser.add_argument("--all", action="store_true", help="every pod of yours that runs")
    options.add_json(parser, "{stopped: [...], errors: [...]}")


def run(args: argparse.Namespace) -> int:
    """Stop them, all at once.

    Raises:
        PodsError: nothing could be asked at all.
    """
    names: list[str] = args.pods
    if args.all:
        names = [pod["name"] for pod in list_pods(args.supervisor, ended=False)["pods"]]
    elif not names:
        raise InvalidParams("cannot stop nothing: name the pods, or say --all", path="pods")
    mode = "finish" if args.finish else "kill" if args.kill else "now"
    outcomes: list[Json | PodsError] = []
    if names:
        # `finish` takes as long as a turn does.
        patience = MAX_WAIT_SECONDS if args.finish else 3 * args.grace + ANSWER_SECONDS
        how: Json = {"mode": mode, "grace_seconds": args.grace}
        batch = [{"pod": name, **how, "message_id": new_message_id()} for name in names]
        until = time.monotonic() + patience  # of all attempts together
        outcomes = ask_again(
            partial(open_for, names[0], args.supervisor),
            lambda client: client.call_many(
                "stop", batch, timeout=max(0.0, until - time.monotonic())
            ),
            breaks=Breaks(until=until),
        )
    stopped = [outcome for outcome in outcomes if not isinstance(outcome, PodsError)]
    if not args.json:
        for answer in stopped:
            render.say(_line(answer))
        if not names:
            render.note("no pods run")
    return report_errors("stopped", stopped, outcomes, as_json=args.json)


def _line(answer: Json) -> str:
    if answer["step"] == "already_ended":
        return f"{answer['pod']} had ended ({answer['previous_state']})"
    text = f"{answer['pod']} stopped ({answer['step']}, {answer['seconds']:.1f} s)"
    if answer["stopped_descendants"]:
        text += f", with {', '.join(answer['stopped_descendants'])}"
    if answer["released"]:
        text += f"; free again: {', '.join(map(render.rule, answer['released']))}"
    return text
