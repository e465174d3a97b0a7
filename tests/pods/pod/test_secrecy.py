"""A pod whose agent has secrets is one that no program of its user can look into."""

from __future__ import annotations

import ctypes
import os
import sys
from types import ModuleType

import pytest

from pod_support import make_spec
from pods.agents.base import TurnEnd
from pods.agents.loading import load_agent
from pods.keeper.environ import own_environ
from pods.pod.main import secrets_of
from pods.pod.secrecy import keep_memory_private
from pods_protocol.errors import AgentError

PR_GET_DUMPABLE = 3
SECRET = {"PODS_SECRET_KEY": "hush", "PLAIN": "told"}


class TakesSecrets:
    def __init__(self, secrets: dict[str, str]) -> None:
        self.secrets = secrets

    async def run_turn(self, turn: object) -> TurnEnd:
        return TurnEnd()


def test_secrets_are_for_the_agent_and_in_no_environment(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(short_dir, env=SECRET)
    environ = own_environ(spec)
    assert environ["PLAIN"] == "told"
    assert "hush" not in str(environ)
    assert secrets_of(spec) == {"KEY": "hush"}
    module = ModuleType("secret_agents_m1")
    module.__dict__["Agent"] = TakesSecrets
    monkeypatch.setitem(sys.modules, module.__name__, module)
    agent = load_agent("secret_agents_m1:Agent", {}, cwd=short_dir, secrets={"KEY": "hush"})
    assert isinstance(agent, TakesSecrets)
    assert agent.secrets == {"KEY": "hush"}


def test_an_agent_that_takes_no_secrets_says_so(short_dir: str) -> None:
    with pytest.raises(AgentError, match="takes no secrets"):
        load_agent("echo", {}, cwd=short_dir, secrets={"KEY": "hush"})


def test_a_process_with_secrets_cannot_be_looked_into() -> None:
    child = os.fork()
    if child == 0:
        keep_memory_private()
        os._exit(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
