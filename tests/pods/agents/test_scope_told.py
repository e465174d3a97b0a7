"""How a pod's scope is told to its programs and to models, and the hint where one was refused."""

from __future__ import annotations

import json

import pytest

from pod_support import connected, living_pod, until_idle
from pods.agents import scope
from pods.agents.denials import Denials
from pods.agents.shell import ShellAgent
from pods.agents.turn import Turn
from pods_protocol.pod_messages import Run
from pods_protocol.values import Doors, ScopeGrant, ScopeRule


class Sink:
    """Takes output."""

    holds = False

    def __init__(self) -> None:
        self.data = b""

    def feed(self, stream: str, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def flush(self) -> None:
        """Nothing is held."""

    def end(self) -> None:
        """Nothing is held."""


def test_a_scope_is_told_as_patterns(short_dir: str) -> None:
    with open(f"{short_dir}/file", "w") as file:
        file.write("x")
    grant = ScopeGrant(
        allow=(
            ScopeRule(target=short_dir, permission="write"),
            ScopeRule(target=f"{short_dir}/file", permission="read"),
            ScopeRule(target="/usr", permission="read", recursive=False),
        ),
        deny=(ScopeRule(target="/etc", permission="write"),),
    )
    assert json.loads(scope.as_json(grant)) == {
        "write": [f"{short_dir}/**"],
        "read": [f"{short_dir}/file", "/usr/*"],
        "deny": [],
        "deny_write": ["/etc/**"],
    }
    text = scope.as_text(grant, name="api", cwd="/p")
    assert f"You may read and write:\n- {short_dir}/**\n" in text
    assert "pods explain api" in text


def test_what_is_closed_besides_files_is_told_too() -> None:
    doors = Doors(network="none", unix_sockets="none")
    told = json.loads(scope.as_json(ScopeGrant(), doors))
    assert (told["network"], told["unix_sockets"]) == ("none", "none")
    text = scope.as_text(ScopeGrant(), name="api", cwd="/p", doors=doors)
    assert "You have no network" in text
    assert "Unix sockets" in text
    near = scope.as_text(ScopeGrant(), name="api", cwd="/p", doors=Doors(network="loopback"))
    assert "127.0.0.1" in near
    usual = scope.as_text(ScopeGrant(), name="api", cwd="/p")
    assert "network" not in usual
    assert "Unix" not in usual


def test_a_scope_of_many_rules_stays_within_its_bound() -> None:
    rules = tuple(
        ScopeRule(target=f"/gone/{'x' * 80}/{number}", permission="write") for number in range(1000)
    )
    told = scope.as_json(ScopeGrant(allow=rules))
    assert len(told) <= scope.MAX_SCOPE_BYTES
    assert len(json.loads(told)["write"]) + json.loads(told)["left_out"] == 1000
    text = scope.as_text(ScopeGrant(allow=rules), name="api", cwd="/p")
    assert len(text) <= scope.MAX_SCOPE_BYTES + 100
    assert " more\n" in text


@pytest.mark.parametrize("cut", [1, 10, 16])
def test_a_sign_of_a_refusal_is_seen_across_two_reads(cut: int) -> None:
    sink = Sink()
    watched = Denials(sink)
    said = b"cat: x: Permission denied\n"
    watched.feed("stderr", said[:cut])
    watched.feed("stdout", b"between")
    seen = [watched.seen]
    watched.feed("stderr", said[cut:])
    seen.append(watched.seen)
    assert seen == [False, True]
    assert len(sink.data) == len(said) + 7


async def test_a_shell_turn_that_was_refused_something_says_how_to_find_out(short_dir: str) -> None:
    line = "echo $PODS_SCOPE; echo 'x: Permission denied' >&2; "
    async with living_pod(short_dir, ShellAgent()) as pod, connected(pod) as client:
        await client.request(Run(input=line + "exit 2"))
        await until_idle(client)
        await client.request(Run(input=line + "exit 0"))
        await until_idle(client)
        await client.request(Run(input="exit 2"))
        await until_idle(client)
        refused, fine, failed = pod.ends()
        assert refused["message"].startswith("exit status 2; ")
        assert "pods explain worker -- COMMAND" in refused["message"]
        assert (fine.get("message", ""), failed["message"]) == ("", "exit status 2")
        assert '{"write":[' in pod.texts()


async def test_a_model_agent_can_tell_its_scope_in_a_prompt(short_dir: str) -> None:
    async def tell(turn: Turn) -> None:
        await turn.text(turn.scope_text())

    async with living_pod(short_dir, tell) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        assert f"your working directory is {short_dir}" in pod.texts()
