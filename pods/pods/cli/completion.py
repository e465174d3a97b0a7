"""`pods completion`: a completion script made from the parser itself.

Pod names are completed by asking `pods ls`, so they are as fresh as the list.
"""

from __future__ import annotations

import argparse
from typing import Final

from pods.agents.kinds import BUILT_IN
from pods.cli import options, render
from pods_protocol.errors import ExitCode

SHELLS: Final = ("bash", "zsh", "tcsh", "fish")

_ALL: Final = "pods ls -qa 2>/dev/null"
_LIVING: Final = "pods ls -q 2>/dev/null"

_WORDS: Final = {
    "_pods_names": f"$({_ALL})",
    "_pods_living": f"$({_LIVING})",
    "_pods_ended": f"$({_ALL} | grep -vxFf <({_LIVING}))",
    "_pods_agents": " ".join(BUILT_IN),
}
"""Function -> what it offers, as a shell finds it."""

PREAMBLE: Final = {
    "bash": "\n".join(
        f'{name}() {{ compgen -W "{words}" -- "$1"; }}' for name, words in _WORDS.items()
    ),
    "zsh": "\n".join(f"{name}() {{ compadd -- {words}; }}" for name, words in _WORDS.items()),
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
