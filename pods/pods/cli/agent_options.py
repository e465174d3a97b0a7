"""What `pods spawn` says to the agent itself: its options, and the key of one that asks a model.

Owns `--option`, `--jsonl`, `--model`, `--api`, `--base-url`, `--key-file` and `--key-fd`. A key is
read here, where its file may be read, and goes to the pod as a secret of its `env`: it is in no
argument, no option, no journal and no environment. Used by `spawn`.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Final

from pods.cli import options
from pods.client.plain import Json
from pods_protocol.bounds import SECRET_PREFIX
from pods_protocol.errors import InvalidParams

MODEL: Final = "model"
MODEL_OPTIONS: Final = ("model", "api", "base_url")

ASK_NO_MODEL: Final = ("shell", "command", "echo")
"""Agents of ours that have none of these; one of somebody else's may have them all."""

KEY_VARIABLE: Final = f"{SECRET_PREFIX}MODEL_KEY"
"""As `pods.agents.model.settings` wants it; that is not imported for a name."""

MAX_KEY_BYTES: Final = 64 * 1024
"""Keys are lines; some are signed documents."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_option,
        help="an option of its agent; the value is JSON, or a text where it is none",
    )
    parser.add_argument(
        "--jsonl",
        action="store_true",
        help="of --agent command: what it writes is JSON lines, which become events",
    )
    parser.add_argument(
        "--model", metavar="NAME", help="the model to ask; without --agent, implies --agent model"
    )
    parser.add_argument(
        "--api", choices=("anthropic", "openai"), help="what the model's endpoint speaks"
    )
    parser.add_argument("--base-url", metavar="URL", help="where the model's endpoint is")
    options.complete(
        parser.add_argument(
            "--key-file",
            metavar="FILE",
            dest="model_key",
            type=_read_file,
            help="a file with the endpoint's key; only the agent itself gets it",
        ),
        options.FILES,
    )
    parser.add_argument(
        "--key-fd",
        metavar="NUMBER",
        dest="model_key",
        type=_read_descriptor,
        help="the same from an open descriptor",
    )


def implied(args: argparse.Namespace) -> str | None:
    """The agent where none is named."""
    return MODEL if args.model is not None and args.argv is None else None


def settings(agent: str, args: argparse.Namespace) -> Json:
    """The options that were given.

    Raises:
        InvalidParams: one that the agent has not.
    """
    if args.jsonl and agent != "command":
        raise InvalidParams(
            f"cannot read JSON lines of the agent {agent}: --jsonl is for --agent command; leave "
            "it out",
            path="options.jsonl",
        )
    named = {name: getattr(args, name) for name in MODEL_OPTIONS}
    words = [f"--{name.replace('_', '-')}" for name in MODEL_OPTIONS if named[name] is not None]
    if args.model_key is not None:
        words.append("--key-file or --key-fd")
    if words and agent in ASK_NO_MODEL:
        raise InvalidParams(
            f"cannot use {', '.join(words)} with the agent {agent}: it asks no model; add "
            "`--agent model` and `--model NAME`, or leave them out",
            path="options",
        )
    return {
        **({"jsonl": True} if args.jsonl else {}),
        **{name: value for name, value in named.items() if value is not None},
        **dict(args.option),
    }


def secrets(args: argparse.Namespace) -> dict[str, str]:
    """What is for the agent alone."""
    return {} if args.model_key is None else {KEY_VARIABLE: args.model_key}


def _option(word: str) -> tuple[str, object]:
    name, given, value = word.partition("=")
    if not name or not given:
        raise argparse.ArgumentTypeError(f"{word!r} is no option: write NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _read_file(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return _key(path, file.read(MAX_KEY_BYTES + 1))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no path"
        raise argparse.ArgumentTypeError(f"{path} cannot be read: {why}") from None


def _read_descriptor(word: str) -> str:
    if not word.isascii() or not word.isdigit():
        raise argparse.ArgumentTypeError(f"{word!r} is no descriptor: give its number")
    try:
        with open(os.dup(int(word)), "rb") as file:
            return _key(f"descriptor {word}", file.read(MAX_KEY_BYTES + 1))
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else "there is no such"
        raise argparse.ArgumentTypeError(f"descriptor {word} cannot be read: {why}") from None


def _key(where: str, content: bytes) -> str:
    """The key; what was read is never shown."""
    try:
        key = content.decode("ascii").strip()
    except UnicodeDecodeError:
        key = ""
    if not key or len(content) > MAX_KEY_BYTES or any(map(str.isspace, key)):
        raise argparse.ArgumentTypeError(f"{where} holds no key: one word of ASCII, and no more")
    return key
