"""Asking once more where a supervisor dies under a request that may be asked twice.

Owns when that is done: only where the connection itself broke, over a new one, made as every verb
makes its first. Used by `wait`, which changes nothing, and by `stop` and `spawn`, which bring an id
so that a request has one effect however often it comes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

from pods.client.plain import PlainClient
from pods_protocol.errors import NotConnected

T = TypeVar("T")

LASTING_SECONDS: Final = 1.0
MAX_IN_A_ROW: Final = 3
"""A supervisor that ends so soon after it was reached, so many times in a row, will not last the
next time either."""


def new_message_id() -> str:
    """An id of this command's own for one request."""
    return os.urandom(8).hex()


def ask_again(
    connect: Callable[[], PlainClient],
    ask: Callable[[PlainClient], T],
    *,
    most: int = MAX_IN_A_ROW,
) -> T:
    """Ask over a connection of its own, and over another one where that breaks.

    Args:
        connect: makes a connection, starting a supervisor where none runs.
        ask: asks; called again with the next connection.
        most: breaks in a row after which that is given up.

    Raises:
        NotConnected: it breaks again and again.
        PodsError: what `connect` and `ask` raise.
    """
    in_a_row = 0
    while True:
        with connect() as client:
            began = time.monotonic()
            try:
                return ask(client)
            except NotConnected:
                if not client.closed:
                    raise  # the supervisor's own words about somebody else
            in_a_row = in_a_row + 1 if time.monotonic() - began < LASTING_SECONDS else 1
            if in_a_row > most:
                raise NotConnected(
                    f"cannot go on with {client.path}: its supervisor hangs up again and again; "
                    "`pods doctor` tells what is wrong",
                    socket=client.path,
                )
