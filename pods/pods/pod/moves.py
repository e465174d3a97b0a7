"""The literal table of what is legal in each state of a pod's turns.

Owns the table, which the room's README prints. Pure. `turns` finds the rule behind each move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from pods.pod.stimuli import (
    Answered,
    Asked,
    Cancel,
    ChildTold,
    Finished,
    Hold,
    LimitReached,
    Notify,
    Opened,
    QuestionClosed,
    Run,
    Shutdown,
    Withdraw,
)

MachineState: TypeAlias = Literal[
    "closed", "idle", "working", "waiting", "paused", "stopping", "ended"
]
"""`closed`: the process has not yet taken the journal over. The others are states of the pod, with
`ended` for the moments between its `stopped` event and the end of its process."""

MACHINE_STATES: Final[tuple[MachineState, ...]] = get_args(MachineState)


class Move(NamedTuple):
    """One legal move: the rule that decides, and the states it may lead to."""

    rule: str
    leads_to: tuple[MachineState, ...]


MOVES: Final[Mapping[MachineState, Mapping[type, Move]]] = {
    "closed": {
        Opened: Move("take_over", ("idle", "working")),
    },
    "idle": {
        Run: Move("begin", ("idle", "working")),
        Notify: Move("note", ("idle", "working")),
        Cancel: Move("nothing_runs", ("idle",)),
        Withdraw: Move("withdraw", ("idle",)),
        Answered: Move("answer", ("idle",)),
        Hold: Move("hold", ("idle", "paused")),
        ChildTold: Move("hear", ("idle", "working")),
        Shutdown: Move("end", ("ended",)),
        LimitReached: Move("end_by_limit", ("ended",)),
    },
    "working": {
        Run: Move("busy", ("working",)),
        Notify: Move("note", ("working",)),
        Cancel: Move("cancel", ("working",)),
        Withdraw: Move("withdraw", ("working",)),
        Answered: Move("answer", ("working",)),
        Hold: Move("hold", ("working", "paused")),
        ChildTold: Move("hear", ("working",)),
        Asked: Move("ask", ("working", "waiting")),
        QuestionClosed: Move("close_question", ("working",)),
        Finished: Move("next_turn", ("idle", "working")),
        Shutdown: Move("wind_down", ("stopping",)),
        LimitReached: Move("wind_down_by_limit", ("stopping",)),
    },
    "waiting": {
        Run: Move("busy", ("waiting",)),
        Notify: Move("note", ("waiting",)),
        Cancel: Move("cancel", ("waiting",)),
        Withdraw: Move("withdraw", ("waiting",)),
        Answered: Move("answer", ("waiting", "working")),
        Hold: Move("hold", ("waiting", "paused")),
        ChildTold: Move("hear", ("waiting",)),
        Asked: Move("ask", ("waiting",)),
        QuestionClosed: Move("close_question", ("waiting", "working")),
        Finished: Move("next_turn", ("idle", "working")),
        Shutdown: Move("wind_down", ("stopping",)),
        LimitReached: Move("wind_down_by_limit", ("stopping",)),
    },
    "paused": {
        Run: Move("held", ("paused",)),
        Notify: Move("note", ("paused",)),
        Cancel: Move("cancel_held", ("paused",)),
        Withdraw: Move("withdraw", ("paused",)),
        Answered: Move("answer", ("paused",)),
        Hold: Move("hold", ("paused", "idle", "working", "waiting")),
        ChildTold: Move("hear", ("paused",)),
        Asked: Move("ask", ("paused",)),
        QuestionClosed: Move("close_question", ("paused",)),
        Finished: Move("held_turn", ("paused",)),
        LimitReached: Move("end_held_by_limit", ("stopping", "ended")),
        Shutdown: Move("end_held", ("stopping", "ended")),
    },
    "stopping": {
        Run: Move("too_late", ("stopping",)),
        Notify: Move("too_late", ("stopping",)),
        Cancel: Move("cancel", ("stopping",)),
        Withdraw: Move("withdraw", ("stopping",)),
        Answered: Move("answer", ("stopping",)),
        Hold: Move("cannot_hold", ("stopping",)),
        ChildTold: Move("hear", ("stopping",)),
        Asked: Move("ask", ("stopping",)),
        QuestionClosed: Move("close_question", ("stopping",)),
        Finished: Move("last_turn", ("ended",)),
        Shutdown: Move("hurry", ("stopping",)),
        LimitReached: Move("hurry_by_limit", ("stopping",)),
    },
    "ended": {
        Run: Move("too_late", ("ended",)),
        Notify: Move("too_late", ("ended",)),
        Cancel: Move("nothing_runs", ("ended",)),
        Withdraw: Move("withdraw", ("ended",)),
        Answered: Move("answer", ("ended",)),
        Hold: Move("cannot_hold", ("ended",)),
        ChildTold: Move("not_heard", ("ended",)),
        Shutdown: Move("nothing_runs", ("ended",)),
        LimitReached: Move("nothing_runs", ("ended",)),
    },
}
"""What is legal in each state. What is not listed cannot come from outside: it is a bug of ours."""


def as_markdown() -> str:
    """`MOVES` as the table that the room's README shows."""
    kinds = list(dict.fromkeys(kind for moves in MOVES.values() for kind in moves))
    lines = [
        "| | " + " | ".join(MACHINE_STATES) + " |",
        "|---" * (len(MACHINE_STATES) + 1) + "|",
    ]
    for kind in kinds:
        cells = [_cell(state, MOVES[state].get(kind)) for state in MACHINE_STATES]
        lines.append(f"| **{kind.__name__}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(state: MachineState, move: Move | None) -> str:
    if move is None:
        return ""
    rule = move.rule.replace("_", " ")
    if move.leads_to == (state,):
        return rule
    return f"{rule} → {' or '.join(move.leads_to)}"
