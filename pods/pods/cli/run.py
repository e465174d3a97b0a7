"""`pods run`: one message to a pod of its own, which is gone when the turn is over.

Owns that nothing is left, however it ends: the turn's end, `--timeout`, Ctrl-C, SIGTERM, a terminal
that was closed. What the pod is started with is `spawn`'s, what is printed of the turn `send`'s.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Final

from pods.cli import options, render, spawn
from pods.cli.again import ask_again, new_message_id
from pods.client.breaks import Breaks, once_more
from pods.client.open import open_plain
from pods.client.plain import ANSWER_SECONDS, Json, PlainClient
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.errors import ExitCode, InvalidParams, TimedOut, UnknownPod

ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, a terminal that was closed: each is a reason to stop the pod and go."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.usage = (
        "pods run [MESSAGE|-] [--write PATH] [--read PATH] [--agent KIND] [--timeout SECONDS]\n"
        "                [more options, as of `pods spawn`] [-- COMMAND ARGUMENT...]"
    )
    parser.add_argument(
        "message",
        metavar="MESSAGE",
        nargs="?",
        help="`-` reads it from standard input; a COMMAND may do without",
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        type=options.pod_name,
        help="what to call the pod (default: one of its own)",
    )
    spawn.add_pod(parser)
    options.add_timeout(parser, "exit 3 after this, with the pod stopped")
    options.add_json(parser, "{message, turn, stop_reason, exit_status, text}")
    parser.set_defaults(
        on_parent_exit=None,
        wake_on="none",
        restart=spawn.restart_policy("never"),
        replace=False,
    )


def run(args: argparse.Namespace) -> int:
    """Spawn, follow the turn, stop and forget; the exit code is the turn's.

    Raises:
        InvalidParams: neither a message nor a command.
        TimedOut: the turn took longer than `--timeout`; the pod is stopped.
        PodsError: as the supervisor refuses it.
    """
    if args.message is None and args.argv is None:
        raise InvalidParams(
            "cannot run a turn without a message: give one, or a command after `--`", path="prompt"
        )
    args.name = args.name or f"run-{os.urandom(4).hex()}"
    args.prompt = args.message or ""
    params = spawn.params_of(args)
    spawned: list[Json] = []

    def start(client: PlainClient) -> None:
        # Interrupted here, nobody would know whether there is a pod to be stopped.
        with _held_back():
            spawned.append(client.call("spawn", params, timeout=ANSWER_SECONDS))

    endings = _Endings()
    code: int | None = None
    with endings.interrupting():
        try:
            connect = partial(open_plain, args.supervisor, when_absent="start")
            ask_again(connect, start, breaks=once_more())
            code = _take_turn(args, spawned[0])
        except KeyboardInterrupt:
            code = None  # said once it is true
        finally:
            # A first ending between here and the end of the next line still ends the pod.
            try:
                endings.ignore()
            finally:
                if spawned:
                    _end(args.supervisor, spawned[0]["pod"]["id"])
    if code is None:
        render.note(f"interrupted; {args.name} is stopped")
        return ExitCode.INTERRUPTED
    return code


def _take_turn(args: argparse.Namespace, answer: Json) -> int:
    spawn.warn(answer["enforcement"])
    try:
        return spawn.follow_first_turn(args, answer["message"], stays=False)
    except TimedOut as error:
        if args.timeout is None:
            raise
        raise TimedOut(
            f"cannot wait for {args.name} any longer: its turn takes more than {args.timeout:g} "
            "s, so it was stopped; give it more time or less to do",
            timeout_seconds=args.timeout,
        ) from error


def _end(supervisor: str | None, pod_id: str) -> None:
    """Stop the pod and forget it.

    Raises:
        PodsError: it could not be; the message names it.
    """
    stop: Json = {"pod": pod_id, "message_id": new_message_id()}
    until = time.monotonic() + 3 * DEFAULT_GRACE_SECONDS + ANSWER_SECONDS
    asked: list[PlainClient] = []

    def ask(client: PlainClient) -> None:
        asked.append(client)
        try:
            client.call("stop", stop, timeout=max(0.0, until - time.monotonic()))
            client.call("remove", {"pod": pod_id})
        except UnknownPod:
            # The supervisor that died under the removal had done it, and could not say so.
            if len(asked) == 1:
                raise

    ask_again(partial(open_plain, supervisor), ask, breaks=Breaks(until=until))


class _Endings:
    """The first ending is a KeyboardInterrupt, those after it are ignored.

    A terminal that closes sends two, and the pod would stay if they broke off its stop.
    """

    def __init__(self) -> None:
        self._ignored = False

    def ignore(self) -> None:
        """Ignore the first one, too, from here on."""
        self._ignored = True

    @contextmanager
    def interrupting(self) -> Generator[None]:
        """Let it interrupt the block."""
        before = {number: signal.signal(number, self._heard) for number in ENDINGS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, _number: int, _frame: object) -> None:
        # No SIG_IGN: a supervisor that is started for the stop would inherit that.
        if not self._ignored:
            self._ignored = True
            raise KeyboardInterrupt


@contextmanager
def _held_back() -> Generator[None]:
    """Have endings wait until the block is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
