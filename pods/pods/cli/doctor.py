"""`pods doctor`: what runs, who enforces scopes, what is wrong and what to do about it."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.client.open import NoSupervisor, open_plain
from pods.client.plain import Json
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_json(parser, "{supervisor, pods, scopes, enforcement, problems}")


def run(args: argparse.Namespace) -> int:
    """Look, start nothing; exit 1 if there are problems.

    Raises:
        PodsError: a supervisor is there and refuses.
    """
    try:
        client = open_plain(args.supervisor, when_absent="fail")
    except NoSupervisor:
        answer: Json = {
            "supervisor": None,
            "pods": {},
            "scopes": 0,
            "enforcement": None,
            "problems": [],
        }
    else:
        with client:
            answer = client.call("doctor", {})
    if args.json:
        render.say_json(answer)
    else:
        _print(answer)
    return ExitCode.FAILED if answer["problems"] else ExitCode.OK


def _print(answer: Json) -> None:
    supervisor = answer["supervisor"]
    if supervisor is None:
        render.say("supervisor   none runs; `pods spawn` or `pods up` starts one")
        return
    counts = ", ".join(f"{number} {state}" for state, number in sorted(answer["pods"].items()))
    enforcement = answer["enforcement"]
    render.say(
        f"supervisor   {supervisor['name']}, pid {supervisor['pid']}, version "
        f"{supervisor['version']}"
    )
    render.say(f"socket       {supervisor['socket']}")
    render.say(f"runtime      {supervisor['runtime_directory']}")
    render.say(f"state        {supervisor['state_directory']}")
    render.say(f"pods         {counts or 'none'}")
    render.say(f"scopes       {answer['scopes']} held")
    render.say(f"enforcement  {enforcement['summary'] or enforcement['backend']}")
    for gap in enforcement["gaps"]:
        render.say(f"             not enforced: {gap}")
    if enforcement["reason"]:
        render.say(f"             because {enforcement['reason']}")
    if not answer["problems"]:
        render.say("problems     none")
    for problem in answer["problems"]:
        render.say(f"problem      {problem['message']}")
        render.say(f"             {problem['remedy']}")
