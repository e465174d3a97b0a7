"""`pods demo`: see it work; the demo reads its own words."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Say where the arguments are explained."""
    parser.epilog = "`pods demo --help` tells more."


def run(args: argparse.Namespace) -> int:
    """Hand over; the demo runs a supervisor of its own."""
    from pods.demo import main

    return main(args.words)
