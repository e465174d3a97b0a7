"""`restore`: an ended pod runs again on its own journal, or stays ended as it was.

Owns the way from a pod that was stopped, crashed or lost to one that has answered: same id and
name, its history there, its scope taken again. A failure or a cancellation at any point ends what
there is of it under a shield. The restore is a task of its asker's connection, as a spawn is.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

import trio

from pods.keeper.record import read_record
from pods.lifecycle import Life, Trigger
from pods.records.events import POD_REPARENTED
from pods.records.record import PodRecord
from pods.supervisor.acts import LOST, Facts, perform
from pods.supervisor.authority import Caller, find_pod, known_as
from pods.supervisor.bring_up import Start, bring_up
from pods.supervisor.ceilings import check_share
from pods.supervisor.core import Supervisor
from pods.supervisor.enforcement import has_to_be_tried, require_enforcement
from pods.supervisor.live import LivePod
from pods.supervisor.own_use import OwnUse, own_use_of, used_by
from pods.supervisor.plan import (
    check_caps,
    check_descriptors,
    check_directory,
    check_prompt,
    is_being_replaced,
)
from pods.supervisor.probes import holds_events
from pods.supervisor.relay import TOLD_SECONDS
from pods.supervisor.restart import record_running
from pods.supervisor.spawn import ROLLBACK_SECONDS, answer
from pods.supervisor.watch import bury, watch
from pods_protocol.errors import (
    InvalidParams,
    NameTaken,
    PodRunning,
    PodsError,
    StartFailed,
)
from pods_protocol.process_messages import Revival
from pods_protocol.supervisor_messages import RestorePod, SpawnPodResult


async def restore(supervisor: Supervisor, caller: Caller, request: RestorePod) -> SpawnPodResult:
    """Start an ended pod again on its own journal.

    Raises:
        UnknownPod: the caller has no such pod.
        PodsError: as `RestorePod` lists them; the pod is ended as before.
    """
    found = find_pod(supervisor, caller, request.pod)
    parents_use = await own_use_of(supervisor, _living_parent(supervisor, found))
    record = _check(supervisor, caller, request, parents_use)
    if has_to_be_tried(record.doors, exactly=record.require_enforcement):
        await require_enforcement(
            supervisor,
            record.name,
            record.grant,
            record.python,
            doors=record.doors,
            exactly=record.require_enforcement,
            parent_id=_living_parent(supervisor, record),
        )
        record = _check(supervisor, caller, request, parents_use)  # others were served meanwhile
    if await _told_above(supervisor, record):
        record = _check(supervisor, caller, request, parents_use)  # as above
    parent_id = _living_parent(supervisor, record)
    was = f"it was {record.state}" + (f": {record.reason}" if record.reason else "")
    facts = Facts(why=f"restored; {was}", told=_heard_above(supervisor, record))
    await perform(supervisor, record.id, Trigger.RESTORE_ASKED, facts)
    # From here on it is told of those below it again: what nobody above it was.
    supervisor.relay.may_have_news(supervisor.table.descendants(record.id))
    live = supervisor.add_live(record.id, record.name, secrets.token_hex(32))
    if record.restart.when != "never":
        live.env = request.env
    try:
        with trio.CancelScope() as live.spawning:
            with suppress(PodsError):  # damaged: its process says so
                await live.catch_up()
            await _reaped(supervisor, record.id)
            if parent_id != record.parent_id:
                named = {"id": record.id, "pod": record.name, "parent_id": parent_id}
                supervisor.record(POD_REPARENTED, named)
            start = Start.of_record(
                supervisor,
                supervisor.known(record.id),
                env=request.env,
                revival=Revival(reason=f"before, {was}"),
                verb="restore",
                prompt=request.prompt,
                sender=known_as(supervisor, caller),
            )
            message = await bring_up(supervisor, live, start)
            await trio.lowlevel.checkpoint_if_cancelled()  # the last chance to stay ended
            await record_running(supervisor, live)
            supervisor.nursery.start_soon(watch, supervisor, live)
            return answer(supervisor, caller, supervisor.known(record.id), message)
        raise StartFailed(
            f"cannot restore pod {record.name}: it was stopped while it started; restore it again",
            step="stopped",
            detail="",
        )
    except BaseException:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + ROLLBACK_SECONDS):
            await end_again(supervisor, live)
        raise
    finally:
        live.spawning = None
        live.started.set()


def _check(
    supervisor: Supervisor, caller: Caller, request: RestorePod, parents_use: OwnUse
) -> PodRecord:
    """Refuse what cannot be restored; no checkpoint."""
    record = find_pod(supervisor, caller, request.pod)
    if supervisor.closed_to_spawns:
        raise StartFailed(
            f"cannot restore pod {record.name}: the supervisor is ending; ask again, and a new one "
            "is started",
            step="closing",
            detail="",
        )
    state = supervisor.state_of(record)
    if record.life is not Life.ENDED or record.id in supervisor.pods:
        raise PodRunning(
            f"cannot restore pod {record.name}: it is {state}; send it a message, or stop it first",
            pod=record.name,
            state=state,
        )
    holder = supervisor.table.named(record.name)
    making_way = record.id in supervisor.removing or is_being_replaced(supervisor, record.id)
    if making_way or holder is None or holder.id != record.id:
        raise NameTaken(
            f"cannot restore pod {record.name}: it makes way for another pod of that name, or is "
            "being removed; spawn a new one",
            name=record.name,
        )
    missing = sorted(set(record.env_names) - set(request.env))
    if missing:
        raise InvalidParams(
            f"cannot restore pod {record.name}: it had the variables {', '.join(missing)}, whose "
            "values are kept nowhere; give them again: `pods restore --env NAME=VALUE`",
            path="env",
            missing=missing,
        )
    _check_journal(supervisor, record)
    check_prompt(request.prompt)
    check_directory(record.cwd, None)
    parent_id = _living_parent(supervisor, record)
    check_caps(supervisor, parent_id, record.name, verb="restore")
    if parent_id is not None:
        parent = supervisor.known(parent_id)
        used = used_by(supervisor, parent, parents_use)
        had = record.turns_counted
        check_share(record.name, record.limits, had, parent.name, parent.limits, used)
    check_descriptors(supervisor, record.name, verb="restore")
    return record


def _check_journal(supervisor: Supervisor, record: PodRecord) -> None:
    """Refuse a pod without its history: it would begin on an empty journal, as if newly spawned."""
    journal = supervisor.journal_of(record.id)
    if holds_events(journal):
        return
    raise StartFailed(
        f"cannot restore pod {record.name}: no journal can be read in {journal}: a removal of it "
        f"was begun and did not get to its end, or somebody took it away or closed it; open it "
        f"where it is there (`chmod 700`), else `pods rm {record.name}` removes the rest, then "
        f"spawn it anew",
        step="journal",
        detail="the journal is gone",
    )


async def _told_above(supervisor: Supervisor, record: PodRecord) -> bool:
    """Let who answers for those below an ended pod be told of them, and know how far that came.

    Returns:
        Whether others were served meanwhile.
    """
    above = supervisor.relay.recipient(record)
    below = supervisor.table.descendants(record.id)
    live = None if above is None else supervisor.pods.get(above.id)
    if live is None or not below:
        return False
    with trio.move_on_after(TOLD_SECONDS):  # what it has not heard then, this pod is told
        for child in below:
            await supervisor.relay.wait_told(child)
    with suppress(PodsError):  # damaged: it is told again what it may have been told
        await live.catch_up()
    return True


def _heard_above(supervisor: Supervisor, record: PodRecord) -> dict[str, int]:
    """How far whoever answers for those below an ended pod has been told of them."""
    above = supervisor.relay.recipient(record)
    live = None if above is None else supervisor.pods.get(above.id)
    if live is None:
        return {}
    cursors = live.fold.inbox.cursors
    below = supervisor.table.descendants(record.id)
    return {child.id: cursors[child.id] for child in below if child.id in cursors}


async def _reaped(supervisor: Supervisor, pod_id: str) -> None:
    """Let the launcher be done with the keeper before: an id is launched again only then."""
    if pod_id in await supervisor.launcher.keepers():
        await supervisor.launcher.wait_ended(pod_id)
    supervisor.launcher.forget(pod_id)


def _living_parent(supervisor: Supervisor, record: PodRecord) -> str | None:
    """Who answers for it now: the nearest pod above it that runs, or else a person."""
    for above in supervisor.table.ancestors(record.id):
        known = supervisor.table.get(above)
        if known is not None and known.life is Life.RUNNING:
            return above
    return None


async def end_again(supervisor: Supervisor, live: LivePod) -> None:
    """End a pod that did not come back, as it had ended before."""
    record = supervisor.known(live.id)
    facts = Facts(
        exit_record=read_record(live.directory) or record.exit or LOST,
        why=record.reason or "it was restored and did not start",
    )
    await bury(supervisor, live, facts, Trigger.SPAWN_FAILED)
