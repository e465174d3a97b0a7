"""What the journal of a pod gets that died before it could write its own end."""

from __future__ import annotations

from typing import Any

from pods.journal.ending import MAX_NAMED_UNDELIVERED, end_of_the_dead, stopped
from pods.journal.fold import PodFold
from pods_protocol.events import Event


def fold_of(*events: tuple[str, int | None, dict[str, Any]]) -> PodFold:
    fold = PodFold()
    for seq, (kind, turn, data) in enumerate(events, 1):
        fold.apply(Event(seq=seq, time=float(seq), turn=turn, type=kind, data=data))
    return fold


def queued(message_id: str, **more: Any) -> tuple[str, int | None, dict[str, Any]]:
    data = {"message_id": message_id, "input": "do", "if_busy": "queue", "state": "queued", **more}
    return ("message_accepted", None, data)


BUSY = (
    ("status", None, {"state": "idle"}),
    ("message_accepted", 1, {"message_id": "m1", "input": "first", "state": "started", "turn": 1}),
    ("turn_started", 1, {"message_id": "m1"}),
    queued("m2"),
    queued("n1", notify=True),
    queued("m3"),
)


WAITED = {"undelivered": ["m2", "m3", "n1"]}


def test_its_turn_is_lost_and_what_waited_is_undelivered_in_order() -> None:
    events = end_of_the_dead(fold_of(*BUSY), "failed", "it fell over")
    assert [(kind, turn) for kind, _, turn in events] == [
        ("turn_ended", 1),
        ("message_withdrawn", None),
        ("message_withdrawn", None),
        ("message_withdrawn", None),
        ("stopped", None),
    ]
    assert events[0][1] == {"stop_reason": "lost", "message": "the pod ended: it fell over"}
    assert [data["message_id"] for kind, data, _ in events if kind == "message_withdrawn"] == [
        "m2", "m3", "n1"
    ]  # fmt: skip
    assert {data["reason"] for kind, data, _ in events if kind == "message_withdrawn"} == {
        "undelivered"
    }
    assert events[-1][1] == {
        "reason": "failed",
        "message": "it fell over",
        **WAITED,
    }


def test_the_last_event_names_what_was_given_up_on_the_way_there_and_by_this_life_alone() -> None:
    undelivered = ("message_withdrawn", None, {"message_id": "m2", "reason": "undelivered"})
    withdrawn = ("message_withdrawn", None, {"message_id": "m3", "reason": "withdrawn"})
    fold = fold_of(*BUSY, undelivered, withdrawn)
    assert stopped(fold, {"reason": "stopped"})[1]["undelivered"] == ["m2", "n1"]
    again = fold_of(
        *BUSY,
        undelivered,
        ("stopped", None, {"reason": "stopped"}),
        ("restarted", None, {"reason": "stopped"}),
        ("message_withdrawn", None, {"message_id": "n1", "reason": "undelivered"}),
    )
    assert stopped(again, {"reason": "stopped"})[1]["undelivered"] == ["n1", "m3"]
    assert "undelivered" not in stopped(fold_of(BUSY[0]), {"reason": "stopped"})[1]


def test_of_very_many_the_last_event_names_some_and_counts_the_rest() -> None:
    many = [queued(f"m{number}") for number in range(MAX_NAMED_UNDELIVERED + 3)]
    _, data, _ = stopped(fold_of(BUSY[0], *many), {"reason": "stopped"})
    assert len(data["undelivered"]) == MAX_NAMED_UNDELIVERED
    assert data["undelivered_omitted"] == 3


def test_what_waits_lives_on_where_another_process_goes_on() -> None:
    fold = fold_of(*BUSY)
    events = end_of_the_dead(fold, "lost", "killed", goes_on=True)
    assert [kind for kind, _, _ in events] == ["turn_ended"], "it is no end of the pod"


def test_an_idle_pod_that_died_gets_its_end_alone() -> None:
    events = end_of_the_dead(fold_of(BUSY[0]), "lost", "killed")
    assert events == [("stopped", {"reason": "lost", "message": "killed"}, None)]


def test_a_journal_that_has_its_end_gets_nothing_more() -> None:
    fold = fold_of(*BUSY, ("stopped", None, {"reason": "stopped"}))
    assert end_of_the_dead(fold, "failed", "again") == []


def test_a_pod_whose_keeper_ended_it_for_a_limit_says_which() -> None:
    events = end_of_the_dead(fold_of(*BUSY), "failed", "over it", limit="wall_seconds")
    over = {"limit": "wall_seconds", "message": "over it"}
    assert events[0] == ("turn_ended", {"stop_reason": "limit", **over}, 1)
    assert events[-1] == ("stopped", {"reason": "limit", **over, **WAITED}, None)
    (ended, *_) = end_of_the_dead(fold_of(*BUSY), "failed", "late", limit="turn_seconds")
    assert ended[1] == {"stop_reason": "timeout", "limit": "turn_seconds", "message": "late"}


def test_a_pod_that_was_on_its_way_to_end_for_a_limit_ends_for_that_one() -> None:
    begun = {"state": "stopping", "limit": "processes", "message": "too many"}
    fold = fold_of(*BUSY, ("status", None, begun))
    events = end_of_the_dead(fold, "failed", "signal 9", limit="wall_seconds")
    over = {"limit": "processes", "message": "too many"}
    assert events[0][1] == {"stop_reason": "limit", **over}
    assert events[-1][1] == {"reason": "limit", **over, **WAITED}


def test_a_pod_that_was_asked_to_stop_has_stopped_though_its_keeper_hurried_it() -> None:
    events = end_of_the_dead(fold_of(*BUSY), "stopped", "late", limit="turn_seconds")
    assert events[0][1]["limit"] == "turn_seconds"
    assert events[-1][1] == {"reason": "stopped", "message": "late", **WAITED}
