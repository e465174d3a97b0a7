"""`pods tools`: the tools that a parent agent may call, in the shape its world uses."""

from __future__ import annotations

import argparse
import json

from pods.cli import options, render
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--format",
        choices=("anthropic", "openai", "mcp"),
        default="mcp",
        help="whose shape (default: mcp)",
    )
    options.add_json(parser, "on one line (it is JSON anyway)")


def run(args: argparse.Namespace) -> int:
    """Print them."""
    from pods_tools.definitions import export

    definitions = export(args.format)
    if args.json:
        render.say_json(definitions)
    else:
        render.say(json.dumps(definitions, indent=2))
    return ExitCode.OK
