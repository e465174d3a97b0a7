"""`pods mcp` as a host has it: real pipes, a real supervisor, real pods."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from end_to_end_support import PODS, Door, code_of, open_door
from mcp_support import Host
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_tools import export
from supervisor_support import processes_of

pytestmark = pytest.mark.slow
SCHEMAS = {tool["name"]: tool["outputSchema"] for tool in export("mcp")}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with open_door() as made:
        yield made


def good(host: Host, tool: str, **arguments: Any) -> Any:
    result = host.tool(tool, **arguments)
    assert result["isError"] is False, result
    jsonschema.validate(result["structuredContent"], SCHEMAS[tool])
    return result["structuredContent"]


def refused(host: Host, tool: str, **arguments: Any) -> str:
    result = host.tool(tool, **arguments)
    assert result["isError"] is True
    assert "structuredContent" not in result
    (block,) = result["content"]
    assert "Next: " in block["text"]
    return str(result["_meta"]["pods/error"]["code"])


def said(host: Host, pod: str) -> str:
    """What a pod has said since, once its turn is over."""
    text = ""
    while (read := good(host, "ReadPodOutput", pod=pod))["turn_runs"]:
        text += read["text"]
    return text + str(read["text"])


def state_of(door: Door, pod: str) -> str:
    return str(door.ask("inspect", pod)["pod"]["state"])


def test_the_five_tools_do_what_they_say_with_right_and_with_wrong_arguments(door: Door) -> None:
    with Host(door, "--session", "five") as host:
        assert good(host, "SpawnPod", name="five", prompt="pwd")["cwd"] == door.work
        assert said(host, "five") == f"{door.work}\n"
        assert good(host, "SendToPod", pod="five", message="echo again")["state"] == "started"
        assert said(host, "five") == "again\n"
        (row,) = good(host, "ListPods")["pods"]
        assert (row["pod"], row["unread"]) == ("five", 0)
        assert refused(host, "SpawnPod", name="five") == "name_taken"
        assert refused(host, "SpawnPod", title="x") == "invalid_params"
        assert refused(host, "SendToPod", pod="five") == "invalid_params"
        assert refused(host, "ReadPodOutput", pod="nobody") == "unknown_pod"
        assert refused(host, "StopPod", pod="five", mode="never") == "invalid_params"
        assert refused(host, "ListPods", pods=[]) == "invalid_params"
        result = host.tool("Spawn")
        assert result["isError"] is True
        assert "SpawnPod" in result["content"][0]["text"]
        assert good(host, "StopPod", pod="five")["state"] == "stopped"


def test_a_session_has_its_own_pods_and_finds_them_again_by_its_name(door: Door) -> None:
    with Host(door, "--session", "ours") as ours, Host(door, "--session", "theirs") as theirs:
        assert "session ours" in ours.greeting["instructions"]
        good(ours, "SpawnPod", name="mine", prompt="echo unread")
        assert ours.names() == ["mine"]
        assert theirs.names() == []
        assert refused(theirs, "SendToPod", pod="mine", message="echo x") == "unknown_pod"
        assert refused(theirs, "StopPod", pod="mine") == "unknown_pod"
        assert refused(theirs, "SpawnPod", name="mine") == "name_taken"
    assert door.ask("inspect", "mine")["pod"]["session"] == "ours"
    with Host(door, "--session", "ours") as again:
        assert again.names() == ["mine"]
        assert good(again, "ReadPodOutput", pod="mine")["text"] == "unread\n"
        assert refused_for_twin(door) == "busy"
        good(again, "StopPod", pod="mine")


def test_a_session_may_not_do_what_concerns_everybody_and_a_pod_has_none(door: Door) -> None:
    door("spawn", "outside")
    greet = {"protocol": PROTOCOL_VERSION, "session": "narrow"}
    with door.wire() as wire:
        wire.ask("hello", token=door.token(), **greet)
        assert code_of(wire.ask("shutdown")) == "not_authorized"
        assert code_of(wire.ask("doctor", fix=True)) == "not_authorized"
        assert code_of(wire.ask("subscribe")) == "not_supported"
        assert code_of(wire.ask("inspect", pod="outside")) == "unknown_pod"
        assert wire.ask("scope.show")["result"]["holders"] == []
        assert wire.ask("list")["result"]["pods"] == []
        assert wire.ask("list")["result"]["capacity"]["children"] == 0
    with door.wire() as wire:
        wire.hello(door.token())
        token = wire.ask("connect", pod="outside")["result"]["token"]
    with door.wire() as wire:
        assert code_of(wire.ask("hello", token=token, **greet)) == "not_authorized"
    with door.wire() as wire:
        greet["session"] = "../x"
        assert code_of(wire.ask("hello", token=door.token(), **greet)) == "invalid_name"
    door("stop", "outside")


def refused_for_twin(door: Door) -> str:
    with Host(door, "--session", "ours") as twin:
        return refused(twin, "ListPods")


def test_hosts_in_one_directory_get_sessions_of_their_own(door: Door) -> None:
    with Host(door) as first, Host(door) as second:
        good(first, "SpawnPod", name="first")
        assert second.names() == []
        good(second, "SpawnPod", name="second")
        assert first.names() == ["first"]
        sessions = [door.ask("inspect", name)["pod"]["session"] for name in ("first", "second")]
        assert sessions[1] == f"{sessions[0]}-2"
        for host, name in ((first, "first"), (second, "second")):
            good(host, "StopPod", pod=name)


@pytest.mark.parametrize("end", ["hang up", "SIGTERM"])
def test_pods_are_kept_or_stopped_when_the_host_goes_as_it_was_chosen(door: Door, end: str) -> None:
    name = end.replace(" ", "-")
    for choice, state in (("keep", "idle"), ("stop", "stopped")):
        host = Host(door, "--session", name, "--on-exit", choice)
        pod = f"{name}-{choice}"
        good(host, "SpawnPod", name=pod)
        if end == "SIGTERM":
            host.process.send_signal(signal.SIGTERM)
            host.wait()
        else:
            host.close()
        assert state_of(door, pod) == state
    assert state_of(door, f"{name}-keep") == "stopped", "it was of the same session"


def test_a_host_that_goes_after_everything_was_ended_starts_nothing() -> None:
    """It has read something that it would tell a supervisor of; there is none any more."""
    with open_door() as own:
        with Host(own, "--session", "late") as host:
            good(host, "SpawnPod", name="late", prompt="echo x")
            good(host, "ReadPodOutput", pod="late")
            own("down", "--stop-pods")
        assert processes_of(own.environ) == []


def test_a_cancelled_read_loses_nothing_and_others_are_served_meanwhile(door: Door) -> None:
    gate = f"{door.work}/gate"
    os.mkfifo(gate)
    with Host(door, "--session", "cancel") as host:
        good(host, "SpawnPod", name="slow", prompt=f"cat < {gate}", read=[gate])
        asked = host.begin(
            "tools/call",
            {
                "name": "ReadPodOutput",
                "arguments": {"pod": "slow"},
                "_meta": {"progressToken": "token"},
            },
        )
        assert host.names() == ["slow"]
        host.tell("notifications/cancelled", {"requestId": asked, "reason": "enough"})
        Path(gate).write_text("at last\n")
        read = good(host, "ReadPodOutput", pod="slow")
        assert read["text"] == "at last\n"
        good(host, "StopPod", pod="slow")


def test_what_is_printed_beside_the_protocol_never_reaches_the_host(door: Door) -> None:
    code = """
