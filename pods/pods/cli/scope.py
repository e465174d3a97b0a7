"""`pods scope show` and `pods scope check`: who holds what, and what would be granted."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.cli.follow import open_for
from pods.client.open import NoSupervisor, open_plain
from pods.client.plain import Json
from pods_protocol.errors import ERROR_CLASSES, ExitCode, InvalidParams


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    verbs = parser.add_subparsers(dest="scope_verb", metavar="show|check", required=True)
    show = verbs.add_parser(
        "show",
        help="who holds what",
        description="Who holds what.",
        formatter_class=options.HelpFormatter,
    )
    action = show.add_argument(
        "pod", metavar="POD", nargs="?", type=options.pod_name, help="this pod alone"
    )
    options.complete(action, options.POD_NAMES)
    options.add_json(show)
    check = verbs.add_parser(
        "check",
        help="would these paths be granted now",
        description="Whether a spawn with these paths would be granted now; changes nothing.",
        formatter_class=options.HelpFormatter,
    )
    options.add_scope(check)
    options.add_json(check)


def run(args: argparse.Namespace) -> int:
    """Show or check.

    Raises:
        PodsError: as the supervisor refuses it.
    """
    return _show(args) if args.scope_verb == "show" else _check(args)


def _show(args: argparse.Namespace) -> int:
    holders: list[Json] = []
    try:
        client = open_for(args.pod, args.supervisor) if args.pod else open_plain(args.supervisor)
        with client:
            holders = client.call("scope.show", {"pod": args.pod})["holders"]
    except NoSupervisor:
        pass  # nobody holds anything
    if args.json:
        render.say_json({"holders": holders})
    elif not holders:
        render.note("nobody holds anything")
    for holder in [] if args.json else holders:
        pending = " (pending)" if holder["pending"] else ""
        render.say(f"{holder['pod']}{pending}")
        for title, rules in (
            ("", holder["grant"]["allow"]),
            ("not ", holder["grant"]["deny"]),
            ("lent: ", holder["lent"]),
        ):
            for rule in rules:
                render.say(f"  {title}{render.rule(rule)}")
    return ExitCode.OK


def _check(args: argparse.Namespace) -> int:
    if not args.allow:
        raise InvalidParams("cannot check nothing: name paths with --write or --read", path="allow")
    with open_plain(args.supervisor, when_absent="start") as client:
        answer = client.call("scope.check", {"allow": args.allow})
    if args.json:
        render.say_json(answer)
    elif answer["granted"]:
        for rule in answer["normalised"]:
            render.say(f"free: {render.rule(rule)}")
    else:
        render.note(answer["message"])
    if answer["granted"]:
        return ExitCode.OK
    kind = ERROR_CLASSES.get(answer["code"] or "")
    return ExitCode.REFUSED if kind is None else kind.EXIT_CODE
