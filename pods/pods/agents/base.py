"""The interface of an agent: the one thing to write to put something of your own into a pod.

Owns the shape and nothing else. An agent is any object with `run_turn`; a class, an instance or a
plain coroutine function will do (see `loading`).

    class Greeter:
        async def run_turn(self, turn):
            await turn.text(f"hello, {turn.input}")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from pods_protocol.values import StopReason

if TYPE_CHECKING:
    from pods.agents.turn import Turn


@frozen
class TurnEnd:
    """How a turn ended, where the stop reason alone does not say enough.

    Attributes:
        stop_reason: `end_turn` is success; everything else is not.
        message: why, in words for people; cut at 2000 characters.
        exit_status: of the process that was the turn, negative for the signal that ended it.
    """

    stop_reason: StopReason = "end_turn"
    message: str = ""
    exit_status: int | None = None


class Agent(Protocol):
    """Answers turns, one at a time.

    It may also have `async def close(self) -> None`, which is called once when the pod ends, with
    a few seconds to finish; and a true attribute `can_pause`. That is its promise to await the
    methods of its turn (`turn.text`, `turn.tool_call`, ..., or `turn.checkpoint` alone) between its
    steps, and to do nothing beside them: each waits for as long as somebody holds the turn. The
    pods of all other agents are paused by stopping every process of theirs.
    """

    async def run_turn(self, turn: Turn) -> StopReason | TurnEnd | None:
        """Answer one message.

        It runs on trio and is cancelled there when the turn is. What it raises ends the turn as
        `error` with the exception's words.

        Args:
            turn: the message, and everything the agent can do with it.

        Returns:
            How the turn ended. None is `end_turn`.
        """
        ...