import os, sys
from pods.cli import main, mcp_relay
real = mcp_relay.Relay.call
def call(*given):
    print("stray", flush=True)
    os.system("echo stray; cat")
    os.write(1, b"stray")
    return real(*given)
mcp_relay.Relay.call = call
sys.exit(main(["mcp", "--session", "stray"]))
"""
    host = Host(door, argv=[sys.executable, "-P", "-c", code])
    assert host.names() == []
    assert host.close().count("stray") == 3


TALK = """
import subprocess, sys
at = sys.argv.index("--")
with subprocess.Popen(sys.argv[at + 1 :], stdin=-1, stdout=-1, text=True) as server:
    for line in sys.argv[1:at]:
        print(line, file=server.stdin, flush=True)
        print(server.stdout.readline(), end="", flush=True)
"""
"""A host that stays until it is answered: the calls of one that hung up have five seconds left."""


def talk(calls: list[dict[str, Any]], server: list[str]) -> str:
    """For a shell: say these to the server, and print the answer to each."""
    lines = [json.dumps({"jsonrpc": "2.0", "id": at, **one}) for at, one in enumerate(calls)]
    return shlex.join([sys.executable, "-I", "-c", TALK, *lines, "--", *server])


def test_inside_a_pod_it_speaks_for_that_pod(door: Door) -> None:
    calls = [
        {"method": "initialize", "params": {"protocolVersion": "2025-06-18"}},
        {"method": "tools/call", "params": {"name": "SpawnPod", "arguments": {"name": "child"}}},
    ]
    script = talk(calls, [*PODS, "mcp"])
    door("spawn", "parent", "--call-back", "--prompt", script, "--wait")
    pod = door.ask("inspect", "child")["pod"]
    assert (pod["parent"], pod["session"]) == ("parent", "")
    door("stop", "parent")


def test_in_a_pod_that_may_not_call_back_a_model_is_told_to_do_the_work_itself(door: Door) -> None:
    """Its host has our server from the configuration of a user, which was copied into the pod."""
    spawn = {"name": "SpawnPod", "arguments": {"name": "child"}}
    calls = [
        {"method": "initialize", "params": {"protocolVersion": "2025-06-18"}},
        {"method": "tools/call", "params": spawn},
    ]
    rooms = [f"{name}={door.environ[name]}" for name in ("PODS_RUNTIME_DIR", "PODS_STATE_DIR")]
    script = talk(calls, ["env", *rooms, *PODS, "mcp", "--on-exit", "stop"])
    door("spawn", "alone", "--write", door.work, "--prompt", script, "--wait")
    said = door("read", "alone").out
    assert "Traceback" not in said
    assert "pods itself has a fault" not in said
    assert "cannot use pods from here" in said
    assert "--call-back" in said
    assert "Next: do the work yourself" in said
    door("stop", "alone")


def test_a_fault_of_ours_is_an_error_of_the_call_and_the_rest_goes_on(door: Door) -> None:
    code = """
