"""What can come of a connection's bytes: the events that `Connection.next_event` gives.

Owns their shapes alone. Whoever drives a connection takes them from `connection`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

from pods_protocol.errors import PodsError

RequestId: TypeAlias = int | str


class NeedData(Enum):
    """The type of `NEED_DATA`."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA
"""No event before more bytes come."""


@frozen
class RequestReceived:
    """The peer asks; answer with `send_result` or `send_error`, once."""

    request_id: RequestId
    method: str
    message: Any


@frozen
class BadRequest:
    """The peer asked wrongly; send it the error. After a fatal one nothing more is read."""

    request_id: RequestId | None
    error: PodsError
    fatal: bool


@frozen
class ResultReceived:
    """The answer to a request of ours."""

    request_id: RequestId
    result: Any


@frozen
class ErrorReceived:
    """A request of ours failed; without an id the whole connection has, and is read no more."""

    request_id: RequestId | None
    error: PodsError


@frozen
class NotificationReceived:
    """The server says something unasked."""

    method: str
    params: Any


@frozen
class ConnectionClosed:
    """No event follows. Clean: the peer's bytes ended after a whole line, and all was in order."""

    clean: bool


ConnectionEvent: TypeAlias = (
    Literal[NeedData.NEED_DATA]
    | RequestReceived
    | BadRequest
    | ResultReceived
    | ErrorReceived
    | NotificationReceived
    | ConnectionClosed
)
