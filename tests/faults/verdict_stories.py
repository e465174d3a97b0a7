"""Journals made up for the tests of the judges. Used by `test_verdict` and `test_verdict_lives`."""

from __future__ import annotations

from typing import Any


class Story:
    """A pod's journal as a list of events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def tell(self, kind: str, turn: int | None = None, **data: Any) -> Story:
        seq = len(self.events) + 1
        self.events.append({"seq": seq, "time": 0.0, "turn": turn, "type": kind, "data": data})
        return self

    def accept(self, message: str, state: str, if_busy: str = "queue", **more: Any) -> Story:
        return self.tell(
            "message_accepted",
            message_id=message,
            input="{}",
            state=state,
            if_busy=if_busy,
            **more,
        )

    def begin(self, message: str, turn: int) -> Story:
        return self.tell("turn_started", turn, message_id=message)

    def end(self, turn: int, reason: str = "end_turn") -> Story:
        return self.tell("turn_ended", turn, stop_reason=reason)

    def stop(self) -> Story:
        return self.tell("stopped", reason="stopped")
