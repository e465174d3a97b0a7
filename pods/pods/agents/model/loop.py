"""The loop of an agent with a model: the conversation so far in, the next action out. Pure.

Owns which action comes next, which calls may run side by side, and what makes a conversation whole
again that was cut off in the middle of its tools. `agent` performs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Final, TypeAlias

from attrs import frozen

from pods.agents.model.talk import Assistant, Call, Gap, Message, Result, Results, Stop, Talk, User
from pods_protocol.pod_messages import HistoryEntry
from pods_protocol.values import StopReason

MAX_PARALLEL_CALLS: Final = 8
"""Tools that run side by side: a model that asks for more gets them in turns of this many."""


MAX_REMEMBERED: Final = 200
"""Messages of a process before this one that the model is told again."""


@frozen
class Ask:
    """Ask the model what it says next."""


@frozen
class RunCalls:
    """Run these tools and tell the model what came of them."""

    calls: tuple[Call, ...]


@frozen
class End:
    """The turn is over."""

    stop_reason: StopReason
    message: str = ""


Action: TypeAlias = Ask | RunCalls | End

_ENDS: Final[Mapping[Stop, End]] = {
    "end": End("end_turn"),
    "tools": End("end_turn"),
    "length": End(
        "max_tokens",
        "the model's answer was cut at its longest; ask it to go on, or raise max_tokens",
    ),
    "refusal": End("refusal", "the model would not answer"),
}


def next_action(talk: Talk, *, asked: int, max_requests: int) -> Action:
    """What to do next.

    Args:
        talk: everything that was said; its last message decides.
        asked: how often the model was asked in this turn.
        max_requests: how often it may be.
    """
    last = talk[-1]
    if isinstance(last, Assistant):
        # An answer that was cut may have lost the end of its last call's arguments.
        if last.calls and last.stop not in ("length", "refusal"):
            return RunCalls(last.calls)
        return _ENDS[last.stop]
    if asked >= max_requests:
        return End(
            "max_turn_requests",
            f"the model was asked {asked} times in this turn, which is the most; send another "
            "message to go on, or raise max_requests",
        )
    return Ask()


def batches(names: Sequence[str], alone: Callable[[str], bool]) -> list[list[int]]:
    """The places of calls in their order, in groups whose members may run side by side.

    Args:
        names: of the tools that are called.
        alone: whether the tool of this name has to run by itself: what writes files does, so that
            two writes to one file come in the order in which they were asked for.
    """
    groups: list[list[int]] = []
    for by_itself, members in groupby(range(len(names)), key=lambda at: alone(names[at])):
        run = list(members)
        size = 1 if by_itself else MAX_PARALLEL_CALLS
        groups += [run[at : at + size] for at in range(0, len(run), size)]
    return groups


def settled(talk: Talk) -> list[Message]:
    """The conversation with an answer to every call: models take no other.

    A turn that was cancelled, or an answer that was cut, leaves calls that never ran.
    """
    whole: list[Message] = []
    for at, message in enumerate(talk):
        whole.append(message)
        if not isinstance(message, Assistant) or not message.calls:
            continue
        follower = talk[at + 1] if at + 1 < len(talk) else None
        if not isinstance(follower, Results):
            whole.append(
                Results(
                    tuple(
                        Result(call.call_id, "Not known: the turn ended before it did.", True)
                        for call in message.calls
                    )
                )
            )
    return whole


def from_history(entries: Sequence[HistoryEntry], before_turn: int) -> list[Message]:
    """A conversation that another process of the pod had, as far as the journal tells it.

    Tools and what they gave back are not in it, and it ends before the turn that runs now.
    """
    told = [entry for entry in entries if entry.turn < before_turn and entry.text.strip()]
    kept = told[-MAX_REMEMBERED:]
    talk: list[Message] = [
        User(entry.text) if entry.role == "user" else Assistant(entry.text) for entry in kept
    ]
    left_out = len(told) - len(kept)
    # Endpoints want a conversation that begins with the user, who tells of the gap.
    if left_out or (talk and isinstance(talk[0], Assistant)):
        talk.insert(0, Gap(max(left_out, 1)))
    return talk
