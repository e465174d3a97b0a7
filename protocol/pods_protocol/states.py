"""Where a connection can be, and which moves are legal there: one literal table.

Owns everything that decides the state; a `Connection` has no other rule. It does not know which
side it serves: both ends of one connection make the same moves in the same order. The README's
diagram is printed from the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where one end of a connection is."""

    AWAITING_HELLO = "awaiting hello"
    """Connected; nothing but `hello` may be asked."""
    GREETING = "greeting"
    """`hello` is on its way and not answered."""
    READY = "ready"
    """Everything may be asked."""
    CLOSED = "closed"
    """The peer said its last line whole; what it asked before may still be answered."""
    FAILED = "failed"
    """The peer broke the protocol; it may still be told so, and nothing more of it is read."""
    BROKEN = "broken"
    """A write failed, so the peer may have half a line; nothing more may be sent."""

    # Every message looks the table up several times, and an Enum's own hash is a Python function.
    __hash__ = object.__hash__


class Move(Enum):
    """What can happen on a connection, seen from either end."""

    HELLO = "hello"
    """`hello` was asked."""
    HELLO_ACCEPTED = "hello accepted"
    """`hello` was answered with a result."""
    HELLO_REFUSED = "hello refused"
    """`hello` was answered with an error."""
    REQUEST = "request"
    """Anything else was asked."""
    RESULT = "result"
    """A request was answered with a result."""
    ERROR = "error"
    """A request, legal or not, was answered with an error."""
    NOTIFICATION = "notification"
    """The server said something unasked."""
    PEER_CLOSED = "peer closed"
    """The peer's bytes ended after a whole line."""
    PEER_FAILED = "peer failed"
    """The peer sent what cannot be understood, or stopped in the middle of a line."""
    SEND_FAILED = "send failed"
    """A write of ours failed."""

    __hash__ = object.__hash__  # as above


MOVES: Final[Mapping[State, Mapping[Move, State]]] = {
    State.AWAITING_HELLO: {
        Move.HELLO: State.GREETING,
        Move.ERROR: State.AWAITING_HELLO,
        Move.PEER_CLOSED: State.CLOSED,
        Move.PEER_FAILED: State.FAILED,
        Move.SEND_FAILED: State.BROKEN,
    },
    State.GREETING: {
        Move.HELLO_ACCEPTED: State.READY,
        Move.HELLO_REFUSED: State.AWAITING_HELLO,
        Move.ERROR: State.GREETING,
        Move.PEER_CLOSED: State.CLOSED,
        Move.PEER_FAILED: State.FAILED,
        Move.SEND_FAILED: State.BROKEN,
    },
    State.READY: {
        Move.REQUEST: State.READY,
        Move.RESULT: State.READY,
        Move.ERROR: State.READY,
        Move.NOTIFICATION: State.READY,
        Move.PEER_CLOSED: State.CLOSED,
        Move.PEER_FAILED: State.FAILED,
        Move.SEND_FAILED: State.BROKEN,
    },
    State.CLOSED: {
        Move.HELLO_ACCEPTED: State.CLOSED,
        Move.HELLO_REFUSED: State.CLOSED,
        Move.RESULT: State.CLOSED,
        Move.ERROR: State.CLOSED,
        Move.NOTIFICATION: State.CLOSED,
        Move.SEND_FAILED: State.BROKEN,
    },
    State.FAILED: {
        Move.HELLO_ACCEPTED: State.FAILED,
        Move.HELLO_REFUSED: State.FAILED,
        Move.RESULT: State.FAILED,
        Move.ERROR: State.FAILED,
        Move.NOTIFICATION: State.FAILED,
        Move.SEND_FAILED: State.BROKEN,
    },
    State.BROKEN: {
        Move.SEND_FAILED: State.BROKEN,
    },
}
"""State -> move -> next state. A move that is not listed is not legal there."""


def draw() -> str:
    """The table as the README prints it: one line for each change, then what is legal besides."""
    lines: list[str] = []
    for state, moves in MOVES.items():
        staying = [move.value for move, target in moves.items() if target is state]
        lines.append(state.value)
        lines += [
            f"    {move.value:<16} -> {target.value}"
            for move, target in moves.items()
            if target is not state
        ]
        lines.append(f"    stays at: {', '.join(staying)}")
    return "\n".join(lines) + "\n"
