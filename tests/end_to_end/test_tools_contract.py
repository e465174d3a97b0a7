"""One contract over the supervisor in memory and the real one, so that the fake stays true.

What the tools' own tests rely on is asked here of both: cursors, waits, states, refusals.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import pods
from pods_protocol.errors import (
    AlreadyRunning,
    NameTaken,
    PodEnded,
    PodsError,
    UnknownPod,
)
from pods_protocol.events import Event
from pods_protocol.pod_messages import Run
from pods_protocol.supervisor_messages import (
    AdvanceCursor,
    InspectPod,
    ListPods,
    ReadOutput,
    ReadOutputResult,
    SpawnPod,
    StopPod,
)
from pods_tools import BlockingPodsClient, BlockingToolset, PodsClient, Toolset
from tools_clients import FakeClient
from tools_support import BUSY, FakeSupervisor

pytestmark = pytest.mark.slow
WAIT_SECONDS = 45.0
HELLO = "echo hello"


@asynccontextmanager
async def open_either(which: str, environ: Mapping[str, str]) -> AsyncGenerator[PodsClient]:
    if which == "fake":
        yield FakeClient(FakeSupervisor(answering=True))
        return
    async with pods.open_supervisor(environ=environ) as real:
        yield real


@pytest.fixture(params=["fake", "real"])
async def client(
    request: pytest.FixtureRequest, pods_environ: dict[str, str]
) -> AsyncIterator[PodsClient]:
    async with open_either(request.param, pods_environ) as opened:
        yield opened


async def read(client: PodsClient, **fields: Any) -> ReadOutputResult:
    with trio.fail_after(WAIT_SECONDS):
        return await client.request(ReadOutput(pod="api", **fields))


async def until(client: PodsClient, kind: str, since: int = 0) -> Event:
    answer = await read(client, since=since, kinds=(kind,), limit=1, wait_seconds=WAIT_SECONDS)
    return answer.events[0]


async def refused(kind: type[PodsError], asking: Any) -> None:
    with pytest.raises(kind):
        await asking


async def test_a_spawned_pod_has_accepted_its_prompt(client: PodsClient) -> None:
    spawned = await client.request(SpawnPod(name="api", prompt=HELLO))
    assert spawned.message is not None
    assert spawned.message.state == "started"
    assert spawned.message.turn == 1
    assert (await until(client, "turn_ended")).data["stop_reason"] == "end_turn"
    accepted = await read(client, since=0, kinds=("message_accepted",))
    assert accepted.events[0].data["input"] == HELLO
    await refused(NameTaken, client.request(SpawnPod(name="api")))


async def test_cursors_move_only_when_told_and_never_back(client: PodsClient) -> None:
    await client.request(SpawnPod(name="api", prompt=HELLO))
    ended = await until(client, "turn_ended")
    first = await read(client)
    again = await read(client)
    assert [event.seq for event in first.events] == list(range(1, first.last_seq + 1))
    assert first.next == first.last_seq == ended.seq
    assert again.events == first.events
    await client.request(AdvanceCursor(pod=first.id, seq=first.next))
    await client.request(AdvanceCursor(pod="api", seq=1))
    after = await read(client)
    assert after.events == ()
    assert after.next == first.next
    assert (await read(client, reader="other")).events == first.events
    (row,) = (await client.request(ListPods())).pods
    assert row.unread == 0
    (row,) = (await client.request(ListPods(reader="other"))).pods
    assert row.unread == row.last_seq


async def test_pages_are_cut_at_events_and_go_on(client: PodsClient) -> None:
    await client.request(SpawnPod(name="api", prompt=HELLO))
    await until(client, "turn_ended")
    whole = (await read(client, since=0)).events
    parts: list[Event] = []
    cursor, truncated = 0, True
    while truncated:
        page = await read(client, since=cursor, max_bytes=1)
        assert len(page.events) <= 1
        parts += page.events
        cursor, truncated = page.next, page.truncated
    assert tuple(parts) == whole
    few = await read(client, since=0, kinds=("turn_ended",))
    assert few.next == whole[-1].seq
    assert [event.type for event in few.events] == ["turn_ended"]


async def test_a_busy_pod_refuses_queues_or_is_interrupted(client: PodsClient) -> None:
    await client.request(SpawnPod(name="api", prompt=BUSY))
    assert (await read(client)).state == "working"
    await refused(AlreadyRunning, client.send("api", Run(input=BUSY)))
    queued = await client.send("api", Run(input=HELLO, if_busy="queue"))
    assert (queued.state, queued.position, queued.turn) == ("queued", 1, None)
    started = await client.send("api", Run(input=HELLO, if_busy="interrupt"))
    assert started.state in ("started", "queued")
    assert (await until(client, "turn_ended")).data["stop_reason"] == "cancelled"


async def test_a_read_waits_for_what_is_new(client: PodsClient) -> None:
    await client.request(SpawnPod(name="api"))
    start = (await read(client)).last_seq
    silent = await read(client, since=start, wait_seconds=0.05)
    assert silent.events == ()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, "api", Run(input=HELLO))
        news = await read(client, since=start, wait_seconds=WAIT_SECONDS)
    assert news.events


async def test_an_ended_pod_is_read_and_stopped_again_and_takes_no_message(
    client: PodsClient,
) -> None:
    await client.request(SpawnPod(name="api", prompt=HELLO))
    await until(client, "turn_ended")
    with trio.fail_after(WAIT_SECONDS):
        stopped = await client.request(StopPod(pod="api"))
        assert (stopped.step, stopped.state) == ("shutdown", "stopped")
        again = await client.request(StopPod(pod="api"))
    assert (again.step, again.state, again.released) == ("already_ended", "stopped", ())
    page = await read(client, wait_seconds=WAIT_SECONDS, since=10_000)
    assert page.state == "stopped"
    assert (await read(client, since=0)).events[-1].type == "stopped"
    await refused(PodEnded, client.send("api", Run(input=HELLO)))


async def test_what_is_unknown_is_refused(client: PodsClient) -> None:
    await refused(UnknownPod, client.request(ReadOutput(pod="nobody")))
    await refused(UnknownPod, client.request(StopPod(pod="nobody")))
    await refused(UnknownPod, client.request(InspectPod(pod="nobody")))
    await refused(UnknownPod, client.request(AdvanceCursor(pod="nobody", seq=0)))
    await refused(UnknownPod, client.send("nobody", Run(input="x")))


async def test_the_tools_do_the_same_over_both(client: PodsClient) -> None:
    tools = Toolset(client, time_limit=trio.move_on_after)
    with trio.fail_after(WAIT_SECONDS):
        spawned = await tools.call("SpawnPod", {"name": "api", "prompt": HELLO})
        assert not spawned.is_error, spawned.summary
        text = ""
        while (
            "completed" not in (read := await tools.call("ReadPodOutput", {"pod": "api"})).summary
        ):
            text += read.data["text"]
        text += read.data["text"]
        assert "hello" in text
        assert (await tools.call("ReadPodOutput", {"pod": "api"})).data["text"] == ""
        stopped = await tools.call("StopPod", {"pod": "api"})
        assert stopped.data["state"] == "stopped"
        gone = await tools.call("ReadPodOutput", {"pod": "api"})
        assert gone.data["state"] == "stopped"
        listed = await tools.call("ListPods", {})
        assert [row["pod"] for row in listed.data["pods"]] == ["api"]
        await tools.aclose()


def test_the_blocking_client_is_one_that_the_tools_take(pods_environ: dict[str, str]) -> None:
    with pods.connect(environ=pods_environ) as connected:
        client: BlockingPodsClient = connected
        tools = BlockingToolset(client)
        try:
            assert not tools.call("SpawnPod", {"name": "api", "prompt": HELLO}).is_error
            read = tools.call("ReadPodOutput", {"pod": "api"})
            assert "hello" in read.data["text"], read.summary
            assert not tools.call("StopPod", {"pod": "api"}).is_error
        finally:
            connected.shutdown(stop_pods=True)
