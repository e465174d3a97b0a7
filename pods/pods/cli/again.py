"""Asking once more where a supervisor dies under a request that may be asked twice.

Owns when that is done: only where the connection itself broke, over a new one, made as every verb
makes its first. Used by `wait`, which changes nothing, and by `stop`, `spawn` and `run`, which
bring an id so that a request has one effect however often it comes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from pods.client.breaks import Breaks
from pods.client.plain import PlainClient
from pods_protocol.errors import NotConnected

T = TypeVar("T")


def new_message_id() -> str:
    """An id of this command's own for one request."""
    return os.urandom(8).hex()


def ask_again(
    connect: Callable[[], PlainClient],
    ask: Callable[[PlainClient], T],
    *,
    breaks: Breaks | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Ask over a connection of its own, and over another one where that breaks.

    Args:
        connect: makes a connection, starting a supervisor where none runs.
        ask: asks; called again with the next connection.
        breaks: when that is given up; None is the bound that all have.
        clock: what its times are by.

    Raises:
        NotConnected: it breaks again and again.
        PodsError: what `connect` and `ask` raise.
    """
    breaks = breaks or Breaks()
    while True:
        with connect() as client:
            try:
                return ask(client)
            except NotConnected:
                if not client.closed:
                    raise  # the supervisor's own words about somebody else
            if not breaks.another(clock()):
                raise NotConnected(
                    f"cannot go on with {client.path}: its supervisor hangs up again and again; "
                    "`pods doctor` tells what is wrong",
                    socket=client.path,
                )
