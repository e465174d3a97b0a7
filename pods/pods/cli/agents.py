"""`pods agents`: the vendors' agents that pods know, which are installed, what is missing.

Looks at this shell's PATH and home: a supervisor that was started from another one may see others.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from pods.agents.acp.program import find
from pods.agents.acp.table import KNOWN, KnownAgent
from pods.cli import options, render
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_json(parser, "all that is known of each")


def run(args: argparse.Namespace) -> int:
    """Look and list."""
    rows = [_look(name, known) for name, known in KNOWN.items()]
    if args.json:
        render.say_json({"agents": rows})
        return ExitCode.OK
    headers = ("AGENT", "WHAT", "PROGRAM", "LOGIN")
    table = [
        (row["agent"], row["title"], render.cell(row["path"]), render.cell(_login(row)))
        for row in rows
    ]
    render.say(render.table(headers, table))
    for row in rows:
        if row["path"] is None:
            render.say(f"{row['agent']}: not installed; {row['install']}")
        elif not row["logins_found"] and not row["keys_set"]:
            render.say(f"{row['agent']}: no login found; {row['login']}")
        if row["path"] is not None:
            for quirk in row["quirks"]:
                render.say(f"{row['agent']}: {quirk}")
    render.say("any other agent that speaks ACP: pods spawn NAME --agent 'acp: COMMAND ...'")
    return ExitCode.OK


def _look(name: str, known: KnownAgent) -> dict[str, Any]:
    """One agent as it is here."""
    home = os.environ.get("HOME") or "/"
    return {
        "agent": name,
        "title": known.title,
        "command": list(known.command),
        "path": find(known.command[0], os.environ.get("PATH", "")),
        "install": known.install,
        "login": known.login,
        "logins": list(known.logins),
        "logins_found": [path for path in known.logins if os.path.isfile(f"{home}/{path}")],
        "keys": list(known.keys),
        "keys_set": [key for key in known.keys if os.environ.get(key)],
        "environment": dict(known.environment),
        "quirks": list(known.quirks),
    }


def _login(row: dict[str, Any]) -> str:
    """What stands for a login: a file that is copied, or a variable to be given."""
    if row["logins_found"]:
        return f"~/{row['logins_found'][0]}"
    return " ".join(f"--env {key}" for key in row["keys_set"])
