"""`pods inspect`: everything known of one pod."""

from __future__ import annotations

import argparse
import json
import time
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
    facts["limits"] = facts.pop("held_limits", [])
    facts["questions"] = facts.pop("open_questions", [])
    width = max(map(len, facts))
    of_many = {
        name: facts.pop(name, [])
        for name in ("limits", "questions", "queue", "notes", "undelivered", "lent", "enforcement")
    }
    for name, value in facts.items():
        render.say(f"{name.ljust(width)}  {_value(value)}".rstrip())
    for name, value in of_many.items():
        if name == "enforcement":
            lines = _enforcement(value)
        else:
            show = {"limits": _limit, "lent": _lent, "questions": _question}.get(name, _message)
            lines = [show(one) for one in value]
        for line in lines or ["-"]:
            render.say(f"{name.ljust(width)}  {line}")
            name = ""
    return ExitCode.OK


def _limit(held: dict[str, Any]) -> str:
    """One limit and who sees to it."""
    return render.clean(f"{held['name']} {held['value']:.17g} ({held['by']}): {held['how']}")


def _question(question: dict[str, Any]) -> str:
    """What it asks: the id, the words, the answers that are taken, what holds if none comes."""
    options = f" ({', '.join(question['options'])})" if question["options"] else ""
    if (deadline := question.get("deadline")) is not None:
        default = question["default"]
        end = "the turn fails" if default is None else f"the answer is {default}"
        options += f"; in {render.age(max(0.0, deadline - time.time()))} {end}"
    return render.clean(f"{question['question_id']}: {question['prompt']}{options}")


def _lent(lent: dict[str, Any]) -> str:
    """What a child has of the pod's scope."""
    rules = ", ".join(render.rule(rule) for rule in lent["rules"])
    return render.clean(f"{rules} to {lent['pod']}: closed to the programs of its turns")


def _message(message: dict[str, Any]) -> str:
    """A message that waits or was not delivered: its id, whose it is, when, what it says."""
    place = f"{message['position']}. " if message.get("position") else ""
    sender = f" from {message['sender']}" if message["sender"] else ""
    since = f", {render.age(time.time() - message['accepted'])} ago" if message["accepted"] else ""
    return render.clean(f"{place}{message['message_id']}{sender}{since}: {message['input']!r}")


def _value(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, str):
        return render.clean(value)
    return json.dumps(value, ensure_ascii=False)


def _word(value: str | bool) -> str:
    return value if isinstance(value, str) else "yes" if value else "no"


def _enforcement(record: dict[str, Any]) -> list[str]:
    """What holds the pod and what does not, a line each."""
    words = ("files", "signals", "syscalls", "unix_sockets", "network", "pty", "kill")
    lines = [
        record["summary"] or record["backend"],
        ", ".join(f"{word}: {_word(record[word])}" for word in words if word in record),
    ]
    lines += (
        f"rule: {rule['got']}" if rule["exact"] else f"asked: {rule['asked']}; got: {rule['got']}"
        for rule in record.get("rules", ())
    )
    lines += (f"besides: {words}" for words in record.get("besides", ()))
    lines += (f"warning: {warning}" for warning in record.get("warnings", ()))
    lines += (f"not enforced: {gap}" for gap in record["gaps"])
    if record["reason"]:
        lines.append(f"because {record['reason']}")
    return [render.clean(line) for line in lines if line]
