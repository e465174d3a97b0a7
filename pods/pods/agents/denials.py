"""Notices in a program's output that something was refused to it.

Owns the words by which that is known, and nothing else: the output goes on unchanged. A guess, used
for a hint in the end of a turn that failed; what really was refused, `pods explain` finds out.
"""

from __future__ import annotations

from typing import Final

from pods.agents.process import Output

SIGNS: Final = (b"ermission denied", b"peration not permitted", b"EACCES", b"EPERM")
"""What shells, compilers, Python and Node print of EACCES and EPERM, in their English."""

_OVERLAP: Final = max(map(len, SIGNS)) - 1
"""Kept of the end of what came before: a sign may be cut by two reads."""


class Denials:
    """Passes output on and looks at it.

    Args:
        output: gets all of it.

    Attributes:
        seen: a sign was in it.
    """

    def __init__(self, output: Output) -> None:
        self.seen = False
        self._output = output
        self._before = {"stdout": b"", "stderr": b""}

    def feed(self, stream: str, data: bytes) -> None:
        """Look at bytes of a stream, and hand them on."""
        if not self.seen:
            text = self._before[stream] + data
            self.seen = any(sign in text for sign in SIGNS)
            self._before[stream] = text[-_OVERLAP:]
        self._output.feed(stream, data)

    def flush(self) -> None:
        """Hand it on."""
        self._output.flush()

    def end(self) -> None:
        """Hand it on."""
        self._output.end()

    @property
    def holds(self) -> bool:
        """Whether the output behind it holds something back."""
        return self._output.holds
