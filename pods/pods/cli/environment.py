"""`--env` and `--env-file`: variables for a pod's processes, from words and from files.

Owns the form of both. A file is read strictly: each line is `NAME=VALUE`, everything after the
first `=` as it stands; empty lines, and lines that begin with `#`, say nothing. No quotes are taken
off, nothing is expanded, and whatever else a line is, is an error with its number. What a file says
is never shown, because it is there to hold secrets. Used by `spawn` and `restore`.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from typing import Final

from pods.cli import options

MAX_FILE_BYTES: Final = 512 * 1024
"""A request's line takes 1 MiB, and some characters take more there than here."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

Variables = tuple[tuple[str, str], ...]


def add_environment(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add `--env` and `--env-file`; both may come often, and the last one that names it holds."""
    parser.add_argument(
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        type=_entry,
        help=help_text,
    )
    options.complete(
        parser.add_argument(
            "--env-file",
            metavar="FILE",
            dest="env",
            action="append",
            type=read_file,
            help="a file of such variables, NAME=VALUE a line, taken as it stands",
        ),
        options.FILES,
    )


def joined(entries: Iterable[Variables]) -> dict[str, str]:
    """All of them as one mapping; the last one that names a variable holds."""
    return {name: value for variables in entries for name, value in variables}


def _entry(word: str) -> Variables:
    """`NAME=VALUE`, or `NAME` for the value that it has here.

    Raises:
        argparse.ArgumentTypeError: no name, or no value.
    """
    name, given, value = word.partition("=")
    if not name:
        raise argparse.ArgumentTypeError("a variable needs a name: NAME=VALUE")
    if given:
        return ((name, value),)
    if name not in os.environ:
        raise argparse.ArgumentTypeError(f"{name} is not set here; write {name}=VALUE")
    return ((name, os.environ[name]),)


def read_file(path: str) -> Variables:
    """The variables of a file.

    Raises:
        argparse.ArgumentTypeError: it cannot be read, or a line is none; never with its content.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no path"
        raise argparse.ArgumentTypeError(f"{path} cannot be read: {why}") from None
    if len(content) > MAX_FILE_BYTES:
        raise argparse.ArgumentTypeError(f"{path} has more than {MAX_FILE_BYTES} bytes")
    found: dict[str, str] = {}
    for number, raw in enumerate(content.split(b"\n"), start=1):
        problem = _take_line(raw.removesuffix(b"\r"), found)
        if problem:
            raise argparse.ArgumentTypeError(f"{path}, line {number}: {problem}")
    return tuple(found.items())


def _take_line(raw: bytes, found: dict[str, str]) -> str:
    """Add what a line says; returns what is wrong with it, empty where nothing is."""
    if not raw.strip() or raw.lstrip().startswith(b"#"):
        return ""
    try:
        line = raw.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    name, given, value = line.partition("=")
    if not given:
        return "there is no `=`; write NAME=VALUE"
    if not _NAME.match(name):
        return "no name stands before the `=`: letters, digits and _, without spaces or `export`"
    if name in found:
        return f"{name} is there twice"
    if "\0" in value:
        return f"the value of {name} holds a zero byte"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return f"the value of {name} is in quotes, which would be a part of it; leave them out"
    found[name] = value
    return ""
