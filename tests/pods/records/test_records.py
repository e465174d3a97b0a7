"""What a supervisor remembers of its pods, as a fold."""

from __future__ import annotations

from pods.folds import memory, restore
from pods.lifecycle import LIVING, Life
from pods.records.events import (
    CURSOR_ADVANCED,
    POD_CRASHED,
    POD_ENDED,
    POD_PAUSED,
    POD_REMOVED,
    POD_REPARENTED,
    POD_RESTARTED,
    POD_RESTORING,
    POD_RESUMED,
    POD_SPAWNED,
    POD_STOPPING,
    SPAWN_FAILED,
    crashed_data,
    ended_data,
    restoring_data,
    spawned_data,
)
from pods.records.table import PodTable
from pods_protocol.values import (
    ExitRecord,
    ProcessIdentity,
    RestartPolicy,
    Restarts,
    TurnSummary,
    UndeliveredMessage,
)
from records_support import KEEPER, Story


def life(story: Story, pod_id: str) -> Life:
    record = story.table.get(pod_id)
    assert record is not None
    return record.life


def test_the_table_is_the_fold_of_its_events_whoever_folds_them() -> None:
    story = Story()
    story.run("a")
    story.run("b", "a")
    story.tell(POD_STOPPING, id="b")
    story.end("b", TurnSummary(turn=1, stop_reason="end_turn"))
    story.tell(CURSOR_ADVANCED, id="b", reader="owner", seq=4)
    assert list(PodTable(story.events)) == list(story.table)
    assert len(story.table) == 2


def test_a_reserved_pod_has_a_name_and_no_secret_values() -> None:
    story = Story()
    story.reserve("a")
    record = story.table.named("name-a")
    assert record is not None
    assert record.living
    assert record.env_names == ("KEY",)
    assert "secret" not in repr(story.events)


def test_a_failed_spawn_leaves_no_row_and_no_name() -> None:
    story = Story()
    story.reserve("a")
    story.tell(SPAWN_FAILED, id="a", error="start_failed")
    assert story.names() == []
    assert story.table.named("name-a") is None


def test_a_move_that_the_journal_does_not_tell_is_forgotten_by_the_next_process() -> None:
    story = Story()
    story.reserve("a")
    story.table.set_life("a", Life.LAUNCHING)
    story.tell(CURSOR_ADVANCED, id="a", reader="r", seq=1)
    again = PodTable()
    assert restore(again, memory(story.table)) == []
    again.forget_unjournaled()
    assert list(again) == list(PodTable(story.events))


def test_a_pod_lives_from_reservation_to_end() -> None:
    story = Story()
    story.reserve("a")
    assert life(story, "a") is Life.RESERVED
    story.table.set_life("a", Life.LAUNCHING)
    assert life(story, "a") is Life.LAUNCHING
    record = story.table.get("a")
    assert record is not None
    story.tell(POD_SPAWNED, **spawned_data(record, keeper=KEEPER, pid=9, message=None))
    assert life(story, "a") is Life.RUNNING
    story.tell(POD_STOPPING, id="a")
    assert life(story, "a") is Life.STOPPING
    assert [record.id for record in story.table.living()] == ["a"]
    story.end("a")
    ended = story.table.get("a")
    assert ended is not None
    assert (ended.life, ended.state, ended.exit) == (
        Life.ENDED,
        "stopped",
        ExitRecord(status=0, reason="exited"),
    )
    assert ended.life not in LIVING
    assert story.table.living() == []
    story.tell(POD_REMOVED, id="a")
    assert story.names() == []


def test_the_tree_is_walked_parents_first() -> None:
    story = Story()
    for pod_id, parent in [("a", None), ("b", "a"), ("c", "b"), ("d", "a"), ("e", None)]:
        story.run(pod_id, parent)
    table = story.table
    assert [record.id for record in table.descendants(None)] == ["a", "b", "c", "d", "e"]
    assert [record.id for record in table.descendants("a")] == ["b", "c", "d"]
    assert [record.id for record in table.children("a")] == ["b", "d"]
    assert table.ancestors("c") == ["b", "a"]
    assert [table.depth(pod_id) for pod_id in (None, "a", "c")] == [0, 1, 3]
    story.end("d")
    assert table.living_children() == {None: 2, "a": 1, "b": 1}


def test_children_of_a_removed_pod_belong_to_its_parent() -> None:
    story = Story()
    story.run("a")
    story.run("b", "a")
    story.run("c", "b")
    story.end("b")
    story.tell(POD_REMOVED, id="b")
    assert story.table.ancestors("c") == ["a"]


def test_a_reparented_pod_has_its_new_parent() -> None:
    story = Story()
    story.run("a")
    story.run("b", "a")
    story.tell(POD_REPARENTED, id="b", parent_id=None)
    assert story.table.ancestors("b") == []


def test_a_cursor_never_goes_back_and_is_each_readers_own() -> None:
    story = Story()
    story.run("a")
    story.tell(CURSOR_ADVANCED, id="a", reader="x", seq=5)
    story.tell(CURSOR_ADVANCED, id="a", reader="x", seq=3)
    assert story.table.cursor("a", "x") == 5
    assert story.table.cursor("a", "y") == 0
    assert story.table.cursor("nobody", "x") == 0


