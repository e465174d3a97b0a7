"""`pods tree`: every pod below its parent."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.cli.listing import list_pods
from pods.client.plain import Json
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="also pods that have ended")
    options.add_json(parser, "the pods as `ls --json` does; `parent_id` says whose they are")


def run(args: argparse.Namespace) -> int:
    """Draw the tree.

    Raises:
        PodsError: as the supervisor refuses it.
    """
    answer = list_pods(args.supervisor, ended=args.all)
    if args.json:
        render.say_json(answer)
    elif not answer["pods"]:
        render.note(
            f"no pods run; `{render.command(args.supervisor)} tree -a` shows those that have ended"
        )
    else:
        for line in tree_lines(answer["pods"], colour=render.coloured()):
            render.say(line)
    return ExitCode.OK


def tree_lines(pods: list[Json], *, colour: bool = False) -> list[str]:
    """The lines of the tree; a pod whose parent is not among them stands at the left edge."""
    known = {pod["id"] for pod in pods}
    below: dict[str | None, list[Json]] = {}
    for pod in pods:
        parent = pod["parent_id"]
        below.setdefault(parent if parent in known else None, []).append(pod)
    lines: list[str] = []
    todo = [(pod, "", "") for pod in reversed(below.get(None, []))]
    while todo:
        pod, first, rest = todo.pop()
        lines.append(first + _label(pod, colour=colour))
        children = below.get(pod["id"], [])
        for child in reversed(children):
            last = child is children[-1]
            todo.append(
                (child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
            )
    return lines


def _label(pod: Json, *, colour: bool) -> str:
    state = str(pod["state"])
    painted = render.paint(state, render.STATE_COLOURS.get(state, "dim"), on=colour)
    writes = [
        render.clean(rule["target"])
        for rule in pod["scope"]["allow"]
        if rule["permission"] == "write"
    ]
    return f"{render.clean(pod['name'])}  {painted}  {' '.join(writes)}".rstrip()
