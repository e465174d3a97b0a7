"""Agents that several tests of a pod give it."""

from __future__ import annotations

import trio

from pods.agents.turn import Turn


async def forever(turn: Turn) -> None:
    await turn.text_delta("begun")
    await trio.sleep_forever()


async def in_order(turn: Turn) -> None:
    await turn.text(f"[{turn.input}]")
