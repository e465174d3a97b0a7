"""`pods doctor`: what runs, who enforces scopes, what is wrong; what to do about it, or doing it.

Owns how the two looks become one answer: the user's directories as a whole (`checkup`, done here,
whether a supervisor runs or not), and what the supervisor says of itself. What is mended of a
living supervisor, it mends itself.
"""

from __future__ import annotations

import argparse
import os
from typing import Final

from pods.cli import options, render
from pods.client.address import find_address
from pods.client.open import NoSupervisor, open_plain, require_platform
from pods.client.plain import Json
from pods.paths import Places, SupervisorPlaces
from pods_protocol.errors import ExitCode, NotConnected, TimedOut

MEND_SECONDS: Final = 120.0
"""A supervisor that mends may end processes one after the other, seconds each."""

SILENT_SECONDS: Final = 2.0
"""For one that has been waited for already, and may be the one that is asked."""

TOLD_BY_SUPERVISOR: Final = frozenset({"dead_lease", "invalid_config", "unsafe_directory"})
"""What both looks see; the supervisor tells it in more words."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--fix", action="store_true", help="mend what can be mended without touching a living pod"
    )
    options.add_json(
        parser,
        "{supervisor, pods, scopes, enforcement, doors, settings, cgroup, no_cgroup, "
        "problems: [{code, message, fix, fixed}]}",
    )


def run(args: argparse.Namespace) -> int:
    """Look; exit 1 if problems remain. Starts nothing, but with `--fix` what has pods to settle.

    Raises:
        PodsError: a supervisor is there and refuses.
    """
    require_platform()
    places = find_address(os.environ, args.supervisor).places
    found = [] if places is None else _check_up(places.places, fix=args.fix)
    answer, lives = _ask(args, found)
    if args.json:
        render.say_json(answer)
    else:
        _print(answer, lives=lives)
    left = any(not problem["fixed"] for problem in answer["problems"])
    return ExitCode.FAILED if left else ExitCode.OK


def _check_up(places: Places, *, fix: bool) -> list[Json]:
    from pods.supervisor.checkup import Checkup  # brings half of pods; only this verb needs it
    from pods_protocol.codec import to_json

    return [to_json(problem) for problem in Checkup(places, fix, _start).run()]


def _start(places: SupervisorPlaces) -> None:
    from pods.client.start import start_supervisor

    start_supervisor(places, os.environ)


def _ask(args: argparse.Namespace, found: list[Json]) -> tuple[Json, bool]:
    """The supervisor's answer, with what was found beside it; and whether there is one at all."""
    silent = any(problem["code"] == "supervisor_silent" for problem in found)
    try:
        timeout = SILENT_SECONDS if silent else MEND_SECONDS
        with open_plain(args.supervisor, when_absent="fail", timeout=timeout) as client:
            answer = client.call("doctor", {"fix": True} if args.fix else {})
    except NoSupervisor:
        return _without_supervisor(found), False
    except (NotConnected, TimedOut) as error:
        if silent:
            return _without_supervisor(found), True
        raise error
    kept = [p for p in found if p["fixed"] or p["code"] not in TOLD_BY_SUPERVISOR]
    return {**answer, "problems": [*kept, *answer["problems"]]}, True


def _without_supervisor(problems: list[Json]) -> Json:
    return {
        "supervisor": None,
        "pods": {},
        "scopes": 0,
        "enforcement": None,
        "doors": {},
        "settings": None,
        "cgroup": "",
        "no_cgroup": "",
        "problems": problems,
    }


def _print(answer: Json, *, lives: bool) -> None:
    supervisor = answer["supervisor"]
    if supervisor is None and lives:
        render.say("supervisor   it lives and does not answer, so this is what can be seen without")
    elif supervisor is None:
        render.say("supervisor   none runs; `pods spawn` or `pods up` starts one")
    else:
        _print_supervisor(answer, supervisor)
    if not answer["problems"] and supervisor is not None:
        render.say("problems     none")
    for problem in answer["problems"]:
        render.say(f"{'mended' if problem['fixed'] else 'problem':<13}{problem['message']}")
        render.say(f"             {problem['fix']}")


def _print_supervisor(answer: Json, supervisor: Json) -> None:
    counts = ", ".join(f"{number} {state}" for state, number in sorted(answer["pods"].items()))
    enforcement = answer["enforcement"]
    render.say(
        f"supervisor   {supervisor['name']}, pid {supervisor['pid']}, version "
        f"{supervisor['version']}"
    )
    render.say(f"socket       {supervisor['socket']}")
    render.say(f"runtime      {supervisor['runtime_directory']}")
    render.say(f"state        {supervisor['state_directory']}")
    _print_settings(answer["settings"])
    render.say(f"pods         {counts or 'none'}")
    render.say(f"scopes       {answer['scopes']} held")
    render.say(f"enforcement  {enforcement['summary'] or enforcement['backend']}")
    for gap in enforcement["gaps"]:
        render.say(f"             not enforced: {gap}")
    if enforcement["reason"]:
        render.say(f"             because {enforcement['reason']}")
    for door, reason in answer["doors"].items():
        option = f"--{door.replace('_', '-').replace('=', ' ')}"
        render.say(f"             {option}: {reason and 'cannot be had: '}{reason or 'can be had'}")
    where, why = answer.get("cgroup"), answer.get("no_cgroup")
    if where or why:  # a supervisor of a version before says neither
        kept = f"kept by cgroups in {where}" if where else f"polled, since {why}"
        render.say(f"limits       memory and processes: {kept}")


def _print_settings(settings: Json) -> None:
    render.say(f"config       {settings['file']}")
    render.say(
        f"             depth {settings['max_depth']}, children {settings['max_children']}, total "
        f"{settings['max_pods']}, queue {settings['max_queue_length']}, wait "
        f"{settings['longest_wait_seconds']:g} s"
    )
    size, age = settings["journal_max_bytes"], settings["journal_max_age_seconds"]
    journal = [f"{size} bytes"] if size is not None else []
    journal += [f"{age:g} s"] if age is not None else []
    ended = settings["keep_ended_seconds"]
    render.say(
        f"             journals keep {' and '.join(journal) or 'everything'}; ended pods are kept "
        + ("until they are removed" if ended is None else f"{ended:g} s")
    )
