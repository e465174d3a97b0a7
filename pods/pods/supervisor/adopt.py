"""What a new supervisor does with the pods of the one before it.

Owns the judgement of each pod that the journal calls living: alive (connect and go on), dead (end
its journal, give everything back), or never quite started (roll back). Called by `service` before
the control socket answers, so that no client ever sees a table that is not true.
"""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import trio

from pods.keeper.record import read_record
from pods.lifecycle import Life, Trigger
from pods.records.record import PodRecord
from pods.scope.identity import boot_id, is_alive
from pods.scope.leases import Lease
from pods.supervisor.acts import (
    LOST,
    Facts,
    perform,
    release_later,
    release_leases,
    settle_children,
)
from pods.supervisor.core import Supervisor
from pods.supervisor.freeze import freeze
from pods.supervisor.keeper_link import ask_keeper
from pods.supervisor.leftovers import SET_ASIDE, remove_stale, stale_directories
from pods.supervisor.live import LivePod
from pods.supervisor.processes import living_child
from pods.supervisor.records import read_token
from pods.supervisor.restart import came_down, end_attempt
from pods.supervisor.restore import end_again
from pods.supervisor.spawn import roll_back_later
from pods.supervisor.stop import ask_stop
from pods.supervisor.watch import bury, wait_tree_gone, watch
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.errors import CapacityReached, PodsError, StorageFailed
from pods_protocol.process_messages import GetKeeperStatus

REBOOTED: Final = "the machine was started anew since"

SETTLED: Final = ("stopped", "lost")
"""Ends that only a supervisor writes into the journal of a pod between two lives: it was not to be
started again, and the disk refused to have that on record. (A pod writes `failed` by itself.)"""

GUARDIAN_SECONDS: Final = 3.0
"""A launcher clears what a killed keeper left in milliseconds, one that was stopped within a
second. Where something waits for a device, or for room on the disk, it takes as long as that does:
no client may wait longer for a supervisor that starts, and the pod is `stopping` meanwhile."""


async def adopt_pods(supervisor: Supervisor) -> None:
    """Settle every pod that the journal calls living, side by side; give back what is left over."""
    leases: Mapping[str, Lease] = {}
    with suppress(PodsError):  # `doctor` says what is wrong with it
        leases = (await trio.to_thread.run_sync(supervisor.registry.read)).leases
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_release_left_over, supervisor, leases)
        for record in supervisor.table.living():
            nursery.start_soon(adopt_pod, supervisor, record, leases.get(record.id))
    _settle_orphans(supervisor)
    await _remove_left_over(supervisor)
    supervisor.relay.may_have_news(supervisor.table)


async def _release_left_over(supervisor: Supervisor, leases: Mapping[str, Lease]) -> None:
    """Release what pods hold that have ended here: whoever buried them was killed at it."""
    left = [
        lease.pod_id
        for lease in leases.values()
        if lease.supervisor == supervisor.places.name
        and not lease.is_pending
        and not _is_living(supervisor, lease.pod_id)
        and (lease.holder is None or not is_alive(lease.holder))
    ]
    if left:
        try:
            await release_leases(supervisor, left)
        except PodsError as error:
            supervisor.log(f"cannot release the leases of pods that have ended: {error.message}")
            supervisor.nursery.start_soon(release_later, supervisor, left)


async def _remove_left_over(supervisor: Supervisor) -> None:
    """Remove the runtime directories of pods that have ended: tokens and secrets are in there."""
    for name in stale_directories(supervisor):
        # What nobody knows is for `doctor` to show.
        if supervisor.table.get(name.removesuffix(SET_ASIDE)) is not None:
            try:
                await remove_stale(supervisor, name)
            except StorageFailed as error:
                supervisor.log(error.message)


def _settle_orphans(supervisor: Supervisor) -> None:
    """Do what is left to do for the children of pods whose end is on disk and no more than that."""
    for pod_id in {record.parent_id for record in supervisor.table.living()}:
        parent = None if pod_id is None else supervisor.table.get(pod_id)
        if parent is not None and not parent.living:
            try:
                settle_children(supervisor, parent)
            except StorageFailed as error:
                supervisor.log(f"cannot settle the children of {parent.name}: {error.message}")


def _is_living(supervisor: Supervisor, pod_id: str) -> bool:
    record = supervisor.table.get(pod_id)
    return record is not None and record.living


async def adopt_pod(supervisor: Supervisor, record: PodRecord, lease: Lease | None) -> None:
    """Settle one pod that the journal calls living and that nobody holds; what fails is logged."""
    token = read_token(supervisor.places.pod_token(record.id))
    # Where the file is gone nobody has it; an empty one would be everybody's.
    live = supervisor.add_live(record.id, record.name, token or secrets.token_hex(32))
    live.pod_pid = record.pid
    live.keeper_identity = record.keeper
    live.launch_asked = True
    live.started.set()
    try:
        await _judge(supervisor, live, record, lease)
    except Exception:
        supervisor.log(f"cannot adopt pod {record.name}:\n{traceback.format_exc()}")


