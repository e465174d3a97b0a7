"""The vendors' agents that are tried with a model of our own: where they are, what they do.

Owns one row for each: its programs, and by which of its tools a file is written and a command run.
How each is told is in `vendor_homes`. Used by `tests/interop`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import pytest
from attrs import frozen

import vendor_homes
from vendor_homes import Home, Told

PLACES: Final = "PODS_VENDORS"
"""Directories to look for the programs in before PATH: `.ci/run` installs them from npm."""

VENDOR_SECONDS: Final = 120.0
"""For one conversation: some are 300 MB of program, read from the disk for the first time."""

CONTENT: Final = "by its own tool\n"
"""What a vendor's tool for files is made to write."""

NODE_MAJOR: Final = 24
"""Of the Node.js that `tests/interop/package.json` brings."""

Step: TypeAlias = dict[str, Any]
"""Of a script; see `model_script`."""


def find_program(program: str, package: str, installer: str = "npm install") -> str:
    """The path of a program; skips the test where it is missing."""
    found = shutil.which(program, path=f"{os.environ.get(PLACES, '')}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(
            f"no {program} here: `{installer} {package}`, and name its bin directory in {PLACES}"
        )
    return found


def find_node() -> str:
    """The path of a Node.js that is new enough for what wants a newer one; skips the test."""
    node = find_program("node", "node")
    version = subprocess.check_output([node, "--version"], text=True).strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE_MAJOR:
        pytest.skip(f"{node} is {version}: `npm install node@{NODE_MAJOR}`, as tests/interop says")
    return node


def _by_name(step: Step) -> Step:
    return step


@frozen(kw_only=True)
class Vendor:
    """One agent.

    Attributes:
        name: as `pods spawn --agent` calls it.
        program: its command.
        package: what has it.
        prepare: writes its configuration into a home, with the text of the MCP servers' where it
            is not to be installed.
        speaker: the program that makes a pod of it, by ACP, and its package.
        write: the tool that it writes a file by, from a path; None: by a command.
        command: the tool that it runs a command by.
        ours: how its model calls a tool of ours, from a step that calls it by its name.
        asks: how often it asks for permission, to do both.
        asks_for_ours: how often it asks, where it is a pod, to spawn a pod and read from it; some
            ask for what says that it only reads, too.
        config: as `pods mcp --config` calls it, where that is another name.
        installer: how its packages are installed.
    """

    name: str
    program: str
    package: str
    prepare: Callable[[Home, str | None], Told]
    speaker: tuple[str, str]
    write: Callable[[str], Step] | None
    command: Callable[[str], Step]
    ours: Callable[[Step], Step] = _by_name
    asks: int = 2
    asks_for_ours: int = 0
    config: str = ""
    installer: str = "npm install"

    @property
    def host(self) -> str:
        """As `pods mcp --config` calls it."""
        return self.config or self.name

    def find(self) -> str:
        """The path of its program; skips the test where it is missing."""
        return find_program(self.program, self.package, self.installer)

    def find_speaker(self) -> str:
        """The same for the program that speaks ACP."""
        return find_program(*self.speaker, self.installer)


def _step(tool: str, **arguments: Any) -> Step:
    return {"tool": tool, "arguments": arguments}


def _in_typescript(step: Step) -> Step:
    """Vibe's model finds tools by a search and calls them from a program."""
    if "tool" not in step:
        return step
    call = f"tools.mcp_pods.{step['tool']}({json.dumps(step['arguments'])})"
    return _step("run_typescript", code=f"async function main() {{ return await {call}; }}")


VENDORS: Final[Mapping[str, Vendor]] = {
    one.name: one
    for one in (
        Vendor(
            name="claude",
            program="claude",
            package="@anthropic-ai/claude-code",
            prepare=vendor_homes.claude,
            speaker=("claude-agent-acp", "@agentclientprotocol/claude-agent-acp"),
            write=lambda path: _step("Write", file_path=path, content=CONTENT),
            command=lambda command: _step("Bash", command=command, description="try it"),
            asks_for_ours=2,
        ),
        Vendor(
            name="codex",
            program="codex",
            package="@openai/codex",
            prepare=vendor_homes.codex,
            speaker=("codex-acp", "@zed-industries/codex-acp"),
            write=None,
            command=lambda command: _step("exec_command", cmd=command),
        ),
        Vendor(
            name="opencode",
            program="opencode",
            package="opencode-ai",
            prepare=vendor_homes.opencode,
            speaker=("opencode", "opencode-ai"),
            write=lambda path: _step("write", filePath=path, content=CONTENT),
            command=lambda command: _step("bash", command=command, description="try it"),
            asks=0,
        ),
        Vendor(
            name="gemini",
            program="gemini",
            package="@google/gemini-cli",
            prepare=vendor_homes.gemini,
            speaker=("gemini", "@google/gemini-cli"),
            write=lambda path: _step("write_file", file_path=path, content=CONTENT),
            command=lambda command: _step("run_shell_command", command=command),
            asks_for_ours=2,
        ),
        Vendor(
            name="qwen",
            program="qwen",
            package="@qwen-code/qwen-code",
            prepare=vendor_homes.qwen,
            speaker=("qwen", "@qwen-code/qwen-code"),
            write=lambda path: _step("write_file", file_path=path, content=CONTENT),
            command=lambda command: _step(
                "run_shell_command", command=command, is_background=False, description="try it"
            ),
            asks_for_ours=1,
        ),
        Vendor(
            name="copilot",
            program="copilot",
            package="@github/copilot",
            prepare=vendor_homes.copilot,
            speaker=("copilot", "@github/copilot"),
            write=None,
            command=lambda command: _step(
                "bash", command=command, description="try it", mode="sync", initial_wait=10
            ),
            asks_for_ours=1,
        ),
        Vendor(
            name="vibe",
            program="vibe",
            package="mistral-vibe",
            prepare=vendor_homes.vibe,
            speaker=("vibe-acp", "mistral-vibe"),
            write=lambda path: _step("write_file", path=path, content=CONTENT),
            command=lambda command: _step("bash", command=command),
            ours=_in_typescript,
            asks=1,
            asks_for_ours=2,
            config="json",
            installer="pip install",
        ),
        Vendor(
            name="fast-agent",
            program="fast-agent",
            package="fast-agent-mcp",
            prepare=vendor_homes.fast_agent,
            speaker=("fast-agent-acp", "fast-agent-mcp"),
            write=lambda path: _step("write_text_file", path=path, content=CONTENT),
            command=lambda command: _step("execute", command=command),
            asks_for_ours=2,
            config="json",
            installer="pip install",
        ),
    )
}
"""Name -> agent."""
