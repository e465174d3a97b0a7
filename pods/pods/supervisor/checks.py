"""Checks of numbers that clients send, one sentence each.

Owns the wording. Used by every method that takes a duration, a cursor or a count.
"""

from __future__ import annotations

import math

from pods_protocol.bounds import MAX_MESSAGE_ID_LENGTH
from pods_protocol.errors import InvalidParams


def check_seconds(value: float, field: str, *, longest: float) -> float:
    """Return `value` if it is a duration from 0 to `longest` seconds.

    Raises:
        InvalidParams: with the bound.
    """
    if math.isfinite(value) and 0 <= value <= longest:
        return value
    raise InvalidParams(
        f"cannot use {value:g} as {field}: it must be from 0 to {longest:g} seconds; "
        "give another, and ask again when it has passed",
        path=field,
        limit=longest,
    )


def check_count(value: int, field: str, *, lowest: int, highest: int | None = None) -> int:
    """Return `value` if it lies in the bounds.

    Raises:
        InvalidParams: with the bound.
    """
    if value >= lowest and (highest is None or value <= highest):
        return value
    upper = "" if highest is None else f" to {highest}"
    raise InvalidParams(
        f"cannot use {value} as {field}: it must be from {lowest}{upper}; give another",
        path=field,
        lowest=lowest,
        highest=highest,
    )


def check_message_id(message_id: str) -> str:
    """Return the idempotency key if it can be one.

    Raises:
        InvalidParams: with the bound.
    """
    if 0 < len(message_id) <= MAX_MESSAGE_ID_LENGTH:
        return message_id
    raise InvalidParams(
        f"cannot use a message id of {len(message_id)} characters: it has 1 to "
        f"{MAX_MESSAGE_ID_LENGTH}; choose another, or leave it out",
        path="message_id",
    )
