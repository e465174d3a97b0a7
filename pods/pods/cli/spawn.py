"""`pods spawn`: start a pod, say what it holds and what to do next."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

from pods.agents.kinds import ACP_KINDS, GENERIC
from pods.cli import agent_options, options, render
from pods.cli.again import ask_again, new_message_id
from pods.cli.environment import add_environment, joined
from pods.cli.turn_output import fate, wait_for_turn
from pods.client.breaks import once_more
from pods.client.open import open_plain
from pods.client.plain import ANSWER_SECONDS, Json
from pods_protocol.bounds import DEFAULT_RESTARTS
from pods_protocol.errors import ExitCode, InvalidParams


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.usage = (
        "pods spawn NAME [--write PATH] [--read PATH] [--deny PATH] [--agent KIND]\n"
        "                  [--prompt TEXT [--wait]] [more options] [-- COMMAND ARGUMENT...]"
    )
    parser.add_argument("name", metavar="NAME", type=options.pod_name, help="what to call it")
    parser.add_argument("--prompt", metavar="TEXT", help="the first message; `-` reads it")
    add_pod(parser)
    parser.add_argument(
        "--on-parent-exit", choices=("stop", "keep"), help="what to do when its parent ends"
    )
    parser.add_argument(
        "--wake-on",
        choices=("none", "ended", "question"),
        default="none",
        help="in a pod: its ends, or those and its questions, start a turn of that pod",
    )
    parser.add_argument(
        "--restart",
        metavar="never|on-failure[:LIMIT]",
        type=restart_policy,
        default=restart_policy("never"),
        help="start it again when it dies unasked, LIMIT times in a row at most "
        f"(default: never; LIMIT {DEFAULT_RESTARTS})",
    )
    parser.add_argument(
        "--replace", action="store_true", help="remove an ended pod of this name first"
    )
    parser.add_argument(
        "--wait", action="store_true", help="print the prompt's output and exit by its outcome"
    )
    options.add_timeout(parser, "with --wait: exit 3 after this; the pod goes on")
    options.add_json(parser, "the pod, its scope and capacity")


def add_pod(parser: argparse.ArgumentParser) -> None:
    """Add what every pod may be started with, whatever becomes of it later."""
    options.complete(
        parser.add_argument(
            "--agent",
            metavar="KIND",
            help="shell (default), command, echo, model, a vendor's (see `pods agents`), an entry "
            "point, module:attribute, 'command: PROGRAM ARGUMENT...' or 'acp: PROGRAM ARGUMENT...'",
        ),
        options.AGENT_KINDS,
    )
    parser.add_argument(
        "--permissions",
        choices=("ask", "allow-in-scope", "deny"),
        help="of a vendor's agent: who decides what it may do (default: ask, see `pods answer`)",
    )
    parser.add_argument(
        "--permission-timeout",
        metavar="SECONDS",
        type=options.seconds,
        help="how long its questions wait before the answer is deny (default: 600)",
    )
    agent_options.add(parser)
    options.add_scope(parser)
    options.add_deny_and_lend(parser)
    options.complete(
        parser.add_argument("--cwd", metavar="DIR", help="where it works (default: here)"),
        options.FILES,
    )
    add_environment(parser, "a variable for its processes; without a value, yours")
    parser.add_argument("--description", metavar="TEXT", default="", help="shown in lists")
    parser.add_argument(
        "--limit",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=options.limit,
        help="a ceiling: wall_seconds=2h, turn_seconds=5m, idle_seconds=10m, memory_bytes=2G, "
        "processes=50, open_files=256, output_bytes=4M or turns=20",
    )
    parser.add_argument(
        "--turn-timeout",
        metavar="SECONDS",
        type=options.seconds,
        help="end turns after this: --limit turn_seconds=SECONDS",
    )
    parser.add_argument("--python", metavar="PATH", help="another interpreter for its agent")
    parser.add_argument(
        "--call-back", action="store_true", help="its processes may use `pods` as this pod"
    )
    parser.add_argument(
        "--require-enforcement",
        action="store_true",
        help="refuse where the kernel cannot hold it to its scope",
    )
    parser.add_argument(
        "--network",
        choices=("open", "loopback", "none"),
        help="loopback: one of its own, with itself alone in it (default: its parent's, or open)",
    )
    parser.add_argument(
        "--unix-sockets",
        choices=("any", "none"),
        help="none: it connects to no socket that has a path (default: its parent's, or any)",
    )
    parser.add_argument(
        "--pty",
        action="store_true",
        help="it may open terminals, and with them those that you have open",
    )
    parser.set_defaults(argv=None)


def restart_policy(word: str) -> Json:
    """`never`, `on-failure` or `on-failure:LIMIT`.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    when, given, limit = word.partition(":")
    if when not in ("never", "on-failure") or (given and when == "never"):
        raise argparse.ArgumentTypeError(f"{word!r} is none of never, on-failure, on-failure:LIMIT")
    return {"when": when, **({"limit": options.count(limit)} if given else {})}


