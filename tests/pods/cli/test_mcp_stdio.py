"""The edge of `pods mcp` on real pipes, with tools that answer as a test wants them to."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pods.cli import mcp_stdio
from pods.cli.mcp_relay import Relay, RunningCall, Session, default_session
from pods.cli.mcp_stdio import Bridge
from pods.paths import check_name, places_from
from pods_protocol.errors import NotConnected, StorageFailed
from pods_tools.mcp import McpServer
from pods_tools.result import ToolResult
from supervisor_support import WAIT_SECONDS


class FakeRelay:
    """Answers at once, `Last` after all others, `Long` when told to; keeps what was never shown."""

    def __init__(self) -> None:
        self.enough = threading.Event()
        self.lost: list[str] = []
        self.first: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()

    def call(self, name: str, _arguments: Any, _running: RunningCall) -> ToolResult:
        if name == "Last":
            self.first.get(timeout=WAIT_SECONDS).join()
        elif name == "Long":
            assert self.enough.wait(WAIT_SECONDS)
        else:
            self.first.put(threading.current_thread())
        return ToolResult(summary=name)

    def unshown(self, result: ToolResult) -> None:
        self.lost.append(result.summary)


class Pipes:
    """Both ends of both pipes."""

    def __init__(self) -> None:
        self.reading, self.host_writes = os.pipe()
        self.host_reads, self.writing = os.pipe()
        self.open = {self.reading, self.host_writes, self.host_reads, self.writing}
        self.relay = FakeRelay()

    def close(self, *descriptors: int) -> None:
        """Close these, each once: a number may be the bridge's own afterwards."""
        for descriptor in descriptors:
            self.open.remove(descriptor)
            os.close(descriptor)

    def serve(self, *messages: Any) -> bool:
        """Say these, hang up, and serve to the end."""
        lines = (json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
        os.write(self.host_writes, "".join(lines).encode())
        self.close(self.host_writes)
        server = McpServer([], version="0", instructions="")
        relay = cast("Relay", self.relay)
        return Bridge(server, relay, self.reading, self.writing).run()

    def answers(self) -> list[Any]:
        """What the host has been told."""
        self.close(self.writing)
        with open(self.host_reads, closefd=False) as file:
            return [json.loads(line) for line in file]


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipes]:
    """Calls have as long as they need once the host has hung up, which is at once here."""
    monkeypatch.setattr(mcp_stdio, "FAREWELL_SECONDS", WAIT_SECONDS)
    made = Pipes()
    yield made
    made.close(*made.open)


HELLO = {"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}
CALL = {"id": 1, "method": "tools/call", "params": {"name": "Say"}}


def test_what_was_asked_before_the_host_hung_up_is_answered(pipes: Pipes) -> None:
    assert pipes.serve(HELLO, CALL)
    assert [answer["id"] for answer in pipes.answers()] == [0, 1]
    assert pipes.relay.lost == []


def test_a_result_that_a_cancellation_overtook_counts_as_never_shown(pipes: Pipes) -> None:
    cancel = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    last = {**CALL, "id": 2, "params": {"name": "Last"}}
    pipes.serve(HELLO, CALL, cancel, last)
    assert [answer["id"] for answer in pipes.answers()] == [0, 2]
    assert pipes.relay.lost == ["Say"]


def test_a_host_that_does_not_read_any_more_ends_it(pipes: Pipes) -> None:
    pipes.close(pipes.host_reads)
    assert not pipes.serve(HELLO)


def test_a_long_call_tells_again_and_again_that_it_is_under_way(
    pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends once its host has been told three times."""
    monkeypatch.setattr(mcp_stdio, "PROGRESS_SECONDS", 0.001)
    heard: list[Any] = []

    def listen() -> None:
        with open(pipes.host_reads, closefd=False) as file:
            for line in file:
                heard.append(json.loads(line))
                if sum("method" in one for one in heard) == 3:
                    pipes.relay.enough.set()

    host = threading.Thread(target=listen)
    host.start()
    meta = {"name": "Long", "_meta": {"progressToken": "t"}}
    assert pipes.serve(HELLO, {**CALL, "params": meta})
    pipes.close(pipes.writing)
    host.join()
    told = [one["params"] for one in heard if "method" in one]
    assert {one["method"] for one in heard if "method" in one} == {"notifications/progress"}
    assert all(
        one["progressToken"] == "t" and "Long is under way" in one["message"] for one in told
    )
    assert [one["progress"] for one in told] == sorted(one["progress"] for one in told)
    assert heard[-1]["id"] == 1


def test_a_call_that_was_cancelled_asks_for_nothing_more() -> None:
    running = RunningCall()
    running.cancel()
    with pytest.raises(NotConnected, match="cancelled"), running.using(cast("Any", None)):
        pass


@pytest.mark.parametrize(
    "directory", ["/", "/home/me/My Project", "/x/" + "long" * 60, "/x/été", "/x/--", "/x/a\udcff"]
)
def test_every_directory_gives_a_session_a_name_of_its_own(directory: str) -> None:
    name = default_session(directory)
    assert check_name(f"{name}-9") == f"{name}-9"
    assert name != default_session(directory + "x")


def test_a_session_that_the_disk_refuses_says_where_and_is_no_fault_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = places_from({"PODS_RUNTIME_DIR": f"{tmp_path}/file/r"}, os.geteuid())
    with pytest.raises(StorageFailed, match="cannot begin a session: Not a directory") as raised:
        Session(places.supervisor("default"), "mine").claim()
    assert raised.value.data["path"].startswith(f"{tmp_path}/file/r")
