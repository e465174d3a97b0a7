"""What a pod's process tells its keeper of its turns, so that the keeper can see to their limits.

Owns the marks, one byte each, over a socket that the pod's own process has and none of its
programs. Only pods with such a limit have it. The keeper acts where the pod does not; it believes
nothing else that comes from the pod. Imports next to nothing: both sides carry it.
"""

from __future__ import annotations

import socket
from typing import Final

BEGINS: Final = b"b"
"""A turn begins; the one before it is over."""

OVER: Final = b"o"
"""The agent is out of its turn, the end of which is still to be written."""

NONE: Final = b"n"
"""No turn runs, and none follows."""

HELD: Final = b"h"
"""The pod is paused, and its clocks stand still."""

GOES_ON: Final = b"g"


class TurnMarks:
    """Tells.

    Args:
        sock: the other end is the keeper's; made non-blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    def turn_begins(self) -> None:
        """A turn begins."""
        self._tell(BEGINS)

    def turn_over(self) -> None:
        """The agent is out of its turn."""
        self._tell(OVER)

    def no_turn(self) -> None:
        """No turn runs, and none follows."""
        self._tell(NONE)

    def hold(self, *, held: bool) -> None:
        """The pod's clocks stand still, or go on."""
        self._tell(HELD if held else GOES_ON)

    def _tell(self, mark: bytes) -> None:
        try:
            self._sock.send(mark)
        except OSError:
            # The keeper has not read for some hundred marks, so somebody has stopped it. To miss
            # one would make it end an innocent pod: it hears that there is nothing more to hear.
            self._sock.close()
