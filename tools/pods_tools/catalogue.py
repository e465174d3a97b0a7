"""The five tools, in the order in which a parent meets them.

Owns the table alone; definitions, toolset and README are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pods_tools.list_pods import LIST_PODS
from pods_tools.read_pod_output import READ_POD_OUTPUT
from pods_tools.send_to_pod import SEND_TO_POD
from pods_tools.spawn_pod import SPAWN_POD
from pods_tools.stop_pod import STOP_POD
from pods_tools.tool import Tool

TOOLS: Final[Mapping[str, Tool]] = {
    tool.name: tool for tool in (SPAWN_POD, SEND_TO_POD, READ_POD_OUTPUT, STOP_POD, LIST_PODS)
}
"""Name -> tool."""
