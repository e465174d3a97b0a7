"""A pod as its clients see it: real socket, real journal, in this process."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from pod_agents import forever, in_order
from pod_support import (
    WAIT_SECONDS,
    PodFixture,
    connected,
    living_pod,
    until_idle,
)
from pods.agents.echo import EchoAgent
from pods.agents.turn import Turn
from pods.pod import server as server_module
from pods.rpc.client import RpcClient
from pods.rpc.server import Session
from pods_protocol import errors
from pods_protocol.events import Event
from pods_protocol.pod_messages import (
    GetStatus,
    Ping,
    ReadEvents,
    Run,
    Shutdown,
    WaitFor,
)


async def test_a_message_is_answered_and_all_of_it_is_in_the_journal(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        result = await client.request(Run(input="hello"))
        assert (result.state, result.turn) == ("started", 1)
        ended = await until_idle(client)
        assert ended.last_turn is not None
        assert ended.last_turn.stop_reason == "end_turn"
        assert pod.texts() == "hello"
        assert pod.kinds() == [
            "status", "message_accepted", "turn_started", "text", "turn_ended",
        ]  # fmt: skip


async def test_the_answer_comes_before_anything_that_the_agent_does(short_dir: str) -> None:
    order: list[str] = []

    async def agent(turn: Turn) -> None:
        order.append("agent")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        with pytest.MonkeyPatch.context() as patch:
            answered = Session.answer

            def answer(self: Any, *arguments: Any) -> None:
                order.append("answer")
                answered(self, *arguments)

            patch.setattr(Session, "answer", answer)
            await client.request(Run(input="x"))
            await until_idle(client)
    assert order[:2] == ["answer", "agent"]


async def test_a_full_disk_refuses_messages_and_the_pod_goes_on(short_dir: str) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        pod.disk.full = True
        with pytest.raises(errors.StorageFailed):
            await client.request(Run(input="x", message_id="again"))
        assert (await client.request(GetStatus())).state == "idle"
        pod.disk.full = False
        assert (await client.request(Run(input="x", message_id="again"))).state == "started"
        await until_idle(client)
        assert pod.texts() == "[x]"


@pytest.mark.parametrize("swallows", [True, False])
async def test_a_disk_that_fills_up_during_a_turn_makes_it_an_error(
    short_dir: str, monkeypatch: pytest.MonkeyPatch, swallows: bool
) -> None:
    monkeypatch.setattr(server_module, "STORAGE_RETRY_SECONDS", 0.01)
    pods: list[PodFixture] = []

    async def agent(turn: Turn) -> None:
        pods[0].disk.full = True
        try:
            await turn.text("lost")
        except errors.StorageFailed:
            if not swallows:
                raise

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        pods.append(pod)
        await client.request(Run(input="x"))
        with trio.fail_after(WAIT_SECONDS):
            await pod.complained.wait()
        assert (await client.request(GetStatus())).state == "working"
        pod.disk.full = False
        await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == "error"


async def test_a_success_whose_end_cannot_be_written_is_no_success(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STORAGE_RETRY_SECONDS", 0.01)
    pods: list[PodFixture] = []

    async def agent(_: Turn) -> None:
        pods[0].disk.full = True

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        pods.append(pod)
        await client.request(Run(input="x"))
        with trio.fail_after(WAIT_SECONDS):
            await pod.complained.wait()
        pod.disk.full = False
        await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == "error"


async def served_until_the_end(pod: PodFixture, client: RpcClient) -> None:
    await pod.ended.wait()
    await client.closed.wait()


async def test_shutdown_of_an_idle_pod_ends_it_and_tells_everybody(short_dir: str) -> None:
    events: list[Event] = []
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod, events=events) as client:
        async with trio.open_nursery() as nursery:

            async def wait_for_the_end() -> None:
                result = await client.request(WaitFor(until="ended", timeout_seconds=WAIT_SECONDS))
                assert (result.reached, result.state) == (True, "stopped")

            nursery.start_soon(wait_for_the_end)
            await client.request(Ping())
            await client.request(Shutdown())
        await served_until_the_end(pod, client)
        assert [event.type for event in events[-2:]] == ["status", "stopped"]
        assert events == pod.events()


async def test_finish_lets_the_turn_end(short_dir: str) -> None:
    go = trio.Event()

    async def agent(turn: Turn) -> None:
        await go.wait()
        await turn.text("done")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await client.request(Run(input="never", if_busy="queue"))
        await client.request(Shutdown(mode="finish"))
        assert (await client.request(GetStatus())).state == "stopping"
        with pytest.raises(errors.PodEnded):
            await client.request(Run(input="y"))
        go.set()
        await served_until_the_end(pod, client)
        assert pod.kinds()[-4:] == ["message_withdrawn", "text", "turn_ended", "stopped"]
        assert pod.ends()[0]["stop_reason"] == "end_turn"


async def test_now_cancels_the_turn_and_a_wait_ends_with_the_pod(short_dir: str) -> None:
    async with living_pod(short_dir, forever) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        async with trio.open_nursery() as nursery:

            async def wait_in_vain() -> None:
                result = await client.request(WaitFor(until="idle", timeout_seconds=WAIT_SECONDS))
                assert (result.reached, result.state) == (False, "stopped")

            async def read_in_vain() -> None:
                result = await client.request(
                    ReadEvents(kinds=("artifact",), wait_seconds=WAIT_SECONDS)
                )
                assert result.events == ()

            nursery.start_soon(wait_in_vain)
            nursery.start_soon(read_in_vain)
            await client.request(Ping())
            await client.request(Shutdown(mode="now"))
        await served_until_the_end(pod, client)
        assert pod.ends()[0]["stop_reason"] == "cancelled"
        assert pod.ends()[0]["message"] == "the pod was told to stop"


class Closing(EchoAgent):
    """Counts how often it is closed; the closing may fail."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("no")


@pytest.mark.parametrize("fails", [False, True])
async def test_an_agent_is_closed_once_at_the_end(short_dir: str, fails: bool) -> None:
    agent = Closing(fails)
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Shutdown())
        await served_until_the_end(pod, client)
        assert agent.closed == 1
        assert bool(pod.log) == fails


async def test_a_pod_goes_on_with_the_journal_of_one_that_died(short_dir: str) -> None:
    async with living_pod(short_dir, forever) as pod, connected(pod) as client:
        await client.request(Run(input="lost", message_id="l"))
        await client.request(Run(input="kept", if_busy="queue"))
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        await until_idle(client)
        assert [end["stop_reason"] for end in pod.ends()] == ["lost", "end_turn"]
        assert pod.texts().endswith("kept")
        assert (await client.request(Run(input="lost", message_id="l"))).turn == 1
        assert len(pod.ends()) == 2
