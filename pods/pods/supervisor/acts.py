"""Performs what the table of lives commands: one dispatcher, one small function a command.

(`stop` performs the two commands of its own trigger, which must happen without a checkpoint.)

Owns the order in which a pod's things are given back: its tree, then its journal's end, its lease,
the record, its directories, its children. Knows nothing of who asked. Called by spawn (roll back),
stop, removal and the watch of each pod.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, assert_never

import trio
from attrs import evolve, field, frozen

from pods.descriptors import NO_DESCRIPTORS
from pods.journal.ending import end_of_the_dead
from pods.journal.segments import sync_newest
from pods.journal.store import Journal
from pods.lifecycle import Command, Life, Trigger
from pods.pod.limit_rules import ended_by_keeper
from pods.records.events import (
    POD_CRASHED,
    POD_ENDED,
    POD_PAUSED,
    POD_REMOVED,
    POD_REPARENTED,
    POD_RESTARTED,
    POD_RESTORING,
    POD_RESUMED,
    POD_SPAWNED,
    SPAWN_FAILED,
    crashed_data,
    ended_data,
    restoring_data,
    spawned_data,
)
from pods.records.record import PodRecord
from pods.scope.leases import Lease
from pods.scope.table import Table
from pods.supervisor import audited
from pods.supervisor.core import Supervisor
from pods.supervisor.freeze import freeze, thaw
from pods.supervisor.kill import kill_tree
from pods.supervisor.lending import tell_lent
from pods.supervisor.removal import close_journal, remove_tree
from pods.supervisor.stop import stop_in_background
from pods_protocol.errors import PodsError, StorageFailed
from pods_protocol.pod_messages import RunResult
from pods_protocol.values import Enforcement, ExitRecord, LimitName, PodState

LOST = ExitRecord(status=None, reason="lost")
"""The record of a pod whose end nobody saw."""

FIRST_RELEASE_RETRY_SECONDS: Final = 0.5
LAST_RELEASE_RETRY_SECONDS: Final = 5.0
"""Between attempts to write to a registry that refuses, each twice the one before. Once there is
space again, others are refused the ground of the dead for no longer than the last; an attempt is
one small write."""


def _nothing() -> None:
    """What follows from most."""


@frozen(kw_only=True)
class Facts:
    """What the commands of one move need to know.

    Attributes:
        message: the fate of the first message, where the pod came up.
        pid: of the pod, where it came up.
        enforcement: what it is held to, where it came up.
        exit_record: how the pod's process ended.
        state, reason: what the end is called; found out while the journal is ended.
        error: the code of what failed a spawn.
        attempt, due, why: of the start again that is due: its number in a row, when, what for.
        told: of those below it that is started again, how far others were told meanwhile.
        give_up: why it is not started again, though its policy asks for it.
        insist: the end is not recorded before the pod's journal has it.
        unwritten: why the journal could not be ended; found out while it is.
        then: what follows once a spawn is on record, before anything else runs.
    """

    message: RunResult | None = None
    pid: int = 0
    enforcement: Enforcement | None = None
    exit_record: ExitRecord = LOST
    state: PodState = "lost"
    reason: str = ""
    error: str = ""
    attempt: int = 0
    due: float = 0.0
    why: str = ""
    told: Mapping[str, int] = field(factory=dict[str, int])
    give_up: str = ""
    insist: bool = True
    unwritten: StorageFailed | None = None
    then: Callable[[], None] = _nothing


async def perform(supervisor: Supervisor, pod_id: str, trigger: Trigger, facts: Facts) -> None:
    """Do everything that `trigger` commands for this pod, in order.

    Raises:
        IllegalMove: it cannot happen to a pod in this life.
        StorageFailed: a record could not be written.
    """
    _, commands = supervisor.move(pod_id, trigger)
    record = supervisor.known(pod_id)
    for command in commands:
        match command:
            case Command.KILL_TREE:
                await kill_tree(supervisor, supervisor.pods.get(pod_id), record)
            case Command.END_TURN:
                await end_turn(supervisor, record, facts)
            case Command.END_JOURNAL:
                facts = await end_journal(supervisor, record, facts)
            case Command.FREEZE_TREE:
                await freeze(supervisor.pods[pod_id])
            case Command.THAW_TREE:
                await thaw(supervisor.pods[pod_id])
            case Command.RELEASE_LEASE:
                await release_lease(supervisor, record, facts.error)
            case Command.REMOVE_RUNTIME:
                await _remove(supervisor, record, trigger, supervisor.places.pod_runtime(pod_id))
            case Command.REMOVE_STATE:
                state = supervisor.places.places.pod_state(pod_id)
                if trigger is Trigger.REMOVE_ASKED:
                    close_journal(state)
                await _remove(supervisor, record, trigger, state)
            case Command.SETTLE_CHILDREN:
                settle_children(supervisor, record)
            case Command.RECORD_SPAWNED:
                await _record_spawned(supervisor, record, facts)
            case _:
                write_record(supervisor, record, command, facts)


async def _record_spawned(supervisor: Supervisor, record: PodRecord, facts: Facts) -> None:
    """Write that a pod has come up, with the others that have; no checkpoint where there is none.

    A spawn that is given up while it waits for that was never written, and can be rolled back.
    """
    spawning = sum(live.spawning is not None for live in supervisor.pods.values())
    data = _came_up(supervisor, record, facts)
    await supervisor.commits.record(POD_SPAWNED, data, then=facts.then, alone=spawning == 1)


def _came_up(supervisor: Supervisor, record: PodRecord, facts: Facts) -> dict[str, Any]:
    keeper = supervisor.pods[record.id].keeper_identity
    assert keeper is not None, "a pod that accepted something has a keeper"
    return spawned_data(
        record,
        keeper=keeper,
        pid=facts.pid,
        message=facts.message,
        enforcement=facts.enforcement,
    )


def write_record(supervisor: Supervisor, record: PodRecord, command: Command, facts: Facts) -> None:
    """Write the journal event that a command asks for; no checkpoint."""
    named = {"id": record.id, "pod": record.name}
    match command:
        case Command.RECORD_RESTARTED:
            supervisor.record(POD_RESTARTED, _came_up(supervisor, record, facts), durable=True)
        case Command.RECORD_CRASHED:
            data = crashed_data(
                record,
                attempt=facts.attempt,
                due=facts.due,
                reason=facts.why,
                exit_record=facts.exit_record,
            )
            supervisor.record(POD_CRASHED, data)
        case Command.RECORD_RESTORING:
            supervisor.record(
                POD_RESTORING, restoring_data(record, reason=facts.why, told=facts.told)
            )
        case Command.RECORD_FAILED:
            supervisor.record(SPAWN_FAILED, {**named, "error": facts.error})
        case Command.RECORD_PAUSED:
            supervisor.record(POD_PAUSED, named)
        case Command.RECORD_RESUMED:
            supervisor.record(POD_RESUMED, named)
        case Command.RECORD_ENDED:
            if facts.unwritten is not None:
                # Whoever tries again, this supervisor or the next, finds it still to be done.
                raise facts.unwritten
            data = ended_data(
                record,
                state=facts.state,
                reason=facts.reason,
                exit_record=facts.exit_record,
                last_turn=supervisor.pods[record.id].fold.last_turn,
                undelivered=supervisor.pods[record.id].fold.undelivered,
                step=supervisor.pods[record.id].step,
                told={
                    child: seq
                    for child, seq in supervisor.pods[record.id].fold.inbox.cursors.items()
                    if supervisor.table.get(child) is not None
                },
            )
            supervisor.record(POD_ENDED, data, durable=True)
            audited.ended(supervisor, record, data)
        case Command.RECORD_REMOVED:
            supervisor.record(POD_REMOVED, named, durable=True)
        case (
            Command.KILL_TREE
            | Command.RECORD_SPAWNED
            | Command.CLIMB_LADDER  # these two are `stop`'s: they must not wait for anything
            | Command.RECORD_STOPPING
            | Command.END_TURN
            | Command.FREEZE_TREE
            | Command.THAW_TREE
            | Command.END_JOURNAL
            | Command.RELEASE_LEASE
            | Command.REMOVE_RUNTIME
            | Command.REMOVE_STATE
            | Command.SETTLE_CHILDREN
        ):
            raise AssertionError(f"{command} is not performed here")
        case _:
            assert_never(command)


async def end_journal(supervisor: Supervisor, record: PodRecord, facts: Facts) -> Facts:
    """Make sure that a dead pod's journal says how it ended, and say it back.

    The pod writes its own end where it can. What died before it could gets `turn_ended{lost}`,
    `message_withdrawn{undelivered}` and `stopped` from here: it is proven dead, so we are the
    journal's writer now.
    """
    live = supervisor.pods[record.id]
    exit_record = facts.exit_record
    try:
        await live.catch_up()
        ended = live.fold.ended
        if ended is None:
            asked = record.life is Life.STOPPING
            ended = "stopped" if asked else "lost" if exit_record.reason == "lost" else "failed"
            limit, message = exit_record.limit, why_ended(facts)
            if limit is not None:
                message = ended_by_keeper(limit, record.limits)
            await trio.to_thread.run_sync(_write_end, live.journal, ended, message, False, limit)
            await live.catch_up()
        elif live.fold.last_told > live.vouched:
            await trio.to_thread.run_sync(sync_newest, live.journal)  # killed in front of that
        # A journal that was deleted under the pod says nothing of its end even now.
        state: PodState = live.fold.ended or ended
    except PodsError as error:
        # A full or broken disk keeps a dead pod's lease from nobody. Its end waits for a disk that
        # refuses (`errno`), so that every message gets its fate; a damaged journal gets none.
        supervisor.log(f"cannot end the journal of pod {record.name}: {error.message}")
        state = "lost"
        if facts.insist and isinstance(error, StorageFailed) and error.data.get("errno"):
            facts = evolve(facts, unwritten=error)
    if facts.unwritten is None:
        live.vouch(live.seen)
    reason = "" if state == "stopped" else why_ended(facts)
    if live.fold.limit is not None:
        reason = f"limit {live.fold.limit}: {live.fold.end_message}"
    return evolve(facts, state=state, reason=reason)


async def end_turn(supervisor: Supervisor, record: PodRecord, facts: Facts) -> None:
    """End the turn that a dead pod left, where its next process does not come at once to do it.

    What waits in its queue goes on to wait.
    """
    live = supervisor.pods[record.id]
    if facts.due <= supervisor.options.clock() or live.fold.turn is None:
        return
    message = describe_exit(facts.exit_record)
    try:
        await trio.to_thread.run_sync(_write_end, live.journal, "lost", message, True)
        await live.catch_up()
        live.vouch(live.seen)
    except PodsError as error:
        # Its next process ends the turn first of all.
        supervisor.log(f"cannot end the turn of pod {record.name}: {error.message}")


def _write_end(
    directory: str,
    state: PodState,
    message: str,
    goes_on: bool = False,
    limit: LimitName | None = None,
) -> None:
    journal = Journal.open(directory)
    try:
        events = end_of_the_dead(journal.fold, state, message, goes_on=goes_on, limit=limit)
        journal.append_many(events, durable=True)
    finally:
        journal.close()


def why_ended(facts: Facts) -> str:
    """The end of a pod in words, with the reason why it stays ended where there is one."""
    ended = facts.why or describe_exit(facts.exit_record)
    return f"{ended}; {facts.give_up}" if facts.give_up else ended


def describe_exit(exit_record: ExitRecord) -> str:
    """The end of a process in words."""
    if exit_record.reason == "lost" or exit_record.status is None:
        return "its process is gone and nobody saw how"
    if exit_record.status < 0:
        return f"its process was ended by signal {-exit_record.status}"
    return f"its process exited with status {exit_record.status}"


async def release_lease(supervisor: Supervisor, record: PodRecord, code: str = "") -> None:
    """Give the pod's lease back; what its children hold goes to its parent. Idempotent.

    A registry that cannot be written keeps the lease for now. The rest of the pod's end does not
    wait for that: it is tried again in the background, and by the next supervisor.

    Args:
        supervisor, record: whose lease.
        code: of what failed its spawn, for the audit.
    """
    try:
        await release_leases(supervisor, (record.id,), code)
    except PodsError as error:
        supervisor.log(f"cannot release the lease of pod {record.name}: {error.message}")
        supervisor.nursery.start_soon(release_later, supervisor, (record.id,))


async def release_leases(supervisor: Supervisor, pod_ids: Sequence[str], code: str = "") -> None:
    """Give these leases back in one write, and those that it would not take before.

    Those that are gone are fine.

    Raises:
        PodsError: the registry cannot be written.
    """
    waiting = tuple(supervisor.unreleased)
    # One that was restored meanwhile holds its lease again.
    living = {one.id for one in supervisor.table.living()}
    over = tuple(dict.fromkeys([*pod_ids, *(one for one in waiting if one not in living)]))

    def release(table: Table) -> tuple[Table, list[Lease]]:
        held = [table.leases[pod_id] for pod_id in over if pod_id in table.leases]
        return table.reclaim(over), held

    # A spawn that was refused its scope gives nothing back, nor does one whose lease has lapsed.
    audited.reclaimed(supervisor, await supervisor.registry_worker.submit(release), code)
    supervisor.unreleased.difference_update(waiting)
    records = map(supervisor.table.get, over)
    tell_lent(supervisor, (record.parent_id for record in records if record is not None))


async def release_later(supervisor: Supervisor, pod_ids: Sequence[str]) -> None:
    """Try until the registry takes them: launchers live, so the leases would stand for ever.

    One task tries for all; whoever comes while it does leaves his to it.
    """
    under_way = bool(supervisor.unreleased)
    supervisor.unreleased.update(pod_ids)
    if under_way:
        return
    pause = FIRST_RELEASE_RETRY_SECONDS
    while supervisor.unreleased:
        await trio.sleep(pause)
        if supervisor.unreleased:
            with suppress(PodsError):
                await release_leases(supervisor, ())
        pause = min(pause * 2, LAST_RELEASE_RETRY_SECONDS)


def settle_children(supervisor: Supervisor, record: PodRecord) -> None:
    """A pod has ended: its children go too, or pass to its own parent, as each was told."""
    below = supervisor.table.descendants(record.id)
    for child in supervisor.table.children(record.id):
        if not child.living:
            continue
        if child.on_parent_exit == "stop":
            stop_in_background(supervisor, child.id)
        else:
            supervisor.record(
                POD_REPARENTED,
                {"id": child.id, "pod": child.name, "parent_id": record.parent_id},
            )
    supervisor.relay.pass_on(record.id, below)


async def _remove(supervisor: Supervisor, record: PodRecord, trigger: Trigger, path: str) -> None:
    """As `remove_tree`; where the pod's end must not wait, what stays is told in the log.

    Raises:
        StorageFailed: it stays, and so does the row: the removal can be asked for again, and a roll
            back that only lacked descriptors is tried again.
    """
    try:
        await remove_tree(path)
    except StorageFailed as error:
        asked = trigger is Trigger.REMOVE_ASKED
        spawning = record.life in (Life.RESERVED, Life.LAUNCHING)
        if asked or (spawning and error.data.get("errno") in NO_DESCRIPTORS):
            raise
        supervisor.log(error.message)
