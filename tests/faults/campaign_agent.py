"""What the pods of a campaign do: leave a mark that a turn began, say something, take a while.

The mark is a line in a file of the pod's own, written before anything else, so that
a message which ran twice shows. Its input is one JSON object; see `run_turn`.
"""

from __future__ import annotations

import json
import os

import trio

from pods.agents.turn import Turn

STRAY = "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo left"
"""Leaves a process that has a session of its own, as a program that became a daemon."""

ANSWER_SECONDS = 1.0
"""A question that nobody answers holds the turn up no longer."""

TOLD = "was told "
"""What it says of an answer begins with this; the judge holds it against the journal."""


class Worker:
    """Works as its message says."""

    async def run_turn(self, turn: Turn) -> None:
        """Do what the message says: one JSON object.

        `{"id": the mark, "texts": how many, "seconds": between them, "stray": leave a process,
        "ask": ask first}`.
        """
        try:
            order = json.loads(turn.input)
        except ValueError:
            await turn.text(f"woken: {turn.input}")  # what became of its children, in words
            return
        mark = os.open(f"{turn.cwd}/{turn.name}.ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(mark, f"{order['id']}\n".encode())
        finally:
            os.close(mark)
        if order["ask"]:
            told = await turn.ask(
                "go on?", options=("yes", "no", "nobody"), default="nobody",
                timeout_seconds=ANSWER_SECONDS,
            )  # fmt: skip
            await turn.text(f"{TOLD}{told}")
        if order["stray"]:
            await turn.run_process(["sh", "-c", STRAY])
        for number in range(order["texts"]):
            await turn.text(f"{order['id']} {number}\n")
            await trio.sleep(order["seconds"])
