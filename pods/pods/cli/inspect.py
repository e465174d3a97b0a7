"""`pods inspect`: everything known of one pod."""

from __future__ import annotations

import argparse
import json
from typing import Any

from pods.cli import options, render
from pods.cli.follow import open_for
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pod(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and show.

    Raises:
        PodsError: unknown pod.
    """
    with open_for(args.pod, args.supervisor) as client:
        answer = client.call("inspect", {"pod": args.pod})
    if args.json:
        render.say_json(answer)
        return ExitCode.OK
    facts: dict[str, Any] = {**answer["pod"], **{k: v for k, v in answer.items() if k != "pod"}}
    enforcement = facts.pop("enforcement")
    width = max(map(len, facts))
    for name, value in facts.items():
        render.say(f"{name.ljust(width)}  {_value(value)}".rstrip())
    name = "enforcement"
    for line in _enforcement(enforcement):
        render.say(f"{name.ljust(width)}  {line}")
        name = ""
    return ExitCode.OK


def _value(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, str):
        return render.clean(value)
    return json.dumps(value, ensure_ascii=False)


def _enforcement(record: dict[str, Any]) -> list[str]:
    """What holds the pod and what does not, a line each."""
    words = ("files", "signals", "syscalls", "unix_sockets", "network", "kill")
    lines = [
        record["summary"] or record["backend"],
        ", ".join(f"{word}: {record[word]}" for word in words if word in record),
    ]
    lines += (
        f"rule: {rule['got']}" if rule["exact"] else f"asked: {rule['asked']}; got: {rule['got']}"
        for rule in record.get("rules", ())
    )
    lines += (f"warning: {warning}" for warning in record.get("warnings", ()))
    lines += (f"not enforced: {gap}" for gap in record["gaps"])
    if record["reason"]:
        lines.append(f"because {record['reason']}")
    return [render.clean(line) for line in lines if line]
