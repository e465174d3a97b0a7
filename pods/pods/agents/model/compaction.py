"""What is left out of a conversation that no longer fits. Pure.

Owns the estimate of a conversation's size and the order in which its parts go: whole rounds, the
oldest first, with a gap in their place; then the middle of long results. The first message, and the
one that began the running turn, stay: they are the task. A call is never parted from its result.
"""

from __future__ import annotations

from typing import Final, assert_never

from attrs import evolve

from pods.agents.model.talk import Assistant, Gap, Message, Result, Results, Talk, User

BYTES_PER_TOKEN: Final = 4
"""Of English and code; what an endpoint counts corrects it."""

TARGET_SHARE: Final = 0.5
"""Once something has to go, so much goes that half the room is free: what is left out again and
again at every answer would cost each of them the endpoint's cache."""

SHORT_RESULT_BYTES: Final = 2 * 1024
"""What is left of a long result where leaving out rounds was not enough."""

_OVERHEAD_BYTES: Final = 64
"""Of a message around its text: roles, ids, names."""


def size_of(talk: Talk) -> int:
    """About how many tokens a conversation takes."""
    return sum(_bytes_of(message) for message in talk) // BYTES_PER_TOKEN


def _bytes_of(message: Message) -> int:
    match message:
        case User() | Gap():
            size = len(message.text.encode("utf-8", "replace"))
        case Assistant():
            size = len(message.text.encode("utf-8", "replace")) + sum(
                len(call.raw) + len(call.name) + _OVERHEAD_BYTES for call in message.calls
            )
        case Results():
            size = sum(
                len(one.text.encode("utf-8", "replace")) + _OVERHEAD_BYTES
                for one in message.results
            )
        case _:
            assert_never(message)
    return size + _OVERHEAD_BYTES


def fit(talk: Talk, room: int) -> tuple[list[Message], int]:
    """The conversation within `room` tokens, as far as that can be, and how many messages went.

    Unchanged where it fits already.
    """
    if size_of(talk) <= room:
        return list(talk), 0
    target = int(room * TARGET_SHARE)
    rounds = _rounds(talk)
    newest_task = max((at for at, one in enumerate(rounds) if isinstance(one[0], User)), default=0)
    kept = {0, newest_task, len(rounds) - 1}
    size, gone = size_of(talk), set[int]()
    for at, members in enumerate(rounds):
        if size <= target:
            break
        if at not in kept:
            gone.add(at)
            size -= size_of(members)
    fitted: list[Message] = []
    left_out = 0
    for at, members in enumerate(rounds):
        if at not in gone:
            fitted += members
            continue
        count = sum(one.count if isinstance(one, Gap) else 1 for one in members)
        left_out += sum(not isinstance(one, Gap) for one in members)
        if fitted and isinstance(before := fitted[-1], Gap):
            fitted[-1] = Gap(before.count + count)
        else:
            fitted.append(Gap(count))
    if size_of(fitted) > room:
        fitted = [_shortened(message) for message in fitted]
    return fitted, left_out


def _rounds(talk: Talk) -> list[list[Message]]:
    """Groups that stand or go together: an answer and the results of its calls."""
    rounds: list[list[Message]] = []
    for message in talk:
        if isinstance(message, Results) and rounds:
            rounds[-1].append(message)
        else:
            rounds.append([message])
    return rounds


def _shortened(message: Message) -> Message:
    if not isinstance(message, Results):
        return message
    return evolve(message, results=tuple(map(_short_result, message.results)))


def _short_result(result: Result) -> Result:
    data = result.text.encode("utf-8", "replace")
    if len(data) <= SHORT_RESULT_BYTES:
        return result
    half = SHORT_RESULT_BYTES // 2
    head, tail = data[:half].decode("utf-8", "ignore"), data[-half:].decode("utf-8", "ignore")
    missing = len(data) - SHORT_RESULT_BYTES
    return evolve(result, text=f"{head}\n[gap: {missing} bytes were left out here]\n{tail}")
