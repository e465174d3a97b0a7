"""A verb that does the same to several pods.

Owns how partial failure is told: what worked on standard output, what did not on standard error,
the exit code of the first failure. Used by `stop`, `rm`, `pause` and `resume`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from pods.cli import render
from pods.cli.follow import open_for
from pods.client.plain import Json
from pods_protocol.errors import ExitCode, PodsError, error_to_wire


def ask_each(
    args: argparse.Namespace, method: str, done_field: str, line: Callable[[Json], str]
) -> int:
    """Ask the same of each of `args.pods`, tell what came of it, and return the exit code.

    Args:
        args: with `pods`, `supervisor` and `json`.
        method: the wire name; its one parameter is the pod.
        done_field: as in `report_errors`.
        line: what to say of an answer.

    Raises:
        PodsError: nothing could be asked at all.
    """
    with open_for(args.pods[0], args.supervisor) as client:
        outcomes = client.call_many(method, [{"pod": name} for name in args.pods])
    done = [outcome for outcome in outcomes if not isinstance(outcome, PodsError)]
    if not args.json:
        for answer in done:
            render.say(line(answer))
    return report_errors(done_field, done, outcomes, as_json=args.json)


def report_errors(
    done_field: str, done: Sequence[Json], outcomes: Sequence[Json | PodsError], *, as_json: bool
) -> int:
    """Tell what failed and return the exit code.

    Args:
        done_field: what to call the list of answers in the JSON document.
        done: the answers.
        outcomes: answers and refusals.
        as_json: print one document with both.
    """
    errors = [outcome for outcome in outcomes if isinstance(outcome, PodsError)]
    if as_json:
        render.say_json({done_field: list(done), "errors": [error_to_wire(e) for e in errors]})
    else:
        for error in errors:
            render.note(error.message)
    return errors[0].EXIT_CODE if errors else ExitCode.OK