def run(args: argparse.Namespace) -> int:
    """Spawn, then perhaps wait.

    Raises:
        PodsError: as the supervisor refuses it.
    """
    options.check_wait(args)
    params = params_of(args)
    if args.wait and params["prompt"] is None:
        raise InvalidParams(
            "cannot wait for a turn: no message was given; add --prompt", path="prompt"
        )
    answer = ask_again(
        partial(open_plain, args.supervisor, when_absent="start"),
        lambda client: client.call("spawn", params, timeout=ANSWER_SECONDS),
        breaks=once_more(),  # it may be this very pod that a supervisor dies of
    )
    del answer["token"]  # a secret: neither shown nor piped into anything
    if args.json and not args.wait:
        render.say_json(answer)
    elif not args.json:
        tell(answer, args.supervisor, next_steps=not args.wait)
    if not args.wait:
        return ExitCode.OK
    return follow_first_turn(args, answer["message"])


def follow_first_turn(args: argparse.Namespace, message: Json, *, stays: bool = True) -> int:
    """Follow the turn of a pod's first message; the exit code is the turn's.

    Args:
        stays: the pod goes on after it.

    Raises:
        TimedOut: the turn took longer than `--timeout`.
        PodsError: as the supervisor refuses it.
    """
    with open_plain(args.supervisor) as client:
        return wait_for_turn(
            client,
            None,
            args.name,
            message,
            since=0,
            timeout=args.timeout,
            as_json=args.json,
            supervisor=args.supervisor,
            stays=stays,
        )


def params_of(args: argparse.Namespace) -> Json:
    """The fields of the request.

    Raises:
        InvalidParams: words that do not go together.
    """
    agent, settings = _agent(args.agent or agent_options.implied(args), args.argv)
    settings |= _permissions(agent, args)
    if agent in ("command", GENERIC) and not settings.get("argv"):
        _require_command(agent, args)
    params: Json = {
        "name": args.name,
        "agent": agent,
        "options": {**settings, **agent_options.settings(agent, args)},
        "prompt": sys.stdin.read() if args.prompt == "-" else args.prompt,
        "allow": args.allow or [],
        "deny": args.deny or [],
        "cwd": os.path.abspath(args.cwd) if args.cwd else os.getcwd(),
        "env": {**joined(args.env), **agent_options.secrets(args)},
        "limits": {"turn_seconds": args.turn_timeout, **dict(args.limit)},
        "description": args.description,
        "on_parent_exit": args.on_parent_exit,
        "wake_on": args.wake_on,
        "restart": args.restart,
        "python": args.python,
        "call_back": args.call_back,
        "replace": args.replace,
        "require_enforcement": args.require_enforcement,
        "network": args.network,
        "unix_sockets": args.unix_sockets,
        "pty": args.pty,
        "message_id": new_message_id(),
    }
    if args.delegable is not None:
        params["delegable"] = args.delegable
    return params


