"""Arguments that several verbs share, and the checks at the door.

Owns how words become values: names, seconds, scope rules. A value that cannot be right is a usage
error here, before anything is asked of a supervisor. Used by the verb files.
"""

from __future__ import annotations

import argparse
import math
import os
from typing import Any, Final

from pods_protocol.bounds import MAX_GRACE_SECONDS
from pods_protocol.errors import InvalidParams

POD_NAMES: Final = {"bash": "_pods_names", "zsh": "_pods_names", "tcsh": "`pods ls -qa`"}
"""What completes a pod's name, for shtab: `completion.py` defines the functions."""

LIVING: Final = {"bash": "_pods_living", "zsh": "_pods_living", "tcsh": "`pods ls -q`"}
"""What completes the name of a pod that has not ended."""

ENDED: Final = {"bash": "_pods_ended", "zsh": "_pods_ended", "tcsh": "`pods ls -qa`"}
"""What completes the name of a pod that has ended; tcsh takes one command, which knows all."""

AGENT_KINDS: Final = {"bash": "_pods_agents", "zsh": "_pods_agents", "tcsh": "f"}
"""What completes `--agent`: the kinds that are always there."""

FILES: Final = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class HelpFormatter(argparse.HelpFormatter):
    """argparse's, with a width found without `shutil`.

    argparse makes a formatter for every argument that is added, help or not, and its own asks
    `shutil` for the width: five milliseconds of compression libraries before `pods ls` begins.
    """

    def __init__(self, prog: str) -> None:
        try:
            width = int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns)
        except (OSError, ValueError):
            width = 80
        super().__init__(prog, width=max(40, width - 2))


def add_pod(parser: argparse.ArgumentParser, names: dict[str, str] = POD_NAMES) -> None:
    """One pod; `names` is what completes it."""
    action = parser.add_argument(
        "pod", metavar="POD", type=pod_name, help="name, or the beginning of its id"
    )
    complete(action, names)


def add_pods(
    parser: argparse.ArgumentParser,
    names: dict[str, str] = POD_NAMES,
    *,
    optional: bool = False,
) -> None:
    """Several pods; `names` is what completes them."""
    action = parser.add_argument(
        "pods",
        metavar="POD",
        nargs="*" if optional else "+",
        type=pod_name,
        help="names, or the beginnings of ids",
    )
    complete(action, names)


def add_json(parser: argparse.ArgumentParser, what: str = "the answer as it came") -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help=f"print {what}, as JSON")


def add_timeout(parser: argparse.ArgumentParser, help_text: str) -> None:
    """`--timeout`."""
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, help=help_text)


def check_wait(args: argparse.Namespace) -> None:
    """`--timeout` bounds a wait alone.

    Raises:
        InvalidParams: it is given without `--wait`.
    """
    if args.timeout is not None and not args.wait:
        raise InvalidParams(
            "cannot end what is not waited for: --timeout is for --wait; add --wait, or bound the "
            "turn itself: `pods spawn --turn-timeout SECONDS`",
            path="timeout",
        )


def complete(action: argparse.Action, how: dict[str, str]) -> None:
    """Tell shtab what completes this argument."""
    action.complete = how  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # shtab's way


def pod_name(word: str) -> str:
    """A name or an id prefix.

    Raises:
        InvalidName: it can be neither.
    """
    from pods.paths import check_name

    return check_name(word)


def seconds(word: str) -> float:
    """Seconds, zero or more.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not (0 <= value < math.inf):
        raise argparse.ArgumentTypeError(f"{word!r} is no number of seconds from 0 on")
    return value


def grace(word: str) -> float:
    """Seconds between the steps of a stop.

    Raises:
        argparse.ArgumentTypeError: not from 0 to the bound.
    """
    value = seconds(word)
    if value > MAX_GRACE_SECONDS:
        raise argparse.ArgumentTypeError(f"{word} is more than {MAX_GRACE_SECONDS:g} seconds")
    return value


def duration(word: str) -> float:
    """Seconds from `90`, `90s`, `5m`, `2h` or `7d`.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    unit = _UNITS.get(word[-1:])
    try:
        return seconds(word) if unit is None else seconds(word[:-1]) * unit
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{word!r} is no duration: write 90s, 5m, 2h or 7d"
        ) from None


def count(word: str) -> int:
    """A whole number, zero or more.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if not word.isascii() or not word.isdigit():
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number from 0 on")
    return int(word)


_SIZES: Final = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def size(word: str) -> int:
    """Bytes from `1000`, `64K`, `512M` or `2G`.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    unit = _SIZES.get(word[-1:].upper(), 1)
    digits = word if unit == 1 else word[:-1]
    if not digits.isascii() or not digits.isdigit():
        raise argparse.ArgumentTypeError(f"{word!r} is no size: write 1000, 64K, 512M or 2G")
    return int(digits) * unit


_LIMITS: Final[dict[str, Any]] = {
    "wall_seconds": duration,
    "turn_seconds": duration,
    "idle_seconds": duration,
    "memory_bytes": size,
    "processes": count,
    "open_files": count,
    "output_bytes": size,
    "turns": count,
}


def limit(word: str) -> tuple[str, float]:
    """`NAME=VALUE` of one limit of a pod.

    Raises:
        argparse.ArgumentTypeError: no such limit, or no value for it.
    """
    name, given, value = word.partition("=")
    if not given or name not in _LIMITS:
        raise argparse.ArgumentTypeError(
            f"{word!r} is no limit: write NAME=VALUE, with a name of {', '.join(_LIMITS)}"
        )
    found: float = _LIMITS[name](value)
    return name, found


def path_rule(permission: str, *, recursive: bool = True) -> Any:
    """A converter from a path to a scope rule; relative paths count from the current directory."""

    def convert(word: str) -> dict[str, Any]:
        if not word:
            raise argparse.ArgumentTypeError("a path may not be empty; `.` is this directory")
        if "\0" in word:
            raise argparse.ArgumentTypeError("a path may not hold a zero byte")
        return {"target": os.path.abspath(word), "permission": permission, "recursive": recursive}

    return convert


def add_scope(parser: argparse.ArgumentParser) -> None:
    """What a pod may use: `--write`, `--read` and their flat forms."""
    for flag, permission, recursive, text in (
        ("--write", "write", True, "it may read and write this file or tree"),
        ("--read", "read", True, "it may read this file or tree"),
        ("--write-flat", "write", False, "as --write, without the directories below"),
        ("--read-flat", "read", False, "as --read, without the directories below"),
    ):
        _add_rule(parser, flag, "allow", permission, text, recursive=recursive)


def add_deny_and_lend(parser: argparse.ArgumentParser) -> None:
    """What is taken out of the scope, and what may be lent on."""
    _add_rule(parser, "--deny", "deny", "read", "take this out: neither read nor write")
    _add_rule(parser, "--deny-write", "deny", "write", "take this out of writing; reading stays")
    _add_rule(parser, "--lend-write", "delegable", "write", "it may lend this on (default: all)")
    _add_rule(parser, "--lend-read", "delegable", "read", "it may lend this on, for reading")
    parser.add_argument(
        "--lend-nothing",
        dest="delegable",
        action="store_const",
        const=[],
        help="it may lend nothing on",
    )


def _add_rule(
    parser: argparse.ArgumentParser,
    flag: str,
    dest: str,
    permission: str,
    text: str,
    *,
    recursive: bool = True,
) -> None:
    action = parser.add_argument(
        flag,
        metavar="PATH",
        dest=dest,
        action="append",
        type=path_rule(permission, recursive=recursive),
        help=text,
    )
    complete(action, FILES)
