"""The table of verbs and the parser made from it.

Owns which verbs there are, in the order of `pods --help`. Builds the parser of the one verb that is
asked for: twenty parsers cost more than an answer of the supervisor. `pods --help` and the
completion script get them all. Called by `main` and by `completion`.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pods.cli.options import HelpFormatter

VERBS: Final[dict[str, str]] = {
    "spawn": "start a pod",
    "run": "give a message to a pod of its own, print the answer, leave nothing",
    "send": "give a pod a message",
    "answer": "answer a question of a pod",
    "withdraw": "take a queued message back",
    "pause": "pause pods",
    "resume": "let paused pods go on",
    "read": "print what a pod said since the last read",
    "ls": "list pods",
    "tree": "show pods below their parents",
    "logs": "print all that a pod did",
    "attach": "follow a pod and type messages to it",
    "wait": "wait until pods are idle, ended or asking",
    "stop": "stop pods and all their processes",
    "restore": "start an ended pod again on its own journal",
    "rm": "remove ended pods and their journals",
    "prune": "remove pods that ended long ago",
    "inspect": "show everything known of a pod",
    "scope": "show who holds what, or check a scope",
    "explain": "run a command as a pod would, and say what was refused",
    "audit": "print who was allowed what, and what was refused",
    "doctor": "look for trouble",
    "up": "run the supervisor in the foreground",
    "down": "end the supervisor",
    "demo": "see it work on real files, without a model",
    "agents": "list the vendors' agents that are known, and which are installed",
    "tools": "print the tools for a parent agent",
    "acp": "serve a pod to an editor that speaks ACP",
    "mcp": "offer the tools to a host that speaks MCP",
    "completion": "print a completion script for your shell",
}
"""Verb -> one line of help. The module of a verb has its name."""

OTHER_WORDS: Final[dict[str, str]] = {
    "create": "spawn",
    "delete": "rm",
    "kill": "stop",
    "list": "ls",
    "ps": "ls",
    "remove": "rm",
    "show": "inspect",
    "start": "spawn",
}
"""Verbs of other programs, which no likeness leads to ours."""

MAX_SHOWN_CHARACTERS: Final = 40
"""Of a word that is no verb: it may be a whole message."""

_ASKS_FOR_HELP: Final = frozenset({"-h", "--help", "--version"})

PASSED_ON: Final = frozenset({"demo"})
"""Verbs that read their own words."""

_NEGATIVE: Final = re.compile(r"-[0-9.]+[a-zA-Z]+")
"""A duration or a size below zero; argparse knows what is below zero without a unit."""

GLOBAL_OPTION: Final = "--supervisor"

EPILOG: Final = """\
exit codes: 0 ok, 1 failed, 2 usage, 3 timeout, 4 no such pod, 5 refused, 130 interrupted
"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The namespace for the words after `pods`, with `run` set to the verb's function.

    Raises:
        SystemExit: usage errors and `--help`, as argparse does.
        InvalidName: a supervisor or pod name that cannot be one.
    """
    verb, at = find_verb(words)
    if verb in PASSED_ON:
        namespace = build_parser(()).parse_args(words[:at])
        namespace.words = list(words[at + 1 :])
        namespace.run = _module(verb).run
        return namespace
    if verb and verb not in VERBS and not _ASKS_FOR_HELP.intersection(words[:at]):
        build_parser(("ls",)).error(_no_such_verb(verb))
    own, extra = _split(words)
    parser = build_parser((verb,) if verb in VERBS else VERBS)
    namespace, unknown = parser.parse_known_args(_joined(own))
    if getattr(namespace, "run", None) is None:
        parser.error("a verb is missing; `pods --help` lists them")
    refuse = namespace.refuse  # of the verb: its own usage helps more than that of `pods`
    takes_command = hasattr(namespace, "argv")
    if unknown:
        hint = "; a command stands after `--`" if takes_command and extra is None else ""
        refuse(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if extra is not None:
        if not takes_command:
            refuse(f"`--` means nothing to `pods {verb}`")
        namespace.argv = extra
    return namespace


def _no_such_verb(word: str) -> str:
    """What is wrong with a word that is none of our verbs, with the one that was meant."""
    from difflib import get_close_matches  # for this message alone

    near = OTHER_WORDS.get(word) or next(iter(get_close_matches(word, VERBS, n=1)), "")
    shown = word if len(word) <= MAX_SHOWN_CHARACTERS else word[:MAX_SHOWN_CHARACTERS] + "..."
    hint = f"did you mean `pods {near}`? " if near else ""
    return f"there is no verb {shown!r}: {hint}`pods --help` lists them"


def find_verb(words: Sequence[str]) -> tuple[str, int]:
    """The verb among the words and where it stands; an empty string where there is none."""
    skip = False
    for at, word in enumerate(words):
        if skip:
            skip = False
        elif word == GLOBAL_OPTION:
            skip = True
        elif not word.startswith("-"):
            return word, at
    return "", len(words)


def build_parser(verbs: Iterable[str]) -> argparse.ArgumentParser:
    """The parser with these verbs; with none it takes the global options alone."""
    parser = argparse.ArgumentParser(
        prog="pods",
        description="Supervise many agents on one machine, each in a pod of its own.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    _add_supervisor(parser, default=None)
    chosen = list(verbs)
    if chosen:
        subparsers = parser.add_subparsers(metavar="VERB", dest="verb")
        for verb in chosen:
            one = subparsers.add_parser(
                verb,
                help=VERBS[verb],
                description=VERBS[verb].capitalize() + ".",
                allow_abbrev=False,
                formatter_class=HelpFormatter,
            )
            _add_supervisor(one, default=argparse.SUPPRESS)
            module = _module(verb)
            module.configure(one)
            one.set_defaults(run=module.run, refuse=one.error)
    return parser


def _joined(words: Sequence[str]) -> list[str]:
    """The words with an option and a negative duration in one: `--since=-5m`.

    argparse takes `-5m` for an option and misses the value, where the check of the value would say
    what is wrong with it.
    """
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and _NEGATIVE.fullmatch(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _split(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The words before `--`, and those after it: argparse would mix them with the positionals."""
    own = list(words)
    if "--" not in own:
        return own, None
    at = own.index("--")
    return own[:at], own[at + 1 :]


def _add_supervisor(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument(
        GLOBAL_OPTION,
        metavar="NAME",
        default=default,
        type=_supervisor_name,
        help="which supervisor (default: $PODS_SUPERVISOR, else `default`)",
    )


def _supervisor_name(word: str) -> str:
    from pods.paths import check_name

    return check_name(word, "supervisor")


def _module(verb: str) -> Any:
    return importlib.import_module(f"pods.cli.{verb}")


class _Version(argparse.Action):
    """`--version`, which reads the version only when asked."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_values: Any) -> None:
        import pods

        print(f"pods {pods.__version__}")
        parser.exit(0)