def _agent(word: str | None, argv: list[str] | None) -> tuple[str, Json]:
    """The agent's kind and options, from `--agent` and the words after `--`."""
    for kind in ("command", GENERIC):
        if word is not None and word.startswith(f"{kind}:"):
            import shlex

            if argv:
                raise InvalidParams(
                    "cannot take the command twice: it stands in --agent and after `--`; keep one",
                    path="agent",
                )
            word, argv = kind, shlex.split(word.removeprefix(f"{kind}:"))
    if argv is None:
        return word or "shell", {}
    if not argv:
        raise InvalidParams(
            "cannot run an empty command: name the program after `--`", path="options.argv"
        )
    if word not in (None, "command", *ACP_KINDS):
        raise InvalidParams(
            f"cannot give a command to the agent {word}: only `command` and agents that speak ACP "
            "take one; leave --agent out",
            path="agent",
        )
    return word or "command", {"argv": argv}


def _require_command(agent: str, args: argparse.Namespace) -> None:
    if "argv" not in dict(args.option):
        raise InvalidParams(
            f"cannot start the agent {agent}: it was given no command; put it at the end, after "
            "`--`, as in `-- PROGRAM ARGUMENT...`",
            path="options.argv",
        )


def _permissions(agent: str, args: argparse.Namespace) -> Json:
    """The options that say who decides what a vendor's agent may do."""
    given = {"permissions": args.permissions, "permission_seconds": args.permission_timeout}
    found = {name: value for name, value in given.items() if value is not None}
    if found and agent not in ACP_KINDS:
        raise InvalidParams(
            f"cannot set permissions for the agent {agent}: it asks nobody, its scope holds it; "
            "leave --permissions and --permission-timeout out",
            path="options",
        )
    return found


def tell(answer: Json, supervisor: str | None, *, next_steps: bool, verb: str = "started") -> None:
    """Say what was started, what it holds and what to do next; `supervisor` as it was given."""
    pod, enforcement, message = answer["pod"], answer["enforcement"], answer["message"]
    name = pod["name"]
    if not next_steps:
        # The turn's output follows on standard output and is nobody's mixed bag.
        render.note(f"{name} {verb} ({pod['agent']}, {pod['id']})")
    else:
        render.say(f"{name} {verb} ({pod['agent']}, {pod['id']})")
        for rule in pod["scope"]["allow"]:
            render.say(f"  {render.rule(rule)}")
        for rule in pod["scope"]["deny"]:
            render.say(f"  not {render.rule(rule)}")
        render.say(f"  enforcement: {enforcement['summary'] or enforcement['backend']}")
    warn(enforcement)
    if message is not None and next_steps:
        render.say(f"  {fate(name, message, supervisor)}")
    if next_steps:
        pods = render.command(supervisor)
        send, read = f"{pods} send {name} 'MESSAGE' --wait", f"{pods} read {name}"
        render.say("next:")
        render.say(f"  {send}     {pods} logs -f {name}")
        render.say(f"  {read:{len(send)}}     {pods} stop {name}")


def warn(enforcement: Json) -> None:
    """Say what of the scope is not held as it was asked for."""
    if enforcement["backend"] == "none":
        gaps = "; ".join(enforcement["gaps"]) or "only pods' own tools check the scope"
        render.note(f"warning: not enforced by the kernel: {gaps} {_why(enforcement)}".rstrip())
    for rule in enforcement.get("rules", ()):
        if not rule["exact"]:
            render.note(f"warning: asked: {rule['asked']}; got: {rule['got']}")
    for warning in enforcement.get("warnings", ()):
        render.note(f"warning: {warning}")


def _why(enforcement: Json) -> str:
    return f"({enforcement['reason']})" if enforcement["reason"] else ""
