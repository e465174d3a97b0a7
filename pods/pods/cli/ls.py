"""`pods ls`: the pods, one a line."""

from __future__ import annotations

import argparse
import time

from pods.cli import options, render
from pods.cli.listing import list_pods
from pods.client.plain import Json
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = (
        "RSS is the resident memory of the pod's own process, without that of programs which it "
        "started. Most of an idle pod's is shared with all other pods, so the sum is more than "
        "what they take together."
    )
    parser.add_argument("-a", "--all", action="store_true", help="also pods that have ended")
    parser.add_argument("-q", "--quiet", action="store_true", help="names alone")
    options.add_json(parser, "all that is known of them")


def run(args: argparse.Namespace) -> int:
    """List.

    Raises:
        PodsError: as the supervisor refuses it.
    """
    answer = list_pods(args.supervisor, ended=args.all)
    if args.json:
        render.say_json(answer)
    elif args.quiet:
        for pod in answer["pods"]:
            render.say(pod["name"])
    elif answer["pods"]:
        _print_table(answer["pods"])
    else:
        pods = render.command(args.supervisor)
        render.note(
            f"no pods; `{pods} spawn NAME --write PATH --prompt TEXT` starts one"
            if args.all
            else f"no pods run; `{pods} ls -a` shows those that have ended"
        )
    return ExitCode.OK


def _print_table(pods: list[Json]) -> None:
    now = time.time()
    headers = ("NAME", "STATE", "TURN", "QUEUE", "UNREAD", "PARENT", "AGENT", "WRITE", "AGE", "RSS")
    rows = [
        (
            render.cell(pod["name"]),
            str(pod["state"]),
            _turn(pod),
            str(pod["queue_length"] or "-"),
            str(pod["unread"] or "-"),
            render.cell(pod["parent"]),
            render.cell(pod["agent"]),
            _writes(pod),
            render.age(now - pod["created"]),
            render.size(pod["memory_bytes"]),
        )
        for pod in pods
    ]
    columns = render.terminal_columns()
    render.say(render.table(headers, rows, state=1, fit=headers.index("WRITE"), columns=columns))
    unheld = [pod for pod in pods if pod["enforcement"]["backend"] == "none" and not pod["ended"]]
    if unheld:
        reason = unheld[0]["enforcement"]["reason"] or "the kernel cannot"
        render.note(f"{len(unheld)} of them: enforcement: none ({render.clean(reason)})")


def _turn(pod: Json) -> str:
    """The running turn, or how the last one ended."""
    if pod["turn"] is not None:
        return str(pod["turn"])
    last = pod["last_turn"]
    return "-" if last is None else f"{last['turn']} {last['stop_reason']}"


def _writes(pod: Json) -> str:
    targets = [rule["target"] for rule in pod["scope"]["allow"] if rule["permission"] == "write"]
    if len(targets) > 1:
        return render.cell(f"{targets[0]} +{len(targets) - 1}")
    return render.cell(targets[0] if targets else None)
