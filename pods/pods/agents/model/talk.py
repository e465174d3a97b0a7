"""A conversation with a model, in nobody's dialect. Pure data.

Owns what was said, what was called and what came back, as the loop, the compaction and the two
translations know it. A message is never changed: a conversation is a list that grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

Stop: TypeAlias = Literal["end", "tools", "length", "refusal"]
"""Why a model stopped: it was done, it wants tools run, its answer was cut, it would not."""


@frozen
class User:
    """What the model is told."""

    text: str


@frozen
class Gap:
    """Where earlier messages were left out, and how many."""

    count: int

    @property
    def text(self) -> str:
        """What the model is told of it."""
        return (
            f"[gap: {self.count} earlier messages were left out here, to make room. Files and pods "
            "are as you left them; read again what you need of them.]"
        )


@frozen
class Call:
    """A tool that the model wants run.

    Attributes:
        call_id: by which the result is told.
        arguments: as it gave them; None where that was no JSON object.
        raw: the arguments as text, as they came.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any] | None
    raw: str


@frozen
class Assistant:
    """What the model said in one answer."""

    text: str
    calls: tuple[Call, ...] = ()
    stop: Stop = "end"


@frozen
class Result:
    """What one call gave back, in words for the model."""

    call_id: str
    text: str
    is_error: bool = False


@frozen
class Results:
    """What the calls of one answer gave back, in their order."""

    results: tuple[Result, ...]


Message: TypeAlias = User | Gap | Assistant | Results
Talk: TypeAlias = Sequence[Message]


@frozen
class ToolSpec:
    """A tool as the model is offered it."""

    name: str
    description: str
    schema: Mapping[str, Any]


@frozen
class Piece:
    """A piece of an answer that streams in: said, or thought."""

    text: str
    thought: bool = False


@frozen
class Reply:
    """A whole answer, and what it cost."""

    said: Assistant
    input_tokens: int = 0
    output_tokens: int = 0


@frozen
class HttpRequest:
    """What to post to an endpoint.

    Attributes:
        headers: with the key among them, so that they are never shown.
    """

    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any]


class BrokenReply(Exception):
    """The stream ended before the answer did, or is none; the words say what is wrong."""


class RefusedReply(Exception):
    """The stream has said that it failed. `kind`: the endpoint's word for it."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind
