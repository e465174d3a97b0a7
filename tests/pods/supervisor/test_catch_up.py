"""A pod that wrote a great deal while nobody looked: read in slices, and nobody else waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from pods.journal.reader import MAX_LINES_LEFT_OUT, ReadSlice, read_events
from pods.journal.store import Journal
from pods.supervisor import live as live_module
from pods.supervisor.live import MAX_AHEAD, LivePod
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
    without_snapshots(directory)


def without_snapshots(directory: Path) -> None:
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


BEGUN = ("turn_started", {"message_id": "a", "input": "x"}, 1)
ENDED = ("turn_ended", {"stop_reason": "end_turn", "message": ""}, 1)
FAILED = ("turn_ended", {"stop_reason": "error", "message": "the disk refused"}, 1)
Line = tuple[str, dict[str, Any], int | None]


def write(directory: Path, *lines: Line, taken_back: int = 0) -> list[Event]:
    """Append to the journal, in the place of so many lines that its writer takes back."""
    with Journal.open(f"{directory}/journal") as journal:
        segment = next(Path(journal.directory).glob("*.jsonl"))
    kept = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(kept[: len(kept) - taken_back]))
    with Journal.open(f"{directory}/journal") as journal:
        return journal.append_many(lines)


def spoil(directory: Path) -> None:
    """Leave nothing in the journal that is an event."""
    next(directory.glob("journal/*.jsonl")).write_bytes(b"no event\n" * 3)


async def test_a_line_that_was_taken_back_and_written_anew_is_read_anew(tmp_path: Path) -> None:
    live, told = live_pod(tmp_path)
    write(tmp_path, BEGUN)
    await live.catch_up()
    live.vouch(1)
    write(tmp_path, ENDED)
    await live.catch_up()
    assert live.fold.turn is None
    (again,) = write(tmp_path, FAILED, taken_back=1)
    live.take(again)
    assert live.fold.last_turn is not None
    assert live.fold.last_turn.stop_reason == "error"
    assert live.seen == live.vouched == 2
    assert told[-1] == "starting"


async def test_a_line_in_whose_place_stands_what_nobody_is_told_of_is_read_anew(
    tmp_path: Path,
) -> None:
    live, _ = live_pod(tmp_path)
    write(tmp_path, BEGUN, ENDED)
    await live.catch_up()
    live.vouch(1)
    *_, last = write(tmp_path, ("text", {"text": "more"}, 1), FAILED, taken_back=1)
    live.take(last)
    assert (live.seen, live.fold.turn) == (3, None)
    assert live.fold.last_turn is not None
    assert live.fold.last_turn.stop_reason == "error"


async def taken_back_far_on(tmp_path: Path) -> tuple[LivePod, list[PodState], Event]:
    """A pod with a long journal, and what its writer wrote in the place of the last line."""
    plant(tmp_path)
    live, told = live_pod(tmp_path)
    await live.catch_up()
    live.vouch(live.seen - 1)
    (again,) = write(tmp_path, ("turn_started", {"message_id": "c", "input": "z"}, 3), taken_back=1)
    without_snapshots(tmp_path)
    return live, told, again


async def test_a_long_journal_is_read_anew_in_slices_and_shown_once_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, _, again = await taken_back_far_on(tmp_path)
    reads: list[int] = []

    def counted(directory: str, since: int, **how: Any) -> ReadSlice:
        reads.append(since)
        return read_events(directory, since, **how)

    monkeypatch.setattr(live_module, "read_events", counted)
    shown: set[int | None] = set()
    async with trio.open_nursery() as nursery:
        live.nursery = nursery
        live.take(again)
        assert len(reads) == 1, "whoever else is served waits for one slice"
        (ended,) = write(
            tmp_path, ("turn_ended", {"stop_reason": "error", "message": "told meanwhile"}, 3)
        )
        without_snapshots(tmp_path)
        live.take(ended)
        while live.behind:
            shown.add(live.fold.turn)
            await trio.lowlevel.checkpoint()
    assert shown == {2}
    assert len(reads) > SLICES
    assert (live.fold.turn, live.seen, live.vouched) == (None, ended.seq, ended.seq)
    assert live.fold.last_turn is not None
    assert live.fold.last_turn.message == "told meanwhile"


async def test_what_is_contradicted_again_while_it_is_read_anew_is_begun_anew_by_the_same_task(
    tmp_path: Path,
) -> None:
    text = ("text", {"text": "x"}, None)
    lines = write(
        tmp_path,
        *[("status", {"state": "idle"}, None)] * 9,
        *[text] * 3 * MAX_LINES_LEFT_OUT,
        BEGUN,
    )
    live, told = live_pod(tmp_path)
    without_snapshots(tmp_path)
    await live.catch_up()
    tasks: set[trio.lowlevel.Task] = set()
    async with trio.open_nursery() as nursery:
        live.nursery = nursery
        for event in lines[:9]:
            live.take(evolve(event, data={"state": "waiting"}))
            assert live.behind
            tasks |= nursery.child_tasks
    assert len(tasks) == 1
    assert (live.fold.turn, live.seen, live.behind) == (1, lines[-1].seq, False)
    assert told[-1] == "working"


async def test_what_was_told_counts_where_the_rest_of_the_journal_is_damaged(
    tmp_path: Path,
) -> None:
    live, told, again = await taken_back_far_on(tmp_path)
    async with trio.open_nursery() as nursery:
        live.nursery = nursery
        live.take(again)
        spoil(tmp_path)
    assert (live.fold.turn, live.seen) == (3, again.seq)
    assert told[-1] == "working"


async def test_one_of_several_that_were_taken_back_is_enough(tmp_path: Path) -> None:
    live, _ = live_pod(tmp_path)
    write(tmp_path, BEGUN, ENDED, ("turn_started", {"message_id": "b", "input": "y"}, 2))
    await live.catch_up()
    live.vouch(1)
    assert live.fold.turn == 2
    (again,) = write(tmp_path, FAILED, taken_back=2)
    live.take(again)
    assert live.seen == 2
    assert live.fold.last_turn is not None
    write(tmp_path, ("text", {"text": "x"}, None))
    live.forget_state()
    await live.catch_up()
    live.take(Event(seq=3, time=1.0, turn=None, type="status", data={"state": "idle"}))
    assert live.vouched == 3


async def test_what_its_writer_says_as_it_was_read_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, _ = live_pod(tmp_path)
    begun, ended = write(tmp_path, BEGUN, ENDED)
    await live.catch_up()
    monkeypatch.setattr(live_module, "read_events", None)  # it would fail
    live.take(begun)
    live.take(ended)
    assert (live.seen, live.vouched) == (2, 2)
    assert live.still_stands()


async def test_more_than_is_remembered_is_taken_on_trust(tmp_path: Path) -> None:
    live, _ = live_pod(tmp_path)
    states = [("status", {"state": "idle"}, None)] * (MAX_AHEAD + 5)
    lines = write(tmp_path, *states)
    await live.catch_up()
    for event in lines:
        live.take(event)
    assert live.vouched == live.seen == MAX_AHEAD + 5


async def test_a_link_that_is_made_again_finds_out_that_a_line_was_taken_back(
    tmp_path: Path,
) -> None:
    live, _ = live_pod(tmp_path)
    write(tmp_path, BEGUN, ENDED)
    await live.catch_up()
    assert live.still_stands()
    write(tmp_path, taken_back=1)
    assert not live.still_stands()
    write(tmp_path, FAILED)
    assert not live.still_stands()
    live.forget_state()
    await live.catch_up()
    assert live.still_stands()
    spoil(tmp_path)
    assert live.still_stands(), "what is damaged is told to who reads on there"
