"""What a tool call gives back.

Owns the shape alone: `{summary, content?, data}` and whether it is an error. Returned by every
tool; turned into a vendor's own block by whoever talks to the model.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen


@frozen(kw_only=True)
class ToolResult:
    """The answer of one call.

    Attributes:
        summary: what happened and what to do next, in a few sentences for a model.
        data: the same as JSON, whole: with it alone a reader misses nothing.
        content: longer text that the summary introduces; None where there is none.
        is_error: the call did not do what it was asked to.
    """

    summary: str
    data: dict[str, Any] = field(factory=dict[str, Any])
    content: str | None = None
    is_error: bool = False

    @property
    def text(self) -> str:
        """Summary and content, as one block for a model that takes only text."""
        return self.summary if self.content is None else f"{self.summary}\n\n{self.content}"

    def as_json(self) -> dict[str, Any]:
        """The result as JSON-ready values."""
        return {
            "summary": self.summary,
            "content": self.content,
            "data": self.data,
            "is_error": self.is_error,
        }
