"""What an ACP agent is started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from pods.agents.acp.settings import Settings

SERVER: Final[dict[str, Any]] = {
    "name": "pods",
    "command": "/bin/python",
    "args": ["-m", "pods", "mcp"],
    "env": [{"name": "PODS_SOCKET", "value": "/s"}],
}


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("codex-acp", "copilot", "gemini"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_an_agent_with_a_sandbox_of_its_own_is_told_to_leave_it_only_where_the_kernel_holds() -> (
    None
):
    settings = Settings("codex", {})
    assert settings.command(held=False) == ["codex-acp"]
    assert 'sandbox_mode="danger-full-access"' in settings.command(held=True)
    assert 'approval_policy="untrusted"' in settings.command(held=True)


def test_a_program_of_the_users_own_gets_no_words_that_it_was_not_given() -> None:
    settings = Settings("codex", {"argv": ["codex-acp", "-c", "model=x"]})
    assert settings.command(held=True) == ["codex-acp", "-c", "model=x"]
    assert Settings("gemini", {}).command(held=True) == ["gemini", "--acp"]


def test_an_agent_that_takes_no_servers_with_its_session_gets_ours_as_an_argument() -> None:
    *words, given = Settings("copilot", {}).command(held=True, servers=[SERVER])
    assert words == ["copilot", "--acp", "--additional-mcp-config"]
    entry = json.loads(given)["mcpServers"]["pods"]
    assert (entry["command"], entry["args"]) == (SERVER["command"], SERVER["args"])
    assert entry["env"] == {"PODS_SOCKET": "/s"}
    assert Settings("copilot", {}).command(held=True) == ["copilot", "--acp"]
    assert Settings("gemini", {}).command(held=True, servers=[SERVER]) == ["gemini", "--acp"]
    own = Settings("copilot", {"argv": ["copilot", "--acp", "--x"]})
    assert own.command(held=True, servers=[SERVER]) == ["copilot", "--acp", "--x"]
