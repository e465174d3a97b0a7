"""What a pod's socket answers: who is let in, what is queued, what can be read."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import trio

from pod_agents import forever, in_order
from pod_support import (
    WAIT_SECONDS,
    PodFixture,
    connected,
    living_pod,
    until,
    until_idle,
)
from pods.agents.echo import EchoAgent
from pods.agents.turn import Turn
from pods.pod import answers
from pods_protocol import errors
from pods_protocol.events import Event
from pods_protocol.pod_messages import (
    Cancel,
    GetHistory,
    GetStatus,
    Notify,
    Pause,
    Ping,
    ReadEvents,
    Resume,
    Run,
    Subscribe,
    WaitFor,
    Withdraw,
)


async def test_a_wrong_token_is_refused(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod:
        with pytest.raises(errors.NotAuthorized):
            async with connected(pod, token="wrong"):
                pass


async def test_a_busy_pod_refuses_queues_and_is_interrupted(short_dir: str) -> None:
    async with living_pod(short_dir, forever) as pod, connected(pod) as client:
        await client.request(Run(input="first"))
        with pytest.raises(errors.AlreadyRunning):
            await client.request(Run(input="second"))
        queued = await client.request(Run(input="third", if_busy="queue", message_id="t"))
        assert queued.position == 1
        urgent = await client.request(Run(input="urgent", if_busy="interrupt"))
        assert urgent.position == 1
        await until(lambda: pod.kinds().count("turn_started") == 2, pod)
        status = await client.request(GetStatus())
        assert (status.turn, status.state) == (2, "working")
        assert [one.message_id for one in status.queue] == ["t"]
        await client.request(Withdraw(message_id="t"))
        assert (await client.request(Cancel())).turn == 2
        await until_idle(client)
        assert [end["stop_reason"] for end in pod.ends()] == ["cancelled", "cancelled"]
        assert pod.ends()[0]["message"] == "another message interrupted it"
        assert pod.texts() == "begunbegun", "what was produced stays"


async def test_a_status_stays_small_whatever_is_queued(short_dir: str) -> None:
    async with living_pod(short_dir, forever) as pod, connected(pod) as client:
        await client.request(Run(input="first"))
        for _ in range(5):
            await client.request(Run(input="x" * 500_000, if_busy="queue"))
        status = await client.request(GetStatus())
        assert len(status.queue) == 5
        assert "[cut here: 499000 more bytes]" in status.queue[0].input


async def test_a_message_of_a_megabyte_goes_through_and_one_that_fits_no_event_does_not(
    short_dir: str,
) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        await client.request(Run(input="y" * 1_000_000))
        await until_idle(client)
        assert len(pod.texts()) == 1_000_002
        with pytest.raises(errors.TooLarge):
            await client.request(Run(input="y" * 1_040_000))
        assert pod.ends() == [pod.ends()[0]]


async def test_notes_reach_the_agent_with_its_next_turn(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        noted = await client.request(Notify(message="by the way"))
        assert (noted.state, noted.turn) == ("noted", None)
        woken = await client.request(Notify(message="wake up", wake=True))
        assert (woken.state, woken.turn) == ("started", 1)
        await until_idle(client)
        assert pod.texts() == "by the way\nwake up"


async def test_history_is_the_conversation(short_dir: str) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        for word in ("one", "two"):
            await client.request(Run(input=word))
            await until_idle(client)
        first = await client.request(GetHistory(limit=3))
        assert [(e.role, e.text) for e in first.entries] == [
            ("user", "one"), ("assistant", "[one]"), ("user", "two"),
        ]  # fmt: skip
        rest = await client.request(GetHistory(since=first.next))
        assert [e.text for e in rest.entries] == ["[two]"]
        assert (await client.request(GetHistory(since=rest.next))).next == rest.next


async def test_a_history_that_would_not_fit_a_line_comes_in_parts(short_dir: str) -> None:
    async def silent(_: Turn) -> None:
        pass

    async with living_pod(short_dir, silent) as pod, connected(pod) as client:
        for text in ("\x01" * 160_000, "b" * 400_000):
            await client.request(Run(input=text))
            await until_idle(client)
        first = await client.request(GetHistory())
        assert "cut here" in first.entries[0].text
        rest = await client.request(GetHistory(since=first.next))
        assert [len(entry.text) for entry in (*first.entries, *rest.entries)][-1] == 400_000


async def test_read_gives_what_is_there_and_waits_for_what_is_not(short_dir: str) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        first = await client.request(ReadEvents())
        assert [event.type for event in first.events] == ["status"]
        assert (first.next, first.truncated, first.state) == (1, False, "idle")
        nothing = await client.request(ReadEvents(since=1, wait_seconds=0.01))
        assert nothing.events == ()
        async with trio.open_nursery() as nursery:
            got: list[Event] = []

            async def wait_for_text() -> None:
                request = ReadEvents(since=1, kinds=("text",), wait_seconds=WAIT_SECONDS)
                got.extend((await client.request(request)).events)

            nursery.start_soon(wait_for_text)
            await client.request(Run(input="x"))
        assert [event.data["text"] for event in got] == ["[x]"]


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (ReadEvents(since=-1), "since"),
        (ReadEvents(limit=0), "limit"),
        (ReadEvents(limit=10_001), "limit"),
        (ReadEvents(max_bytes=0), "max_bytes"),
        (ReadEvents(wait_seconds=-1.0), "wait_seconds"),
        (ReadEvents(wait_seconds=3601.0), "wait_seconds"),
        (WaitFor(timeout_seconds=-0.5), "timeout_seconds"),
        (GetHistory(since=-1), "since"),
        (GetHistory(limit=0), "limit"),
        (Subscribe(since=-1), "since"),
    ],
)
async def test_numbers_out_of_range_are_named(short_dir: str, message: Any, path: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        with pytest.raises(errors.InvalidParams) as caught:
            await client.request(message)
        assert caught.value.data["path"] == path


def test_a_time_that_is_no_number_is_out_of_range() -> None:
    with pytest.raises(errors.InvalidParams):
        answers.check_range("wait_seconds", math.nan, 0, 1)


async def test_a_wait_that_is_not_met_says_so(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        waited = await client.request(WaitFor(until="question", timeout_seconds=0.01))
        assert (waited.reached, waited.state) == (False, "idle")


async def test_a_subscriber_gets_everything_once_and_one_connection_subscribes_once(
    short_dir: str,
) -> None:
    events: list[Event] = []
    async with living_pod(short_dir, in_order) as pod, connected(pod, events=events) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        await client.request(Ping())
        assert events == pod.events()
        with pytest.raises(errors.InvalidRequest):
            await client.request(Subscribe())


def damage_first_line(pod: PodFixture) -> None:
    (path,) = Path(f"{pod.spec.state_directory}/journal").glob("*.jsonl")
    length = path.read_bytes().index(b"\n")
    with path.open("r+b") as file:
        file.write(b"#" * length)


async def test_a_subscription_to_a_damaged_journal_ends_with_its_connection(
    short_dir: str,
) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        damage_first_line(pod)
        await client.request(Subscribe())
        await client.closed.wait()
        assert "a subscription ended" in pod.log[0]


async def test_a_pod_that_is_about_to_be_stopped_whole_sends_its_clients_away(
    short_dir: str,
) -> None:
    events: list[Event] = []
    digest = hashlib.sha256(b"owner").hexdigest()
    async with (
        living_pod(short_dir, EchoAgent(), owner_digest=digest) as pod,
        connected(pod) as other,
        connected(pod, events=events),
        connected(pod, token="owner") as supervisor,
    ):
        with pytest.raises(errors.NotAuthorized):
            await other.request(Pause(whole=True))
        await supervisor.request(Pause(whole=True))
        await other.closed.wait()
        while events[-1].data != {"state": "paused"}:
            await trio.lowlevel.checkpoint()
        await supervisor.request(Resume())
