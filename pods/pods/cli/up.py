"""`pods up`: become the supervisor, in the foreground."""

from __future__ import annotations

import argparse
import os
import sys

from pods.client.address import DEFAULT_SUPERVISOR, SUPERVISOR_VARIABLE


def configure(_parser: argparse.ArgumentParser) -> None:
    """The verb has no arguments of its own."""


def run(args: argparse.Namespace) -> int:
    """Replace this process by the supervisor: one way to run it, whoever starts it.

    Raises:
        PlatformUnsupported: no Unix sockets here.
    """
    from pods.client.start import supervisor_argv
    from pods.paths import check_name
    from pods.rpc.unix import require_unix_sockets

    require_unix_sockets()

    name = args.supervisor or os.environ.get(SUPERVISOR_VARIABLE) or DEFAULT_SUPERVISOR
    command = supervisor_argv(check_name(name, "supervisor"))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
