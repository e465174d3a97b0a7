"""The vendors' agents that are tried with a model of our own: where they are, how they are told.

Owns one row for each: its program, and what it needs so that it asks the scripted endpoint, on the
loopback interface and with a key that is none, and sends nothing home. Used by `tests/interop`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import pytest
from attrs import frozen

PLACES: Final = "PODS_VENDORS"
"""Directories to look for the programs in before PATH: `.ci/run` installs them from npm."""

VENDOR_SECONDS: Final = 120.0
"""For one conversation: some are 300 MB of program, read from the disk for the first time."""

DUMMY_KEY: Final = "not-a-key"
MODEL: Final = "scripted"

CONTENT: Final = "by its own tool\n"
"""What a vendor's tool for files is made to write."""

Step: TypeAlias = dict[str, Any]
"""Of a script; see `model_script`."""


@frozen(kw_only=True)
class Home:
    """A home directory for one run, and the address of the model."""

    path: Path
    url: str

    def write(self, name: str, text: str) -> Path:
        """Write a file below the home directory."""
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place


def find_program(program: str, package: str) -> str:
    """The path of a program from npm; skips the test where it is missing."""
    found = shutil.which(program, path=f"{os.environ.get(PLACES, '')}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(
            f"no {program} here: `npm install {package}`, and name its bin directory in {PLACES}"
        )
    return found


class Told(NamedTuple):
    """How it is run: the words before the prompt, and the environment beside the usual."""

    words: list[str]
    environ: dict[str, str]


@frozen(kw_only=True)
class Vendor:
    """One agent.

    Attributes:
        name: as `pods mcp --config` calls it.
        program: its command.
        package: where npm has it.
        prepare: writes its configuration into a home, with the text of the MCP servers' where it
            is not to be installed.
        speaker: the program that makes a pod of it, by ACP, and its package.
        write: the tool that it writes a file by, from a path; None: by a command.
        command: the tool that it runs a command by.
        asks: whether it asks for permission, for each of both.
    """

    name: str
    program: str
    package: str
    prepare: Callable[[Home, str | None], Told]
    speaker: tuple[str, str]
    write: Callable[[str], Step] | None
    command: Callable[[str], Step]
    asks: bool = True

    def find(self) -> str:
        """The path of its program; skips the test where it is missing."""
        return find_program(self.program, self.package)

    def find_speaker(self) -> str:
        """The same for the program that speaks ACP."""
        return find_program(*self.speaker)


def _claude(home: Home, mcp: str | None) -> Told:
    words = ["-p", "--output-format", "stream-json", "--verbose", "--allowedTools", "mcp__pods"]
    if mcp is not None:
        words += ["--strict-mcp-config", "--mcp-config", str(home.write("mcp.json", mcp))]
    return Told(
        [*words, "--"],
        {
            "ANTHROPIC_BASE_URL": home.url,
            "ANTHROPIC_API_KEY": DUMMY_KEY,
            "ANTHROPIC_MODEL": MODEL,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        },
    )


def _codex(home: Home, mcp: str | None) -> Told:
    home.write(
        ".codex/config.toml",
        f'model = "{MODEL}"\nmodel_provider = "scripted"\n'
        "[model_providers.scripted]\n"
        f'name = "scripted"\nbase_url = "{home.url}/v1"\nwire_api = "responses"\n'
        'env_key = "SCRIPTED_KEY"\n'
        "[analytics]\nenabled = false\n" + (mcp or ""),
    )
    return Told(
        ["exec", "--json", "--skip-git-repo-check"],
        {"SCRIPTED_KEY": DUMMY_KEY},
    )


def _opencode(home: Home, mcp: str | None) -> Told:
    config: dict[str, Any] = json.loads(mcp or "{}")
    config["provider"] = {
        "scripted": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{home.url}/v1", "apiKey": DUMMY_KEY},
            "models": {MODEL: {}},
        }
    }
    config["model"] = config["small_model"] = f"scripted/{MODEL}"
    config["autoupdate"] = False
    config["share"] = "disabled"
    home.write(".config/opencode/opencode.json", json.dumps(config))
    return Told(
        ["run", "--format", "json"],
        {
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        },
    )


def _gemini(home: Home, mcp: str | None) -> Told:
    settings: dict[str, Any] = json.loads(mcp or "{}")
    settings["security"] = {"auth": {"selectedType": "gemini-api-key"}}
    settings["privacy"] = {"usageStatisticsEnabled": False}
    settings["telemetry"] = {"enabled": False}
    settings["general"] = {"disableAutoUpdate": True, "disableUpdateNag": True}
    home.write(".gemini/settings.json", json.dumps(settings))
    return Told(
        ["--output-format", "stream-json", "--yolo", "-p"],
        {
            "GEMINI_API_KEY": DUMMY_KEY,
            "GOOGLE_GEMINI_BASE_URL": home.url,
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "GEMINI_MODEL": MODEL,
        },
    )


def _step(tool: str, **arguments: str) -> Step:
    return {"tool": tool, "arguments": arguments}


VENDORS: Final[Mapping[str, Vendor]] = {
    one.name: one
    for one in (
        Vendor(
            name="claude",
            program="claude",
            package="@anthropic-ai/claude-code",
            prepare=_claude,
            speaker=("claude-agent-acp", "@agentclientprotocol/claude-agent-acp"),
            write=lambda path: _step("Write", file_path=path, content=CONTENT),
            command=lambda command: _step("Bash", command=command, description="try it"),
        ),
        Vendor(
            name="codex",
            program="codex",
            package="@openai/codex",
            prepare=_codex,
            speaker=("codex-acp", "@zed-industries/codex-acp"),
            write=None,
            command=lambda command: _step("exec_command", cmd=command),
        ),
        Vendor(
            name="opencode",
            program="opencode",
            package="opencode-ai",
            prepare=_opencode,
            speaker=("opencode", "opencode-ai"),
            write=lambda path: _step("write", filePath=path, content=CONTENT),
            command=lambda command: _step("bash", command=command, description="try it"),
            asks=False,
        ),
        Vendor(
            name="gemini",
            program="gemini",
            package="@google/gemini-cli",
            prepare=_gemini,
            speaker=("gemini", "@google/gemini-cli"),
            write=lambda path: _step("write_file", file_path=path, content=CONTENT),
            command=lambda command: _step("run_shell_command", command=command),
        ),
    )
}
"""Name -> agent."""
