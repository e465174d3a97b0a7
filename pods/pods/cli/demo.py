"""`pods demo`: see it work; the demo reads its own words."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Say where the arguments are explained."""
    parser.epilog = "`pods demo --help` tells more."


def run(args: argparse.Namespace) -> int:
    """Hand over; the demo runs a supervisor of its own.

    Raises:
        PlatformUnsupported: no Unix sockets here.
    """
    from pods.rpc.unix import require_unix_sockets

    require_unix_sockets()  # trio cannot even be imported without them
    from pods.demo.endings import heard_endings

    with heard_endings() as endings:
        from pods.demo.main import main

        return main(args.words, endings)
