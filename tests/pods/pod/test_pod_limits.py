"""What a pod does about its own limits and about senders who are in a loop."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Generator
from types import SimpleNamespace
from typing import cast

import pytest
import trio
import trio.testing

from pod_support import connected, living_pod, opened_rig, until_idle
from pods.agents.echo import EchoAgent
from pods.pod import limit_keeper
from pods.pod.actor import RunningTurn
from pods.pod.limit_keeper import LimitKeeper
from pods.pod.stimuli import EndPod, Finished, Hold, HoldTurn, LimitReached, Shutdown
from pods.pod.stimuli import Run as Give
from pods_protocol.errors import Busy, CapacityReached
from pods_protocol.pod_messages import Run
from pods_protocol.process_messages import PodSettings
from pods_protocol.values import LimitName, Limits
from process_support import WAIT_SECONDS


async def test_equal_messages_in_a_loop_are_refused_by_a_child_until_time_has_passed(
    short_dir: str,
) -> None:
    settings = PodSettings(max_same_messages=2)
    async with (
        living_pod(short_dir, EchoAgent(), parent="lead", settings=settings) as pod,
        connected(pod) as client,
    ):
        for _ in range(2):
            await client.request(Run(input="done?", if_busy="queue"))
        known = await client.request(Run(input="other", if_busy="queue", message_id="m"))
        for _ in range(3):
            assert await client.request(Run(input="other", message_id="m")) == known
        with pytest.raises(Busy) as caught:
            await client.request(Run(input="done?", if_busy="queue"))
        assert caught.value.data["limit_name"] == "same_messages_per_minute"
        assert 0 < caught.value.data["retry_after_seconds"] <= 60
        await client.request(Run(input="something else", if_busy="queue"))


async def test_people_may_say_the_same_as_often_as_they_like(short_dir: str) -> None:
    settings = PodSettings(max_same_messages=2)
    async with (
        living_pod(short_dir, EchoAgent(), settings=settings) as pod,
        connected(pod) as client,
    ):
        for _ in range(4):
            await client.request(Run(input="again", if_busy="queue"))
        await until_idle(client)


async def test_a_clock_ends_an_idle_pod_and_stands_still_where_it_is_not_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    idle = False
    reached: list[tuple[float, LimitReached]] = []
    keeper = LimitKeeper(
        Limits(idle_seconds=10),
        wall_until=None,
        cross=lambda limit: reached.append((trio.current_time(), limit)),
        is_idle=lambda: idle,
    )
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.keep_time)
        await trio.sleep(25)
        assert not reached, "paused, say"
        idle = True
        keeper.after_turn(idle=True)
        await trio.sleep(6)
        keeper.after_turn(idle=True)
    ((when, limit),) = reached
    assert when - began == pytest.approx(25 + 6 + 10)
    assert limit.limit == "idle_seconds"


@pytest.fixture
def two_programs() -> Generator[None]:
    """Two children of this process."""
    with subprocess.Popen(["sleep", "1000"]) as one, subprocess.Popen(["sleep", "1000"]) as other:
        yield
        one.kill()
        other.kill()


@pytest.mark.usefixtures("two_programs")
async def test_memory_of_more_processes_than_are_counted_is_over_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limit_keeper, "MAX_COUNTED_PROCESSES", 2)
    keeper = LimitKeeper(
        Limits(memory_bytes=2**50), wall_until=None, cross=lambda _: None, is_idle=lambda: False
    )
    over = trio.Event()
    crossed: list[tuple[LimitName, str]] = []

    class Running:
        def cross(self, limit: LimitName, message: str) -> None:
            crossed.append((limit, message))
            over.set()

    async def run() -> Finished:
        await over.wait()
        return Finished(1, "limit", limit="memory_bytes")

    with trio.fail_after(WAIT_SECONDS):
        await keeper.attend(cast("RunningTurn", Running()), run)
    ((limit, message),) = crossed
    assert limit == "memory_bytes"
    assert "too many to count" in message


def test_a_limit_ends_the_turn_then_the_pod_and_the_journal_says_so_at_each_step() -> None:
    rig = opened_rig()
    rig.give(Give("work", "fail", None))
    over = LimitReached("wall_seconds", "over the limit")
    (cut,) = rig.give(over).commands
    assert (rig.fold.state, rig.fold.limit) == ("stopping", "wall_seconds")
    assert getattr(cut, "limit", None) == "wall_seconds"
    assert rig.give(over).events == ()
    assert rig.give(Finished(1, "limit", limit="wall_seconds")).commands == (EndPod(),)
    assert (rig.fold.state, rig.fold.limit) == ("failed", "wall_seconds")
    assert rig.fold.end_message == "over the limit"
    assert rig.fold.last_turn is not None
    assert (rig.fold.last_turn.stop_reason, rig.fold.last_turn.limit) == ("limit", "wall_seconds")


def test_a_paused_pod_over_its_limit_lets_the_turn_that_it_holds_go_on_to_its_end() -> None:
    over = LimitReached("wall_seconds", "over the limit")
    rig = opened_rig()
    rig.give(Give("work", "fail", None))
    rig.give(Hold("pause", whole=True))
    assert rig.give(over).commands[0] == HoldTurn(False)
    assert rig.give(Finished(1, "limit", limit="wall_seconds")).commands == (EndPod(),)
    rig = opened_rig()
    rig.give(Hold("pause", whole=True))
    assert rig.give(over).commands == (EndPod(),)
    assert (rig.fold.state, rig.fold.limit) == ("failed", "wall_seconds")


def test_a_pod_that_was_asked_to_stop_has_stopped_even_where_a_limit_hurries_it() -> None:
    rig = opened_rig()
    rig.give(Give("work", "fail", None))
    rig.give(Shutdown("finish"))
    rig.give(LimitReached("wall_seconds", "over the limit"))
    rig.give(Finished(1, "limit", limit="wall_seconds"))
    assert (rig.fold.state, rig.fold.limit) == ("stopped", None)


def test_messages_that_wait_have_their_turns_promised() -> None:
    rig = opened_rig(max_turns=2)
    rig.give(Give("one", "fail", "1"))
    rig.give(Give("two", "queue", "2"))
    with pytest.raises(CapacityReached) as caught:
        rig.reply(Give("three", "queue", "3"))
    assert caught.value.data == {"limit_name": "turns", "limit": 2, "in_use": 2}
    assert rig.reply(Give("two", "queue", "2")).position == 1, "a repeat is no new turn"
    rig.give(Finished(1, "end_turn"))
    rig.give(Finished(2, "end_turn"))
    with pytest.raises(CapacityReached, match="do not retry"):
        rig.reply(Give("four", "fail", None))


class StruckGroup:
    """A cgroup in which the kernel has stopped something, as often as it is told."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()

    def fileno(self) -> int:
        return self.ours.fileno()

    def strike(self) -> None:
        self.theirs.send(b"x")

    def take(self) -> list[LimitName]:
        with contextlib.suppress(BlockingIOError):
            return ["memory_bytes" for _ in self.ours.recv(16, socket.MSG_DONTWAIT)]
        return []


