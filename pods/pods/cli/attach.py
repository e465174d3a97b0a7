"""`pods attach`: follow a pod and type messages to it.

Owns the loop over two descriptors: the terminal's lines and the pod's events. Events come over one
connection and requests go over another, so that neither waits for the other.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Final

from pods.cli import options, render
from pods.cli.follow import journal_after_end, open_for, open_pod
from pods.cli.transcript import Transcript
from pods.client.plain import Json, PlainClient
from pods.client.waiting import wait_any
from pods_protocol.bounds import MAX_LINE_BYTES
from pods_protocol.errors import ExitCode, NotConnected, PodsError, TooLarge

_CHUNK: Final = 64 * 1024
"""Bytes of one read from the terminal."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    options.add_pod(parser)
    parser.add_argument(
        "--if-busy",
        choices=("fail", "queue", "interrupt"),
        default="queue",
        help="what a typed line does while a turn runs (default: queue)",
    )
    parser.add_argument(
        "--since", metavar="SEQ", type=options.count, help="show events after this (default: new)"
    )
    parser.add_argument("-t", "--timestamps", action="store_true", help="say when")
    options.add_json(parser, "every event, one object a line")


def run(args: argparse.Namespace) -> int:
    """Attach until the pod ends or the person leaves.

    Raises:
        PodsError: unknown pod, ended.
    """
    with (
        open_for(args.pod, args.supervisor) as client,
        open_pod(client, args.pod) as asking,
        open_pod(client, args.pod) as following,
    ):
        show: Callable[[Json], None] = (
            render.say_json if args.json else Transcript(timestamps=args.timestamps).show
        )
        attached = _Attached(asking, following, args.if_busy, show)
        status = attached.begin(args.since)
        render.note(
            f"attached to {attached.name} ({status['state']}); a line is a message, Ctrl-C or "
            "Ctrl-D leaves the pod running"
        )
        for question in status["questions"]:
            render.note(f"it asks: {question['prompt']} (the next line is the answer)")
        try:
            ended = attached.follow()
        except KeyboardInterrupt:
            ended = False
            sys.stderr.write("\n")
        if not ended:
            render.note(f"detached; {attached.name} goes on")
            return ExitCode.OK
        for event in journal_after_end(client, args.pod, attached.cursor):
            show(event)
        render.note(f"{attached.name} has ended")
        return ExitCode.OK


class _Attached:
    """The two connections, what was typed and not sent, the questions that are open."""

    def __init__(
        self,
        asking: PlainClient,
        following: PlainClient,
        if_busy: str,
        show: Callable[[Json], None],
    ) -> None:
        self._asking = asking
        self._following = following
        self._if_busy = if_busy
        self._show = show
        self._typed = b""
        self._questions: list[str] = []
        self.name: str = asking.hello["name"]
        self.cursor = 0

    def begin(self, since: int | None) -> Json:
        """Look where the pod is and subscribe from there; returns its status."""
        status = self._asking.call("status", {})
        self._questions = [question["question_id"] for question in status["questions"]]
        self.cursor = int(status["last_seq"]) if since is None else since
        self._following.subscribe(self.cursor)
        return status

    def follow(self) -> bool:
        """Serve both sides; True when the pod has ended, False when the person left."""
        self._take(self._following.take_events(read=False))
        # Events first: who leaves has seen what had come by then.
        sources = {self._following.fileno(): self._events, sys.stdin.fileno(): self._lines}
        while True:
            ready = wait_any(sources, None)
            for descriptor, serve in sources.items():
                ended: bool | None = serve() if descriptor in ready else None
                if ended is not None:
                    return ended

    def _events(self) -> bool | None:
        try:
            events = self._following.take_events()
        except NotConnected:
            return True
        self._take(events)
        return None

    def _take(self, events: list[Json]) -> None:
        for event in events:
            self.cursor = event["seq"]
            if event["type"] == "question":
                self._questions.append(event["data"]["question_id"])
            elif event["type"] == "answer":
                self._questions = [
                    one for one in self._questions if one != event["data"]["question_id"]
                ]
            self._show(event)
        render.flush()

    def _lines(self) -> bool | None:
        data = os.read(sys.stdin.fileno(), _CHUNK)
        self._typed += data
        *lines, self._typed = self._typed.split(b"\n")
        if not data and self._typed:
            lines, self._typed = [self._typed], b""
        if len(self._typed) > MAX_LINE_BYTES:
            raise TooLarge(
                f"cannot send that: a line has at most {MAX_LINE_BYTES} bytes; put the text into a "
                "file that the pod may read",
                limit_bytes=MAX_LINE_BYTES,
            )
        for line in lines:
            if text := line.decode(errors="replace").strip():
                try:
                    self._send(text)
                except NotConnected:
                    return True
                except PodsError as error:
                    render.note(error.message)
        return None if data else False

    def _send(self, text: str) -> None:
        if self._questions:
            question_id = self._questions.pop(0)
            self._asking.call("answer", {"question_id": question_id, "answer": text})
        else:
            self._asking.call("run", {"input": text, "if_busy": self._if_busy})
