"""How long `ReadPodOutput` waits: for news, for a short turn's end, never longer than asked."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

from pods_protocol.supervisor_messages import ReadOutput
from pods_tools import BlockingToolset, Toolset
from tools_clients import BlockingFakeClient, FakeClient, read
from tools_support import FakePod, FakeSupervisor


def test_an_idle_pod_is_not_waited_for(
    supervisor: FakeSupervisor, pod: FakePod, tools: BlockingToolset
) -> None:
    assert read(tools, wait_seconds=30).data["text"] == ""
    reads = [asked for asked in supervisor.asked if isinstance(asked, ReadOutput)]
    assert {asked.wait_seconds for asked in reads} == {0.0}
    assert pod.state == "idle"


def test_a_blocking_read_waits_for_the_first_word_of_a_running_turn(
    supervisor: FakeSupervisor, pod: FakePod
) -> None:
    client = BlockingFakeClient(supervisor)
    client.while_waiting = [lambda: pod.say("soon"), pod.finish]
    pod.begin("a")
    result = read(BlockingToolset(client), wait_seconds=10)
    assert result.data["text"] == "soon"
    assert result.data["state"] == "idle"


async def test_a_read_waits_for_news_and_gives_a_short_turn_time_to_end(
    supervisor: FakeSupervisor, pod: FakePod, nursery: trio.Nursery, autojump_clock: object
) -> None:
    pod.begin("a")

    async def work() -> None:
        await trio.sleep(10)
        pod.say("a")
        await trio.sleep(0.5)
        pod.say("b")
        pod.finish()

    nursery.start_soon(work)
    result = await Toolset(FakeClient(supervisor)).call("ReadPodOutput", {"pod": "api"})
    assert result.data["text"] == "ab"
    assert "completed" in result.summary


async def test_a_long_turn_is_shown_as_it_goes(
    supervisor: FakeSupervisor, pod: FakePod, nursery: trio.Nursery, autojump_clock: object
) -> None:
    pod.begin("a")

    async def work() -> None:
        for number in range(5):
            await trio.sleep(10)
            pod.say(f"{number}")

    nursery.start_soon(work)
    tools = Toolset(FakeClient(supervisor))
    began = trio.current_time()
    first = await tools.call("ReadPodOutput", {"pod": "api"})
    assert first.data["text"] == "0"
    assert trio.current_time() - began == pytest.approx(11)
    second = await tools.call("ReadPodOutput", {"pod": "api"})
    assert second.data["text"] == "1"
    assert "working; this is not its whole answer" in second.summary


@pytest.mark.parametrize("seconds", [0.5, 30, 45])
async def test_a_silent_turn_is_waited_for_no_longer_than_asked(
    seconds: float, supervisor: FakeSupervisor, pod: FakePod, autojump_clock: object
) -> None:
    pod.begin("a")
    began = trio.current_time()
    result = await Toolset(FakeClient(supervisor)).call(
        "ReadPodOutput", {"pod": "api", "wait_seconds": seconds}
    )
    assert not result.is_error
    assert trio.current_time() - began == pytest.approx(seconds)
    assert "again waits for more" in result.summary


async def test_a_call_that_would_take_too_long_ends_with_an_instruction(
    pod: FakePod, autojump_clock: object
) -> None:
    class Stuck(FakeClient):
        async def request(self, message: Any, /) -> Any:
            await trio.sleep(math.inf)

    tools = Toolset(Stuck(pod.supervisor), time_limit=trio.move_on_after)
    began = trio.current_time()
    result = await tools.call("StopPod", {"pod": "api"})
    assert trio.current_time() - began < 50
    assert result.data["code"] == "timed_out"
    assert "ListPods" in result.summary


async def test_a_time_limit_leaves_calls_alone_that_end_in_time(
    supervisor: FakeSupervisor, pod: FakePod
) -> None:
    tools = Toolset(FakeClient(supervisor), time_limit=trio.move_on_after)
    result = await tools.call("SendToPod", {"pod": pod.name, "message": "x"})
    assert not result.is_error
