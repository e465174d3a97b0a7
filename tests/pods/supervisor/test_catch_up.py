"""A pod that wrote a great deal while nobody looked: read in slices, and nobody else waits."""

from __future__ import annotations

from pathlib import Path

import trio

from pods.journal.reader import MAX_LINES_LEFT_OUT
from pods.journal.store import Journal
from pods.supervisor.live import LivePod
from pods_protocol.events import Event
from pods_protocol.values import PodState

SLICES = 4


def live_pod(directory: Path) -> tuple[LivePod, list[PodState]]:
    told: list[PodState] = []
    live = LivePod(
        pod_id="0" * 12,
        name="one",
        token="",
        directory=str(directory),
        on_change=lambda pod: told.append(pod.fold.state),
        on_news=lambda _: None,
    )
    return live, told


def plant(directory: Path) -> None:
    """Four slices of text in a turn that has ended, and then another turn that runs.

    Without a snapshot, which would spare the reading: none was written, or it is damaged.
    """
    with Journal.open(f"{directory}/journal") as journal:
        journal.append("turn_started", {"message_id": "a", "input": "x"}, turn=1)
        journal.append_many([("text", {"text": "x"}, 1)] * (MAX_LINES_LEFT_OUT * SLICES))
        journal.append("turn_ended", {"stop_reason": "end_turn", "message": ""}, turn=1)
        journal.append("turn_started", {"message_id": "b", "input": "y"}, turn=2)
    for snapshot in directory.glob("journal/*.snapshot"):
        snapshot.unlink()


async def test_others_go_on_between_the_slices_and_hear_the_outcome_alone(tmp_path: Path) -> None:
    plant(tmp_path)
    live, told = live_pod(tmp_path)
    looks: list[int] = []
    async with trio.open_nursery() as nursery:

        async def somebody_else() -> None:
            while live.fold.turn != 2:
                looks.append(live.seen)
                await trio.lowlevel.checkpoint()

        nursery.start_soon(somebody_else)
        await live.catch_up()
    # Both run once a tick, in an order that trio draws: every second slice is surely seen.
    assert len(set(looks)) >= SLICES // 2
    assert told == ["working"]
    assert live.fold.last_turn is not None
    assert not live.behind


async def test_what_the_pod_says_meanwhile_is_taken_once(tmp_path: Path) -> None:
    plant(tmp_path)
    live, told = live_pod(tmp_path)
    assert live.take_slice()
    # Its own stream is whole from where it began, and faster than the files.
    last = MAX_LINES_LEFT_OUT * SLICES + 3
    for seq, kind, turn, data in (
        (1, "turn_started", 1, {"message_id": "a", "input": "x"}),
        (last - 1, "turn_ended", 1, {"stop_reason": "end_turn", "message": ""}),
        (last, "turn_started", 2, {"message_id": "b", "input": "y"}),
    ):
        live.take(Event(seq=seq, time=1.0, turn=turn, type=kind, data=data))
    assert live.seen == last
    await live.catch_up()
    assert (live.fold.turn, live.seen, live.behind) == (2, last, False)
    assert told[-1] == "working"