def test_a_replacement_takes_the_name_only_once_it_runs() -> None:
    story = Story()
    story.run("a", name="n")
    story.end("a")
    story.reserve("b", name="n", replaces="a")
    assert _named(story, "n") == "a"
    story.tell(SPAWN_FAILED, id="b", error="x")
    assert _named(story, "n") == "a"
    story.run("c", name="n", replaces="a")
    assert _named(story, "n") == "c"
    story.tell(POD_REMOVED, id="a")
    assert _named(story, "n") == "c"


def test_a_replacement_of_a_pod_that_is_gone_has_the_name_at_once() -> None:
    story = Story()
    story.reserve("b", name="n", replaces="gone")
    assert _named(story, "n") == "b"


def test_a_message_id_finds_the_pod_it_made_for_the_same_asker() -> None:
    story = Story()
    story.run("a")
    story.run("b", "a", message_id="m1")
    found = story.table.spawned_by_message("a", "m1")
    assert found is not None
    assert found.id == "b"
    assert story.table.spawned_by_message(None, "m1") is None
    assert story.table.spawned_by_message("a", "m2") is None


def test_events_of_other_versions_and_of_unknown_pods_change_nothing() -> None:
    story = Story()
    story.run("a")
    before = list(story.table)
    story.tell("something_new", id="a")
    story.tell("warning", code="torn", message="cut")
    story.tell(POD_ENDED, id="nobody")
    assert list(story.table) == before


def _named(story: Story, name: str) -> str | None:
    record = story.table.named(name)
    return None if record is None else record.id


def test_an_ended_pod_keeps_what_was_never_delivered() -> None:
    story = Story()
    story.run("a")
    record = story.table.get("a")
    assert record is not None
    late = UndeliveredMessage(
        message_id="m", input="late", sender="pod lead", accepted=1.0, given_up=2.0
    )
    data = ended_data(
        record, state="failed", reason="", exit_record=ExitRecord(status=1, reason="exited"),
        last_turn=None, undelivered=(late,),
    )  # fmt: skip
    story.tell(POD_ENDED, **data)
    ended = story.table.get("a")
    assert ended is not None
    assert ended.undelivered == (late,)


def test_a_paused_pod_takes_up_room_until_it_goes_on() -> None:
    story = Story()
    story.run("a")
    story.tell(POD_PAUSED, id="a", pod="name-a")
    assert life(story, "a") is Life.PAUSED
    assert [record.id for record in story.table.living()] == ["a"]
    story.tell(POD_RESUMED, id="a", pod="name-a")
    assert life(story, "a") is Life.RUNNING


def test_a_pod_that_is_started_again_lives_all_the_time_and_is_counted() -> None:
    story = Story()
    story.run("a", restart=RestartPolicy(when="on-failure", limit=7))
    record = story.table.get("a")
    assert record is not None
    assert record.restart.limit == 7
    killed = ExitRecord(status=-9, reason="signalled")
    story.tell(
        POD_CRASHED,
        **crashed_data(record, attempt=2, due=1234.5, reason="killed", exit_record=killed),
    )
    crashed = story.table.get("a")
    assert crashed is not None
    assert crashed.living
    assert crashed.restarts == Restarts(attempt=2, total=0, due=1234.5, reason="killed")
    keeper = ProcessIdentity(pid=17, start_ticks=18, boot_id="b")
    story.tell(POD_RESTARTED, **spawned_data(record, keeper=keeper, pid=19, message=None))
    again = story.table.get("a")
    assert again is not None
    assert (again.life, again.keeper, again.pid, again.exit) == (Life.RUNNING, keeper, 19, None)
    assert again.restarts == Restarts(attempt=2, total=1, due=None, reason="killed")
    assert again.began == 1000.0 + len(story.events)


def test_a_restored_pod_has_no_end_any_more_and_its_attempts_count_anew() -> None:
    story = Story()
    story.run("a")
    story.end("a")
    record = story.table.get("a")
    assert record is not None
    story.tell(POD_RESTORING, **restoring_data(record, reason="restored"))
    assert life(story, "a") is Life.RESTORING
    story.tell(POD_RESTARTED, **spawned_data(record, keeper=KEEPER, pid=19, message=None))
    again = story.table.get("a")
    assert again is not None
    assert (again.life, again.state, again.ended) == (Life.RUNNING, None, None)
    assert (again.restarts.attempt, again.restarts.total) == (0, 1)


def test_an_ended_pod_leaves_word_how_far_it_was_told_of_its_children() -> None:
    story = Story()
    story.run("a")
    story.run("b", "a")
    parent = story.table.get("a")
    assert parent is not None
    data = ended_data(
        parent, state="stopped", reason="", exit_record=ExitRecord(status=0, reason="exited"),
        last_turn=None, told={"b": 7, "gone": 3},
    )  # fmt: skip
    story.tell(POD_ENDED, **data)
    child = story.table.get("b")
    assert child is not None
    assert child.told == 7


def test_a_pod_that_is_restored_is_told_the_rest_of_what_others_were_told_of_its_children() -> None:
    story = Story()
    story.run("a")
    story.run("b", "a")
    story.end("b")
    story.end("a")
    parent = story.table.get("a")
    assert parent is not None
    story.tell(POD_RESTORING, **restoring_data(parent, reason="wanted", told={"b": 9, "gone": 3}))
    child = story.table.get("b")
    assert child is not None
    assert child.told == 9
