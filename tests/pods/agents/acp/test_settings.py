"""What an ACP agent is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from pods.agents.acp.settings import Settings


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("codex-acp", "gemini"):
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
