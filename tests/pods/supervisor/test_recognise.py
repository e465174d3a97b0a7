"""Processes of pods that bring no token: known by where they stand, and to nobody else's profit."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from pods.client import aio
from pods.rpc.unix import peer_process
from pods.scope.identity import identify
from pods.supervisor.recognise import pid_of, pod_above
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.errors import NotAuthorized
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ScopeRule
from supervisor_support import WAIT_SECONDS, supervisor_and_client, wait_text

ASK = """
import json, os, socket, sys
way, path = sys.argv[1:3]
sock = socket.socket(socket.AF_UNIX)
def ask(number, method, params):
    sock.sendall(json.dumps(
        {"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\\n")
    return json.loads(file.readline())
if way == "reaped":
    if not os.fork():
        sock.connect(path)
        os._exit(0)
    os.wait()
else:
    sock.connect(path)
file = sock.makefile()
hello = ask(1, "hello", {"token": "", "protocol": PROTOCOL})
if "error" in hello:
    told = hello["error"]["message"]
else:
    told = " ".join(pod["name"] for pod in ask(2, "list", {})["result"]["pods"])
print(way, "told:", told, flush=True)
if way == "daemon":
    open(sys.argv[3], "w").write(told)
""".replace("PROTOCOL", str(PROTOCOL_VERSION))


def can_tell() -> bool:
    """Whether this kernel says which process is at the other end."""
    one, other = socket.socketpair()
    with one, other:
        found = peer_process(one)
        if found is not None:
            os.close(found)
        return found is not None


needs_pidfd = pytest.mark.skipif(not can_tell(), reason="needs Linux 6.5")


def line(way: str, path: str, *more: str, before: str = "") -> str:
    return f"{before} {shlex.join([sys.executable, '-I', '-S', '-c', ASK, way, path, *more])}"


@pytest.fixture
def work(short_dir: str) -> Path:
    path = Path(short_dir, "w")
    path.mkdir()
    os.mkfifo(path / "told")
    return path


@needs_pidfd
async def test_a_pods_processes_speak_in_its_name_where_it_may_call_back(
    pods_environ: dict[str, str], work: Path
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        path = supervisor.places.socket
        with trio.fail_after(WAIT_SECONDS):
            rule = ScopeRule(target=str(work), permission="write")
            for name, call_back in (("may", True), ("other", True), ("may-not", False)):
                spawned = await client.request(
                    SpawnPod(name=name, allow=(rule,) * (name == "may"), call_back=call_back)
                )
                async with aio.connect_socket(path, spawned.token) as inside:
                    await inside.spawn(f"child-of-{name}", agent="echo")
            told = str(work / "told")
            hidden = line("daemon", path, told, before="env -i setsid")
            await client.send("may", f"{line('plain', path)}; ({hidden} >/dev/null 2>&1 &)")
            await wait_text(client, "may", "plain told: child-of-may\n")
            said = await trio.to_thread.run_sync(Path(told).read_text, abandon_on_cancel=True)
            assert said == "child-of-may"
            await client.wait("may")
            await client.send("may", line("reaped", path))
            await wait_text(client, "may", "reaped told: cannot take a hello without a token")
            await client.send("other", line("plain", path))
            await wait_text(client, "other", "plain told: child-of-other\n")
            await client.send("may-not", line("plain", path))
            await wait_text(client, "may-not", "spawned without `call_back`")
            with pytest.raises(NotAuthorized, match="none of a living pod"):
                async with aio.connect_socket(path, ""):
                    pass
            for name in ("may", "other", "may-not"):
                await client.stop(name)


def _tree() -> tuple[int, list[int], int]:
    """A keeper with a child and a grandchild; all wait until the descriptor is closed."""
    reader, writer = os.pipe()
    up, down = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(writer)
        for _ in range(2):
            child = os.fork()
            if child:
                break
        os.write(down, b"%d " % os.getpid())
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    os.close(down)
    said = b""
    while said.count(b" ") < 3:
        said += os.read(up, 100)
    os.close(up)
    return keeper, [int(pid) for pid in said.split() if int(pid) != keeper], writer


def test_the_way_up_ends_at_the_right_keeper_and_at_that_alone() -> None:
    keeper, below, writer = _tree()
    try:
        keepers: dict[int, Any] = {keeper: (identify(keeper), "pod")}
        stranger = {keeper: (identify(os.getpid()), "pod")}
        for pid in below:
            held = os.pidfd_open(pid)
            assert pid_of(held) == pid
            assert pod_above(held, keepers) == "pod"
            assert pod_above(held, {}) is None
            # Another process by the keeper's number.
            assert pod_above(held, stranger) is None
            os.close(held)
        outside = os.pidfd_open(os.getpid())
        assert pod_above(outside, keepers) is None
        os.close(outside)
    finally:
        os.close(writer)
        held = os.pidfd_open(keeper)
        os.waitpid(keeper, 0)
    assert pid_of(held) is None
    assert pod_above(held, keepers) is None
    os.close(held)
