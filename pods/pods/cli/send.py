"""`pods send`: give a pod a message."""

from __future__ import annotations

import argparse
import sys

from pods.cli import options, render
from pods.cli.follow import open_for, open_pod
from pods.cli.turn_output import fate, wait_for_turn
from pods.client.plain import Json, PlainClient
from pods_protocol.errors import ExitCode, PodEnded, PodPaused


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pod(parser, options.LIVING)
    parser.add_argument("message", metavar="MESSAGE", help="`-` reads it from standard input")
    parser.add_argument(
        "--if-busy",
        choices=("fail", "queue", "interrupt"),
        default="fail",
        help="what to do while a turn runs (default: fail)",
    )
    parser.add_argument(
        "--wait", action="store_true", help="print the turn's output and exit by its outcome"
    )
    parser.add_argument(
        "--message-id",
        metavar="ID",
        help="sent again under the same id, it has one effect and the same answer",
    )
    options.add_timeout(parser, "with --wait: exit 3 after this; the pod goes on")
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Send, then perhaps wait.

    Raises:
        AlreadyRunning: busy, and `--if-busy` is `fail`.
        PodsError: unknown pod, ended, queue full, too large.
    """
    options.check_wait(args)
    text = sys.stdin.read() if args.message == "-" else args.message
    asked: Json = {"input": text, "if_busy": args.if_busy}
    if args.message_id is not None:
        asked["message_id"] = args.message_id
    with open_for(args.pod, args.supervisor) as client:
        try:
            pod = open_pod(client, args.pod)
        except (PodEnded, PodPaused) as error:
            if isinstance(error, PodEnded) and args.message_id is None:
                raise
            return _send_by_supervisor(client, args, asked)
        with pod:
            name = pod.hello["name"]
            since = int(pod.call("status", {})["last_seq"]) if args.wait else 0
            message = pod.call("run", asked)
            if args.wait:
                return wait_for_turn(
                    client,
                    pod,
                    name,
                    message,
                    since=since,
                    timeout=args.timeout,
                    as_json=args.json,
                    supervisor=args.supervisor,
                )
            return _say(name, message, args)


def _send_by_supervisor(client: PlainClient, args: argparse.Namespace, asked: Json) -> int:
    """To a pod that does not answer itself: it may queue, or has taken this message before."""
    message = client.call("send", {"pod": args.pod, **asked})
    if args.wait:
        render.note(f"{args.pod} does not run now, so its turn is not waited for")
    return _say(args.pod, message, args)


def _say(name: str, message: Json, args: argparse.Namespace) -> int:
    if args.json:
        render.say_json(message)
    else:
        render.say(fate(name, message, args.supervisor))
    return ExitCode.OK
