"""How each vendor's agent is told to ask a model of our own, and to send nothing home.

Owns what is written into a home directory before a run, and the words and variables of it: the
address of the scripted endpoint, a key that is none, no telemetry, no updates. Used by `vendors`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import frozen

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


def claude(home: Home, mcp: str | None) -> Told:
    """Claude Code: variables, and a file for its MCP servers."""
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


def codex(home: Home, mcp: str | None) -> Told:
    """Codex: one file. Its catalogue of plugins and its apps are fetched at every start."""
    home.write(
        ".codex/config.toml",
        f'model = "{MODEL}"\nmodel_provider = "scripted"\n'
        "check_for_update_on_startup = false\nfeatures.apps = false\nfeatures.plugins = false\n"
        "[model_providers.scripted]\n"
        f'name = "scripted"\nbase_url = "{home.url}/v1"\nwire_api = "responses"\n'
        'env_key = "SCRIPTED_KEY"\n'
        "[analytics]\nenabled = false\n" + (mcp or ""),
    )
    return Told(
        ["exec", "--json", "--skip-git-repo-check"],
        {"SCRIPTED_KEY": DUMMY_KEY},
    )


def opencode(home: Home, mcp: str | None) -> Told:
    """opencode: one file. It installs a package into each directory of settings, by npm."""
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
            "npm_config_offline": "true",  # no variable of its own keeps it from that package
        },
    )


def gemini(home: Home, mcp: str | None) -> Told:
    """Gemini CLI: one file."""
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


def qwen(home: Home, mcp: str | None) -> Told:
    """Qwen Code: as Gemini CLI, which it comes from, with another API."""
    settings: dict[str, Any] = json.loads(mcp or "{}")
    settings["security"] = {"auth": {"selectedType": "openai"}}
    settings["privacy"] = {"usageStatisticsEnabled": False}
    settings["telemetry"] = {"enabled": False}
    settings["general"] = {"disableAutoUpdate": True, "disableUpdateNag": True}
    home.write(".qwen/settings.json", json.dumps(settings))
    return Told(
        ["--output-format", "stream-json", "--yolo", "-p"],
        {
            "OPENAI_API_KEY": DUMMY_KEY,
            "OPENAI_BASE_URL": f"{home.url}/v1",
            "OPENAI_MODEL": MODEL,
        },
    )


def copilot(home: Home, mcp: str | None) -> Told:
    """GitHub Copilot CLI: variables, and a file for its MCP servers."""
    if mcp is not None:
        home.write(".copilot/mcp-config.json", mcp)
    return Told(
        ["--allow-all-tools", "--no-auto-update", "-p"],
        {
            "COPILOT_PROVIDER_BASE_URL": f"{home.url}/v1",
            "COPILOT_PROVIDER_API_KEY": DUMMY_KEY,
            "COPILOT_MODEL": MODEL,
            "COPILOT_OFFLINE": "true",
            "COPILOT_AUTO_UPDATE": "false",
        },
    )


def vibe(home: Home, mcp: str | None) -> Told:
    """Mistral Vibe: one file. Of an MCP server's entry it takes what every host takes."""
    servers = "".join(
        f'[[mcp_servers]]\nname = "{name}"\ntransport = "stdio"\n'
        f"command = {json.dumps(entry['command'])}\nargs = {json.dumps(entry['args'])}\n"
        f"[mcp_servers.env]\n"
        + "".join(f"{one} = {json.dumps(value)}\n" for one, value in entry.get("env", {}).items())
        for name, entry in json.loads(mcp or '{"mcpServers": {}}')["mcpServers"].items()
    )
    home.write(
        ".vibe/config.toml",
        f'active_model = "{MODEL}"\n'
        "enable_telemetry = false\nenable_update_checks = false\nenable_auto_update = false\n"
        f'enable_connectors = false\nvibe_base_url = "{home.url}"\n'
        "[[providers]]\n"
        f'name = "scripted"\napi_base = "{home.url}/v1"\napi_key_env_var = "SCRIPTED_KEY"\n'
        'api_style = "openai"\nbackend = "generic"\n'
        "[[models]]\n"
        f'name = "{MODEL}"\nprovider = "scripted"\nalias = "{MODEL}"\n' + servers,
    )
    return Told(
        ["--output", "streaming", "--auto-approve", "-p"],
        {"SCRIPTED_KEY": DUMMY_KEY},
    )


def fast_agent(home: Home, mcp: str | None) -> Told:
    """fast-agent: variables, and a file for its MCP servers (JSON is YAML)."""
    servers = json.loads(mcp or '{"mcpServers": {}}')["mcpServers"]
    config = home.write("fastagent.config.yaml", json.dumps({"mcp": {"servers": servers}}))
    chosen = ["--servers", ",".join(servers)] if servers else []
    return Told(
        ["go", "--config-path", str(config), *chosen, "--message"],
        {
            "GENERIC_BASE_URL": f"{home.url}/v1",
            "GENERIC_API_KEY": DUMMY_KEY,
            "DEFAULT_MODEL": f"generic.{MODEL}",
            "FAST_AGENT_MODEL": f"generic.{MODEL}",
        },
    )
