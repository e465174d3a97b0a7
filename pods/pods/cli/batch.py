"""The end of a verb that did the same to several pods.

Owns how partial failure is told: what worked on standard output, what did not on standard error,
the exit code of the first failure. Used by `stop` and `rm`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pods.cli import render
from pods.client.plain import Json
from pods_protocol.errors import ExitCode, PodsError, error_to_wire


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