async def test_what_a_turn_over_its_memory_does_while_it_goes_ends_no_pod(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group, going, gone = StruckGroup(), trio.Event(), trio.Event()

    async def go_slowly(before: set[int]) -> bool:
        group.strike()  # a killed program that still holds what it took
        going.set()
        await gone.wait()
        return False

    def open_group(cgroup: str, memory_bytes: int | None) -> StruckGroup:
        return group

    monkeypatch.setattr(limit_keeper, "_open", open_group)
    monkeypatch.setattr(limit_keeper, "_stay", go_slowly)
    reached: list[LimitReached] = []
    keeper = LimitKeeper(
        Limits(memory_bytes=2**30), wall_until=None, cross=reached.append, is_idle=lambda: False
    )
    crossed = trio.Event()

    def cross(name: LimitName, over: str) -> None:
        crossed.set()

    running = cast("RunningTurn", SimpleNamespace(cross=cross))

    async def run() -> Finished:
        group.strike()
        await crossed.wait()
        return Finished(1, "limit", limit="memory_bytes")

    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.heed_group)
            nursery.start_soon(keeper.attend, running, run)
            await going.wait()
            await trio.testing.wait_all_tasks_blocked()
            gone.set()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert reached == []
    group.ours.close()
    group.theirs.close()
