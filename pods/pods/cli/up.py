"""`pods up`: become the supervisor, in the foreground."""

from __future__ import annotations

import argparse
import os
import sys

from pods.cli import render
from pods.client.address import DEFAULT_SUPERVISOR, SUPERVISOR_VARIABLE
from pods_protocol.errors import StartFailed


def configure(_parser: argparse.ArgumentParser) -> None:
    """The verb has no arguments of its own."""


def run(args: argparse.Namespace) -> int:
    """Replace this process by the supervisor: one way to run it, whoever starts it.

    Raises:
        PlatformUnsupported: no Unix sockets here.
        StartFailed: one answers already.
    """
    from pods.client.start import answers, supervisor_argv
    from pods.paths import check_name, places_from
    from pods.rpc.unix import require_unix_sockets

    require_unix_sockets()

    name = args.supervisor or os.environ.get(SUPERVISOR_VARIABLE) or DEFAULT_SUPERVISOR
    command = supervisor_argv(check_name(name, "supervisor"))
    places = places_from(os.environ, os.geteuid()).supervisor(name)
    pods = render.command(args.supervisor)
    if answers(places.socket):  # its lock would be waited for, in case it ends just now
        raise StartFailed(
            f"cannot start the supervisor {name}: it runs already; `{pods} ls` asks it, "
            f"`{pods} down` ends it",
            step="lock",
            detail=places.life_lock,
        )
    render.note(
        f"the supervisor {name} starts here; it ends at Ctrl-C, at `{pods} down`, or soon after "
        "its last pod and client"
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
