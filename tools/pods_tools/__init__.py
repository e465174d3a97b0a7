"""The tools that a parent agent calls: SpawnPod, SendToPod, ReadPodOutput, StopPod, ListPods.

Owns their definitions and what a call does, over any client that fits a small protocol. Knows
nothing of processes, sockets or event loops. Used by parents in Python, by `pods tools`, and by
servers that offer the tools to models.
"""

from pods_tools.client import BlockingPodsClient, PodsClient
from pods_tools.definitions import FORMATS, Format, export
from pods_tools.result import ToolResult
from pods_tools.toolset import MAX_CALL_SECONDS, BlockingToolset, TimeLimit, Toolset

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
