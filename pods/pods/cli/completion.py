"""`pods completion`: a completion script made from the parser itself.

Pod names are completed by asking `pods ls`, so they are as fresh as the list.
"""

from __future__ import annotations

import argparse
from typing import Final

from pods.cli import options, render
from pods_protocol.errors import ExitCode

SHELLS: Final = ("bash", "zsh", "tcsh", "fish")

PREAMBLE: Final = {
    "bash": '_pods_names() { compgen -W "$(pods ls -qa 2>/dev/null)" -- "$1"; }',
    "zsh": '_pods_names() { compadd -- ${(f)"$(pods ls -qa 2>/dev/null)"}; }',
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="for example: pods completion bash")
    options.add_json(parser, "{shell, script}")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from pods.cli.parser import VERBS, build_parser

    script = shtab.complete(
        build_parser(VERBS), shell=args.shell, preamble=PREAMBLE.get(args.shell, "")
    )
    if args.json:
        render.say_json({"shell": args.shell, "script": script})
    else:
        render.say(script)
    return ExitCode.OK
