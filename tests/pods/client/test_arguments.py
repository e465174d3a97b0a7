"""What a program says to `spawn`, as the request that goes over the wire."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pods.client.arguments import rules, spawn_request
from pods_protocol.errors import InvalidParams
from pods_protocol.values import Limits, RestartPolicy, ScopeRule


def test_paths_of_every_kind_become_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exact = ScopeRule(target="/x", permission="read", recursive=False)
    here = os.getcwd()
    assert rules(["a", Path("b"), exact], "write") == (
        ScopeRule(target=f"{here}/a", permission="write"),
        ScopeRule(target=f"{here}/b", permission="write"),
        exact,
    )
    assert rules([""], "read")[0].target == ""
    with pytest.raises(TypeError, match="put it in a list"):
        rules("src/api", "write")


def test_a_spawn_without_options_is_a_shell_in_the_current_directory() -> None:
    request = spawn_request("api", {})
    assert (request.agent, request.cwd, request.delegable) == ("shell", os.getcwd(), None)
    narrow = spawn_request("api", {"delegable": ["/a"], "deny": ["/b"]})
    assert narrow.delegable == (ScopeRule(target="/a", permission="write"),)
    assert narrow.deny == (ScopeRule(target="/b", permission="read"),)


def test_limits_and_a_policy_may_be_plain_mappings() -> None:
    asked = spawn_request(
        "api", {"limits": {"turns": 3}, "restart": {"when": "on-failure", "limit": 2}}
    )
    assert asked.limits == Limits(turns=3)
    assert asked.restart == RestartPolicy(when="on-failure", limit=2)
    with pytest.raises(InvalidParams, match="turns"):
        spawn_request("api", {"limits": {"turn": 3}})
    with pytest.raises(InvalidParams):
        spawn_request("api", {"restart": {"when": "always"}})