async def _judge(
    supervisor: Supervisor, live: LivePod, record: PodRecord, lease: Lease | None
) -> None:
    if record.life is Life.RESERVED:
        await _find_half_started(supervisor, live, lease)
        facts = Facts(error="interrupted")
        try:
            await perform(supervisor, live.id, Trigger.SPAWN_FAILED, facts)
        except PodsError:
            supervisor.nursery.start_soon(roll_back_later, supervisor, live.id, facts)
            raise
        finally:
            supervisor.drop_live(live)
        return
    if record.life is Life.RESTORING:
        await _find_half_started(supervisor, live, lease)
        await end_again(supervisor, live)
        return
    if record.keeper is None or record.keeper.boot_id != boot_id():
        witnessed = read_record(live.directory)
        await bury(
            supervisor,
            live,
            Facts(exit_record=LOST, why=REBOOTED)
            if witnessed is None
            else Facts(exit_record=witnessed),
        )
        return
    live.launcher = None if lease is None else lease.guardian
    if record.life is Life.RESTARTING:
        live.launcher = None  # a start may have been under way, of which nothing is on record
        await _find_half_started(supervisor, live, lease)
        with suppress(PodsError):
            await live.catch_up()
        if live.fold.ended in SETTLED:
            # A start may have been under way; its pod was told to end, and may not have yet.
            over = trio.Event()
            supervisor.nursery.start_soon(_end_settled, supervisor, live, record, over)
            with trio.move_on_after(GUARDIAN_SECONDS):
                await over.wait()
            return
        supervisor.nursery.start_soon(watch, supervisor, live)
        return
    if not is_alive(record.keeper):
        live.dead = True
        ending: Facts | None = None
        with trio.move_on_after(GUARDIAN_SECONDS):
            ended = await wait_tree_gone(supervisor, live)
            ending = await came_down(supervisor, live, ended)
        # Where nobody has proven yet that nothing is left, the pod keeps its lease until then; and
        # where the disk refuses to have its crash on record, `watch` goes on trying.
        if ending is None:
            supervisor.nursery.start_soon(watch, supervisor, live)
        else:
            await bury(supervisor, live, ending)
        return
    path = supervisor.places.keeper_socket(live.id)
    live.hold_keeper(supervisor.nursery, record.keeper, path, supervisor.token)
    # Nobody may take it for idle who asks before its keeper has told of its end.
    with suppress(CapacityReached):  # it counts as living then; `watch` waits for its end
        live.dead = record.pid is not None and living_child(record.keeper, record.pid) is None
    with suppress(PodsError):  # damaged: what comes over its socket still counts
        live.take_slice()  # all of it, for most; `watch` reads on, and nobody else waits for that
    supervisor.nursery.start_soon(watch, supervisor, live)
    if record.life is Life.PAUSED:
        supervisor.nursery.start_soon(_keep_paused, supervisor, live)
    if record.life is Life.STOPPING:
        ask_stop(supervisor, live, "now", DEFAULT_GRACE_SECONDS)


async def _end_settled(
    supervisor: Supervisor, live: LivePod, record: PodRecord, over: trio.Event
) -> None:
    """End what is left of a pod that is not to be started again, however long that takes."""
    try:
        ended = await end_attempt(supervisor, live, record)
        await bury(supervisor, live, Facts(exit_record=ended, why=live.fold.end_message))
    except Exception:
        supervisor.log(f"cannot bury pod {record.name}:\n{traceback.format_exc()}")
    finally:
        over.set()


async def _find_half_started(supervisor: Supervisor, live: LivePod, lease: Lease | None) -> None:
    """Hold the keeper of a spawn that was cut off, so that the roll back ends it.

    Where the launcher was killed, too, nobody but the keeper itself can say that it is there.
    """
    if lease is not None:
        live.keeper_identity = lease.holder
    path = supervisor.places.keeper_socket(live.id)
    try:
        status = await ask_keeper(path, supervisor.token, live.name, GetKeeperStatus())
    except PodsError:
        return  # it never was, it has ended, or the launcher knows it
    live.hold_keeper(supervisor.nursery, status.keeper, path, supervisor.token)


async def _keep_paused(supervisor: Supervisor, live: LivePod) -> None:
    """The one before us may have died between writing that it is paused and the signal."""
    async with live.holding:
        if supervisor.known(live.id).life is not Life.PAUSED:
            return
        try:
            await freeze(live)
        except PodsError as error:
            supervisor.log(f"cannot keep pod {live.name} paused: {error.message}")
