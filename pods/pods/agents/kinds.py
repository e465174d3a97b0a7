"""Which kinds of agent there are without a search of what is installed.

Owns the table. Apart from `loading` because a pod's start and the command line ask for a kind's
name before anything of an agent is imported. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GENERIC: Final = "acp"
"""The kind whose command stands in its options: any agent that speaks ACP."""

ACP_KINDS: Final = frozenset(
    {GENERIC, "claude", "codex", "copilot", "fast-agent", "gemini", "opencode", "qwen", "vibe"}
)
"""`acp` and the names of `pods.agents.acp.table`; a test holds the two together."""

BUILT_IN: Final[Mapping[str, tuple[str, str]]] = {
    "command": ("pods.agents.command", "CommandAgent"),
    "echo": ("pods.agents.echo", "EchoAgent"),
    "model": ("pods.agents.model.agent", "ModelAgent"),
    "shell": ("pods.agents.shell", "ShellAgent"),
    **dict.fromkeys(sorted(ACP_KINDS), ("pods.agents.acp.agent", "AcpAgent")),
}
"""Kind -> module and class: the kinds that everybody uses cost no search of what is installed."""
