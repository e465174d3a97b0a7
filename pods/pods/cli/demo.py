"""`pods demo`: see it work; the demo reads its own words."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Say where the arguments are explained."""
    parser.epilog = "`pods demo --help` tells more."


def run(args: argparse.Namespace) -> int:
    """Hand over."""
    from pods.demo import main

    words: list[str] = args.words
    if args.supervisor is not None:
        words = ["--supervisor", args.supervisor, *words]
    return int(main(words))
