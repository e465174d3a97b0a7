"""Agents of the cycles: one that leaves without a word, one that cannot be made."""

from __future__ import annotations

import os

LEAVERS_STATUS = 3


class Leaver:
    """Ends its pod's process from inside."""

    async def run_turn(self, turn: object) -> None:
        os._exit(LEAVERS_STATUS)


class Unmakeable:
    """Fails before its pod is up."""

    def __init__(self) -> None:
        raise RuntimeError("this agent was told to fail")

    async def run_turn(self, turn: object) -> None:
        raise AssertionError("it cannot be made")
