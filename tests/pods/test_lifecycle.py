"""The table of lives."""

from __future__ import annotations

import pytest

from pods.lifecycle import TRANSITIONS, Command, IllegalMove, Life, Trigger, handle


@pytest.mark.parametrize("at", list(Life))
@pytest.mark.parametrize("trigger", list(Trigger))
def test_every_trigger_in_every_life_is_in_the_table_or_a_bug_of_ours(
    at: Life, trigger: Trigger
) -> None:
    if trigger in TRANSITIONS[at]:
        assert handle(at, trigger) == TRANSITIONS[at][trigger]
    else:
        with pytest.raises(IllegalMove, match=at.value):
            handle(at, trigger)


def test_every_life_can_be_reached_and_only_removed_and_failed_are_final() -> None:
    reached = {Life.RESERVED}
    for _ in Life:
        reached |= {to for at in reached for to, _ in TRANSITIONS[at].values()}
    assert reached == set(Life)
    assert {at for at in Life if not TRANSITIONS[at]} == {Life.REMOVED, Life.FAILED}


def test_a_lease_is_given_back_only_after_the_tree_is_gone() -> None:
    for moves in TRANSITIONS.values():
        for trigger, (_, commands) in moves.items():
            if Command.RELEASE_LEASE not in commands:
                continue
            before = commands[: commands.index(Command.RELEASE_LEASE)]
            assert trigger is Trigger.TREE_GONE or Command.KILL_TREE in before


def test_an_end_is_on_disk_before_the_runtime_directory_goes_and_children_are_settled() -> None:
    _, commands = handle(Life.RUNNING, Trigger.TREE_GONE)
    order = [Command.END_JOURNAL, Command.RECORD_ENDED, Command.REMOVE_RUNTIME]
    assert [command for command in commands if command in order] == order
    assert commands[-1] is Command.SETTLE_CHILDREN


def test_a_second_stop_joins_the_first() -> None:
    assert handle(Life.STOPPING, Trigger.STOP_ASKED) == (Life.STOPPING, ())


def test_only_what_died_unasked_is_started_again() -> None:
    from_lives = {at for at, moves in TRANSITIONS.items() if Trigger.CRASHED in moves}
    assert from_lives == {Life.RUNNING, Life.PAUSED, Life.RESTARTING}
    assert handle(Life.STOPPING, Trigger.TREE_GONE)[0] is Life.ENDED
    assert {at for at, moves in TRANSITIONS.items() if Trigger.RESTORE_ASKED in moves} == {
        Life.ENDED
    }


def test_between_two_processes_a_pod_gives_nothing_back() -> None:
    _, commands = handle(Life.RUNNING, Trigger.CRASHED)
    assert commands == (Command.RECORD_CRASHED, Command.END_TURN)
    assert handle(Life.RESTARTING, Trigger.ACCEPTED) == (
        Life.RUNNING,
        (Command.RECORD_RESTARTED,),
    )


def test_a_restore_that_fails_leaves_a_pod_ended_with_its_tree_gone_first() -> None:
    to, commands = handle(Life.RESTORING, Trigger.SPAWN_FAILED)
    assert to is Life.ENDED
    assert commands[0] is Command.KILL_TREE
    assert Command.REMOVE_STATE not in commands


def test_a_paused_pod_goes_on_or_ends_as_a_running_one() -> None:
    for trigger in (Trigger.STOP_ASKED, Trigger.CRASHED, Trigger.TREE_GONE):
        assert handle(Life.PAUSED, trigger) == handle(Life.RUNNING, trigger)
    assert handle(Life.PAUSED, Trigger.RESUME_ASKED)[1][-1] is Command.RECORD_RESUMED
    assert handle(Life.RUNNING, Trigger.PAUSE_ASKED)[1][0] is Command.RECORD_PAUSED
