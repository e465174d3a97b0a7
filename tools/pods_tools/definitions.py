"""The tools in the shapes that the Anthropic, OpenAI and MCP worlds use.

Owns the three shapes. Called by `pods tools`, by the toolset and by servers; the golden files of
the tests hold them still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from pods_tools.catalogue import TOOLS
from pods_tools.schema import input_schema, output_schema
from pods_tools.tool import Tool

Format: TypeAlias = Literal["anthropic", "openai", "mcp"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


def export(format: Format) -> list[dict[str, Any]]:  # noqa: A002  # the word every caller uses
    """The definitions as JSON-ready values, new ones at each call.

    Args:
        format: `anthropic` for the Messages API, `openai` for chat completions, `mcp` for
            `tools/list`.

    Raises:
        ValueError: another format.
    """
    if format not in _SHAPES:
        raise ValueError(
            f"cannot export tools for {format!r}: the formats are {', '.join(FORMATS)}; use one"
        )
    return [_SHAPES[format](tool) for tool in TOOLS.values()]


def _anthropic(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": input_schema(tool.input),
    }


def _openai(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": input_schema(tool.input),
            # Strict mode has no optional fields; we judge the arguments ourselves.
            "strict": False,
        },
    }


def _mcp(tool: Tool) -> dict[str, Any]:
    annotations = tool.annotations
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": input_schema(tool.input),
        "outputSchema": output_schema(tool.output),
        "annotations": {
            "title": tool.title,
            "readOnlyHint": annotations.read_only,
            "destructiveHint": annotations.destructive,
            "idempotentHint": annotations.idempotent,
            "openWorldHint": annotations.open_world,
        },
        # Without it Claude Code hides tools behind a search.
        "_meta": {"anthropic/alwaysLoad": True},
    }


_SHAPES: Final[Mapping[str, Callable[[Tool], dict[str, Any]]]] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "mcp": _mcp,
}
