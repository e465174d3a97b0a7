"""What every error that crosses a socket is, and what the command line exits with.

Owns the base class and the exit codes. Standard library only, as `errors`, which has the table of
codes and from which everybody imports these, too.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ExitCode:
    """Exit codes of the `pods` command, as printed in the README."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMED_OUT = 3
    NO_SUCH_POD = 4
    REFUSED = 5
    INTERRUPTED = 130


class PodsError(Exception):
    """A failure with a stable code, a sentence for people and data for programs.

    Attributes:
        message: one paragraph: "cannot ...: why; what to do".
        data: JSON-ready facts. Never a secret.
        CODE: the stable name, lower-case snake case.
        NUMBER: the JSON-RPC error number.
        EXIT_CODE: what the command line exits with.
        RETRYABLE: whether the same request may succeed later without anything else changing.
    """

    CODE: ClassVar[str] = "internal_error"
    NUMBER: ClassVar[int] = -32603
    EXIT_CODE: ClassVar[int] = ExitCode.FAILED
    RETRYABLE: ClassVar[bool] = False

    def __init__(self, message: str, /, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = data

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.data))


def _rebuild(kind: type[PodsError], message: str, data: dict[str, Any]) -> PodsError:
    return kind(message, **data)
