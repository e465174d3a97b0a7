"""What a tool is: its texts for models, its input and output, and its plan.

Owns the record alone. Each tool's own file makes one; `catalogue` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from pods_tools.bookmarks import Bookmarks
from pods_tools.client import Plan
from pods_tools.result import ToolResult


@frozen(kw_only=True)
class Annotations:
    """What a host may assume, in the words of MCP.

    Attributes:
        read_only: changes nothing but the caller's own bookmark.
        destructive: deletes or overwrites something. None of ours does: a stopped pod's files and
            output stay. (Codex refuses tools that leave this or `open_world` open.)
        idempotent: again with the same arguments has no further effect.
        open_world: reaches beyond the caller's own pods.
    """

    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


@frozen(kw_only=True)
class Tool:
    """One tool.

    Attributes:
        name: VerbNoun.
        title: for lists that people see.
        description: for models: when to use it, what comes back, what to do on errors.
        input: attrs class of the arguments.
        output: attrs class of a good result's `data`.
        annotations: see there.
        example: the arguments of a right call.
        plan: makes the steps of one call.
    """

    name: str
    title: str
    description: str
    input: type[Any]
    output: type[Any]
    annotations: Annotations
    example: Mapping[str, Any]
    plan: Callable[[Any, Bookmarks], Plan[ToolResult]]
