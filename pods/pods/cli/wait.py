"""`pods wait`: wait until pods are idle, have ended, or ask."""

from __future__ import annotations

import argparse
import math
import time
from functools import partial

from pods.cli import options, render
from pods.cli.again import ask_again
from pods.cli.follow import open_for
from pods.client.breaks import Breaks
from pods.client.plain import ANSWER_SECONDS, Json, PlainClient
from pods_protocol.bounds import MAX_WAIT_SECONDS
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pods(parser)
    options.add_timeout(parser, "exit 3 after this (default: wait for ever)")
    parser.add_argument("--any", action="store_true", help="one of them is enough")
    parser.add_argument(
        "--until",
        choices=("idle", "ended", "question"),
        default="idle",
        help="for what (default: idle); a pod that has ended is no longer waited for",
    )
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Wait.

    Raises:
        PodsError: unknown pod.
    """
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    until = math.inf if deadline is None else deadline + ANSWER_SECONDS
    try:
        answer = ask_again(
            partial(open_for, args.pods[0], args.supervisor),
            lambda client: _wait(client, args, deadline),
            breaks=Breaks(until=until),
        )
    except KeyboardInterrupt:
        verb = "goes" if len(args.pods) == 1 else "go"
        render.note(f"no longer waiting; {', '.join(args.pods)} {verb} on")
        return ExitCode.INTERRUPTED
    if args.json:
        render.say_json(answer)
    else:
        for outcome in answer["ready"]:
            render.say(_line(outcome))
        if answer["timed_out"]:
            late = ", ".join(f"{pod['pod']} ({pod['state']})" for pod in answer["pending"])
            render.note(f"not {args.until} after {args.timeout:g} s: {late}; they go on")
    return ExitCode.TIMED_OUT if answer["timed_out"] else ExitCode.OK


def _wait(client: PlainClient, args: argparse.Namespace, deadline: float | None) -> Json:
    """One wait however long: the wire's waits are bounded, so it may take several."""
    while True:
        left = MAX_WAIT_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
        answer = client.call(
            "wait",
            {
                "pods": args.pods,
                "mode": "any" if args.any else "all",
                "until": args.until,
                "timeout_seconds": min(left, MAX_WAIT_SECONDS),
            },
            timeout=min(left, MAX_WAIT_SECONDS) + ANSWER_SECONDS,
        )
        over = deadline is not None and time.monotonic() >= deadline
        if not answer["timed_out"] or over:
            return answer


def _line(outcome: Json) -> str:
    last = outcome["last_turn"]
    if last is None:
        return f"{outcome['pod']} {outcome['state']}"
    return f"{outcome['pod']} {outcome['state']}, turn {last['turn']}: {render.outcome(last)}"
