"""The tools that a parent agent calls: SpawnPod, SendToPod, ReadPodOutput, StopPod, ListPods.

Owns their definitions and what a call does, over any client that fits a small protocol. Knows
nothing of processes, sockets or event loops. Used by parents in Python, by `pods tools`, and by
servers that offer the tools to models.

What is named here is loaded when it is used: `pods_tools.mcp` has to start at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pods_tools.client import BlockingPodsClient as BlockingPodsClient
    from pods_tools.client import PodsClient as PodsClient
    from pods_tools.definitions import FORMATS as FORMATS
    from pods_tools.definitions import Format as Format
    from pods_tools.definitions import export as export
    from pods_tools.result import ToolResult as ToolResult
    from pods_tools.toolset import MAX_CALL_SECONDS as MAX_CALL_SECONDS
    from pods_tools.toolset import BlockingToolset as BlockingToolset
    from pods_tools.toolset import TimeLimit as TimeLimit
    from pods_tools.toolset import Toolset as Toolset

__all__ = [
    "Toolset",
    "BlockingToolset",
    "ToolResult",
    "export",
    "FORMATS",
    "Format",
    "PodsClient",
    "BlockingPodsClient",
    "TimeLimit",
    "MAX_CALL_SECONDS",
]

_HOMES = {
    "Toolset": "toolset",
    "BlockingToolset": "toolset",
    "ToolResult": "result",
    "export": "definitions",
    "FORMATS": "definitions",
    "Format": "definitions",
    "PodsClient": "client",
    "BlockingPodsClient": "client",
    "TimeLimit": "toolset",
    "MAX_CALL_SECONDS": "toolset",
}
"""Public name -> the module that has it."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pods_tools' has no attribute {name!r}")
    return getattr(importlib.import_module(f"pods_tools.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
