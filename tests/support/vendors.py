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
from typing import Any, Final, NamedTuple

import pytest
from attrs import frozen

PLACES: Final = "PODS_VENDORS"
"""Directories to look for the programs in before PATH: `.ci/run` installs them from npm."""

VENDOR_SECONDS: Final = 120.0
"""For one conversation: some are 300 MB of program, read from the disk for the first time."""

DUMMY_KEY: Final = "not-a-key"
MODEL: Final = "scripted"


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
    """

    name: str
    program: str
    package: str
    prepare: Callable[[Home, str | None], Told]

    def find(self) -> str:
        """The path of its program; skips the test where it is missing."""
        places = f"{os.environ.get(PLACES, '')}:{os.environ['PATH']}"
        found = shutil.which(self.program, path=places)
        if found is None:
            pytest.skip(
                f"no {self.program} here: `npm install {self.package}`, and name its bin "
                f"directory in {PLACES}"
            )
        return found


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
            "CLAUDE_CONFIG_DIR": str(home.path / "claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        },
    )


def _codex(home: Home, mcp: str | None) -> Told:
    home.write(
        "codex/config.toml",
        f'model = "{MODEL}"\nmodel_provider = "scripted"\n'
        "[model_providers.scripted]\n"
        f'name = "scripted"\nbase_url = "{home.url}/v1"\nwire_api = "responses"\n'
        'env_key = "SCRIPTED_KEY"\n'
        "[analytics]\nenabled = false\n" + (mcp or ""),
    )
    return Told(
        ["exec", "--json", "--skip-git-repo-check"],
        {"CODEX_HOME": str(home.path / "codex"), "SCRIPTED_KEY": DUMMY_KEY},
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
    return Told(
        ["run", "--format", "json"],
        {
            "OPENCODE_CONFIG": str(home.write("opencode.json", json.dumps(config))),
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


VENDORS: Final[Mapping[str, Vendor]] = {
    one.name: one
    for one in (
        Vendor(
            name="claude", program="claude", package="@anthropic-ai/claude-code", prepare=_claude
        ),
        Vendor(name="codex", program="codex", package="@openai/codex", prepare=_codex),
        Vendor(name="opencode", program="opencode", package="opencode-ai", prepare=_opencode),
        Vendor(name="gemini", program="gemini", package="@google/gemini-cli", prepare=_gemini),
    )
}
"""Name -> agent."""
