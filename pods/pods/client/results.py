"""What a turn came to, as one value.

Owns `TurnResult`. Made by `turns.take_turn`, given to programs by sessions and pod handles.
"""

from __future__ import annotations

from attrs import frozen

from pods_protocol.events import ASSISTANT_TEXT_KINDS, Event
from pods_protocol.values import StopReason


@frozen(kw_only=True)
class TurnResult:
    """A turn that ended.

    Attributes:
        turn: its number in the pod, from 1.
        stop_reason: how it ended; success is `end_turn` alone.
        events: what it produced, in order.
        message: what the agent said about its end, for example why it failed.
        exit_status: of the turn's process, where it had one.
        duration_seconds: from its first event to its last.
        truncated: there were more events than one result holds; the first ones are left out.
    """

    turn: int
    stop_reason: StopReason
    events: tuple[Event, ...]
    message: str = ""
    exit_status: int | None = None
    duration_seconds: float = 0.0
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.stop_reason == "end_turn"

    @property
    def text(self) -> str:
        """All that the agent said."""
        return "".join(
            str(event.data["text"]) for event in self.events if event.type in ASSISTANT_TEXT_KINDS
        )

    @property
    def artifacts(self) -> tuple[Event, ...]:
        """The results with names."""
        return tuple(event for event in self.events if event.type == "artifact")

    def __repr__(self) -> str:
        return (
            f"TurnResult(turn={self.turn}, stop_reason={self.stop_reason!r}, "
            f"events={len(self.events)}, duration_seconds={self.duration_seconds:.3f})"
        )
