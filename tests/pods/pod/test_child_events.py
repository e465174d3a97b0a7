"""A parent's side of its children's events: in its turns, in its journal, from nobody else."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from pod_support import (
    OPENED,
    MachineRig,
    connected,
    living_pod,
    opened_rig,
    until_idle,
)
from pods.agents.echo import EchoAgent
from pods.agents.turn import Turn
from pods.pod.stimuli import ChildTold, Finished, Hold, HoldTurn, Run, Shutdown, StartTurn
from pods_protocol.errors import NotAuthorized, PodEnded
from pods_protocol.pod_messages import Run as RunRequest
from pods_protocol.pod_messages import TellOfChild

OWNER = "the supervisor's own token"
DIGEST = hashlib.sha256(OWNER.encode()).hexdigest()


def tell(seq: int, *, wake: bool = False) -> ChildTold:
    data: dict[str, Any] = {"pod": "kid", "id": "c1", "seq": seq, "type": "stopped", "wake": wake}
    return ChildTold("c1", seq, data, wake)


def started(rig: MachineRig, stimulus: ChildTold | Run | Finished) -> StartTurn:
    (command,) = rig.give(stimulus).commands
    assert isinstance(command, StartTurn)
    return command


def test_what_became_of_children_is_told_with_the_next_message() -> None:
    rig = opened_rig()
    assert rig.reply(tell(3)) == 3
    assert rig.give(tell(3)).events == ()
    assert rig.reply(tell(2)) == 3
    start = started(rig, Run("go", "fail", None))
    assert start.notes == ("child pod kid: has ended (None)",)
    assert [one["seq"] for one in start.child_events] == [3]
    rig.give(Run("next", "queue", None))
    start = started(rig, Finished(1, "end_turn"))
    assert (start.notes, start.child_events) == ((), ())


def test_a_queued_message_takes_the_news_along_and_nothing_is_woken_twice() -> None:
    rig = opened_rig()
    rig.give(Run("go", "fail", None))
    rig.give(Run("next", "queue", None))
    rig.give(tell(1, wake=True))
    start = started(rig, Finished(1, "end_turn"))
    assert start.input == "next"
    assert len(start.notes) == len(start.child_events) == 1
    assert rig.give(Finished(2, "end_turn")).commands == ()


def test_a_parent_that_has_no_turn_left_is_told_and_not_woken() -> None:
    rig = opened_rig(max_turns=1)
    rig.give(Run("go", "fail", None))
    rig.give(Finished(1, "end_turn"))
    assert rig.give(tell(1, wake=True)).commands == ()
    assert [one["seq"] for one in rig.fold.inbox.pending()] == [1]


def test_a_parent_that_died_is_told_again_and_woken_by_what_came_since() -> None:
    rig = opened_rig()
    started(rig, tell(1, wake=True))
    rig = MachineRig(fold=rig.fold)
    assert rig.give(OPENED).commands == ()
    assert [one["seq"] for one in rig.fold.inbox.pending()] == [1]
    rig.give(Run("go", "fail", None))
    rig.give(tell(2, wake=True))
    rig = MachineRig(fold=rig.fold)
    (command,) = rig.give(OPENED).commands
    assert isinstance(command, StartTurn)
    assert [one["seq"] for one in command.child_events] == [1, 2]
    assert rig.fold.inbox.pending() == ()


def test_a_parent_that_ends_hears_until_its_last_word_and_not_after() -> None:
    rig = opened_rig()
    rig.give(Run("go", "fail", None))
    rig.give(Shutdown("finish"))
    assert rig.reply(tell(1, wake=True)) == 1
    rig.give(Finished(1, "end_turn"))
    assert rig.machine.state == "ended"
    assert rig.reply(tell(1)) == 1
    with pytest.raises(PodEnded):
        rig.reply(tell(2))
    assert rig.kinds()[-1] == "stopped"


def test_a_paused_parent_hears_of_its_children_and_is_woken_once_it_goes_on() -> None:
    rig = opened_rig()
    rig.give(Hold("pause", whole=True))
    assert rig.give(tell(1, wake=True)).commands == ()
    assert rig.machine.state == "paused"
    held, start = rig.give(Hold("resume")).commands
    assert held == HoldTurn(False)
    assert isinstance(start, StartTurn)
    assert [one["seq"] for one in start.child_events] == [1]


def request(seq: int, *, wake: bool = False) -> TellOfChild:
    return TellOfChild(pod="kid", id="c1", seq=seq, type="stopped", data={}, text="bye", wake=wake)


async def test_only_the_supervisor_tells_and_an_agent_sees_it(short_dir: str) -> None:
    seen: list[tuple[str, str]] = []

    async def agent(turn: Turn) -> None:
        seen.extend((event["pod"], event["text"]) for event in turn.child_events)
        await turn.text(turn.input)

    async with living_pod(short_dir, agent, owner_digest=DIGEST) as pod:
        async with connected(pod) as client:
            with pytest.raises(NotAuthorized):
                await client.request(request(1))
        with pytest.raises(NotAuthorized):
            async with connected(pod, token="another token"):
                raise AssertionError
        async with connected(pod, token=OWNER) as client:
            assert (await client.request(request(1))).cursor == 1
            assert (await client.request(request(1))).cursor == 1
            await client.request(RunRequest(input="go"))
            await until_idle(client)
            assert seen == [("kid", "bye")]
            assert (await client.request(request(2, wake=True))).cursor == 2
            await until_idle(client)
        assert seen == [("kid", "bye")] * 2
        assert pod.kinds().count("child_event") == 2
        assert pod.texts() == "gochild pod kid: has ended (None)\nbye"


async def test_a_disk_that_refuses_leaves_the_event_with_the_child(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent(), owner_digest=DIGEST) as pod:
        async with connected(pod, token=OWNER) as client:
            pod.disk.full = True
            with pytest.raises(Exception, match="No space"):
                await client.request(request(1))
            pod.disk.full = False
            assert (await client.request(request(1))).cursor == 1
        assert pod.kinds().count("child_event") == 1
