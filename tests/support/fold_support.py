"""A fold that a test tells the events of a pod, one by one."""

from __future__ import annotations

from typing import Any

from pods.journal.fold import PodFold
from pods.journal.mailbox import Note
from pods_protocol.events import Event
from pods_protocol.values import OpenQuestion


class Story:
    """A fold that is told events by their kind."""

    def __init__(self) -> None:
        self.fold = PodFold()
        self.events: list[Event] = []

    def tell(self, kind: str, turn: int | None = None, **data: Any) -> Event:
        seq = len(self.events) + 1
        event = Event(seq=seq, time=float(seq), turn=turn, type=kind, data=data)
        self.events.append(event)
        self.fold.apply(event)
        return event

    def start(self, turn: int, message_id: str = "m", text: str = "do it") -> None:
        self.tell(
            "message_accepted",
            turn,
            message_id=message_id,
            input=text,
            if_busy="fail",
            state="started",
        )
        self.tell("turn_started", turn, message_id=message_id)

    def queue(self, message_id: str, if_busy: str = "queue", position: int = 1) -> None:
        self.tell(
            "message_accepted",
            message_id=message_id,
            input=f"input of {message_id}",
            if_busy=if_busy,
            state="queued",
            position=position,
        )

    def state(self) -> str:
        return self.fold.state

    def unfinished(self) -> int | None:
        return self.fold.unfinished_turn

    def questions(self) -> list[OpenQuestion]:
        return list(self.fold.questions)

    def notes(self) -> list[Note]:
        return list(self.fold.notes)

    def waiting(self) -> list[str]:
        return [message.message_id for message in self.fold.queue]
