"""Lifecycle events for whoever subscribed, each to its own subtree.

Owns the subscribers and the joining of replay and live. Knows the supervisor's journal as a
directory to read; who may see what is each event's `ancestors`. Fed by `core`, used by `subscribe`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import trio
from attrs import evolve

from pods.journal.reader import read_events
from pods.records.events import LIFECYCLE_KINDS
from pods.records.record import PodRecord
from pods.rpc.server import Session
from pods.supervisor.log import Log
from pods_protocol.bounds import MAX_READ_BYTES
from pods_protocol.events import Event
from pods_protocol.values import PodState

REPLAY_SLICE_EVENTS: Final = 500
"""Events read and sent before the subscriber has to take them."""


class Hub:
    """Who hears of pods.

    Args:
        directory: of the supervisor's journal.
        log: for what went wrong unasked.
    """

    def __init__(self, directory: str, log: Log) -> None:
        self._directory = directory
        self._log = log
        self._subscribers: dict[Session, str | None] = {}
        self._sessions: dict[Session, str | None] = {}

    @property
    def subscribers(self) -> int:
        """How many listen."""
        return len(self._subscribers)

    def end(self, caller: str) -> None:
        """Close the connections that a pod subscribed with: it has ended, and its right to know."""
        for session, who in list(self._sessions.items()):
            if who == caller:
                session.close()

    def publish(self, event: Event) -> None:
        """Tell every subscriber that may see it of an event that is on disk."""
        if event.type in LIFECYCLE_KINDS:
            self._tell(event)

    def publish_state(
        self, record: PodRecord, state: PodState, ancestors: list[str], seq: int
    ) -> None:
        """Tell of a pod's new state. Not journaled here: the pod's own journal has it.

        It carries the seq of the newest event before it, so that a cursor taken from it is good.
        """
        if self._subscribers:
            self._tell(
                Event(
                    seq=seq,
                    time=time.time(),
                    turn=None,
                    type="pod_state",
                    data={
                        "id": record.id,
                        "pod": record.name,
                        "state": state,
                        "ancestors": ancestors,
                    },
                )
            )

    def _tell(self, event: Event) -> None:
        shown = None
        for session, caller in list(self._subscribers.items()):
            if may_see(event.data, caller):
                shown = shown or _shown(event)
                session.notify("event", shown)

    async def serve(self, session: Session, caller: str | None, since: int | None) -> None:
        """Replay what came after `since`, then join until cancelled: a task of the connection.

        Args:
            caller: the id of the pod that asks, None for the owner.
            since: a seq; None for what comes from here on.
        """
        self._sessions[session] = caller  # from here on, so that `end` finds a replay too
        try:
            await self._replay(session, caller, since)
            self._subscribers[session] = caller
            await trio.sleep_forever()
        finally:
            self._subscribers.pop(session, None)
            del self._sessions[session]

    async def _replay(self, session: Session, caller: str | None, since: int | None) -> None:
        """Send what came after `since`; no checkpoint between its end and the joining."""
        while since is not None:
            piece = read_events(
                self._directory,
                since,
                kinds=LIFECYCLE_KINDS,
                limit=REPLAY_SLICE_EVENTS,
                max_bytes=MAX_READ_BYTES,
            )
            for event in piece.events:
                if may_see(event.data, caller):
                    session.notify("event", _shown(event))
            since = piece.next
            if not piece.truncated:
                return
            await session.drained()
            await trio.lowlevel.checkpoint()  # a fast reader must not keep the others waiting


def may_see(data: Mapping[str, Any], caller: str | None) -> bool:
    """Whether an event is of the caller's subtree."""
    return caller is None or caller in data.get("ancestors", ())


def _shown(event: Event) -> Event:
    data = {key: value for key, value in event.data.items() if key not in ("ancestors", "keeper")}
    return evolve(event, data=data)