import sys
from pods.cli import main, mcp_relay
real = mcp_relay.Relay.call
def call(self, name, arguments, running):
    if name == "StopPod":
        raise RuntimeError("a fault")
    return real(self, name, arguments, running)
mcp_relay.Relay.call = call
sys.exit(main(["mcp", "--session", "fault"]))
"""
    host = Host(door, argv=[sys.executable, "-P", "-c", code])
    result = host.tool("StopPod", pod="x")
    assert result["isError"] is True
    assert "pods itself has a fault" in result["content"][0]["text"]
    assert host.names() == []
    assert "RuntimeError: a fault" in host.close(faulty=True)


def test_every_configuration_starts_the_server_that_it_names(door: Door) -> None:
    started: set[tuple[str, ...]] = set()
    for host in ("claude", "codex", "opencode", "gemini", "qwen", "copilot", "json"):
        answer = door("mcp", "--config", host, "--session", "s")
        made = tomllib.loads(answer.out) if host == "codex" else json.loads(answer.out)
        section = next(value for key, value in made.items() if key != "$schema")
        entry = section["pods"]
        words = entry["command"] if host == "opencode" else [entry["command"], *entry["args"]]
        environ = entry.get("env") or entry.get("environment")
        assert environ["PODS_STATE_DIR"] == door.environ["PODS_STATE_DIR"]
        assert os.path.isabs(words[0])
        assert "goes into" in answer.err
        started.add(tuple(words))
    (words,) = started
    assert [*words] == [*PODS, "mcp", "--session", "s"]


@pytest.mark.parametrize("name", ["codex", "copilot", "gemini", "opencode", "qwen"])
def test_installing_runs_the_hosts_own_command(door: Door, name: str) -> None:
    script = Path(door.directory, "bin", name)
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')
    script.chmod(0o755)
    answer = door("mcp", "--install", name, code=3)
    words = answer.out.splitlines()
    assert words[:2] == ["mcp", "add"]
    assert [word for word in words if word != "--"][-4:] == ["-P", "-m", "pods", "mcp"]
    assert f"PODS_STATE_DIR={door.environ['PODS_STATE_DIR']}" in words
    script.unlink()


def test_claude_is_installed_with_what_its_own_add_has_no_flag_for(door: Door) -> None:
    script = Path(door.directory, "bin", "claude")
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    script.chmod(0o755)
    *words, entry = door("mcp", "--install", "claude").out.splitlines()
    assert words == ["mcp", "add-json", "--scope", "user", "pods"]
    shown = json.loads(door("mcp", "--config", "claude").out)["mcpServers"]["pods"]
    assert json.loads(entry) == shown
    assert shown["alwaysLoad"] is True
    script.unlink()


CODEX = """#!/bin/sh
[ "$1" = mcp ] && exit 0
while read -r line; do
  printf '%s\\n' "$line" >> heard
  case $line in
    *config/value/write*) printf '%s\\n' '{"method": "told"}' '{"id": 1, "ANSWER": {}}' ;;
  esac
done
"""
"""Stands for Codex: it adds whatever it is told, and answers a wish as a test wants it to."""


def test_codex_is_installed_with_what_its_own_add_has_no_flag_for(door: Door) -> None:
    script = Path(door.directory, "bin", "codex")
    shown = tomllib.loads(door("mcp", "--config", "codex").out)["mcp_servers"]["pods"]
    for answer in ("result", "error"):
        script.write_text(CODEX.replace("ANSWER", answer))
        script.chmod(0o755)
        told = door("mcp", "--install", "codex").err
        assert ("env_vars" in told) is (answer == "error"), told
    wish = json.loads(Path(door.work, "heard").read_text().splitlines()[-1])["params"]
    assert wish["keyPath"] == "mcp_servers.pods.env_vars"
    assert wish["value"] == shown["env_vars"]
    script.write_text('#!/bin/sh\n[ "$1" = mcp ]\n')
    assert "pods mcp --config codex" in door("mcp", "--install", "codex").err
    script.unlink()


def test_a_host_without_a_command_or_that_is_not_there_is_told_what_to_do(door: Door) -> None:
    for name, words in (("json", "has no command for it"), ("codex", "no `codex` on the PATH")):
        answer = door("mcp", "--install", name, code=1, environ={"PATH": f"{door.directory}/bin"})
        assert words in answer.err
        assert f"pods mcp --config {name}" in answer.err
    answer = door("mcp", "--install", "codex", "--config", "codex", code=2)
    assert "give --config or --install" in answer.err


def test_it_starts_without_what_only_calls_need() -> None:
    code = "import sys, pods.cli.mcp, pods.cli.mcp_stdio; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-P", "-c", code], text=True).split()
    heavy = {"trio", "attr", "cattrs", "orjson", "jsonschema", "asyncio", "subprocess", "filelock"}
    assert not heavy & {*loaded}
