"""What a caller is told of a pod: the row of `list`, and the room that is left.

Owns the building of `PodInfo` and `Capacity`. Used by spawn, list and inspect.
"""

from __future__ import annotations

from contextlib import suppress

from pods.journal.reader import last_seq
from pods.records.record import PodRecord
from pods.scope.identity import memory_bytes
from pods.supervisor.authority import Caller
from pods.supervisor.core import Supervisor
from pods.supervisor.enforcement import enforcement_of
from pods.supervisor.live import LivePod
from pods_protocol.errors import PodsError
from pods_protocol.values import Capacity, PodInfo, TurnSummary


def pod_info(
    supervisor: Supervisor, record: PodRecord, reader: str, *, children: int | None = None
) -> PodInfo:
    """The row of one pod.

    Args:
        reader: whose cursor `unread` counts from.
        children: how many living ones it has, where that is known already.
    """
    if children is None:
        children = len(supervisor.table.living_below(record.id))
    live = supervisor.pods.get(record.id)
    directory = supervisor.journal_of(record.id)
    newest = _newest(directory)
    if live is not None and newest > live.seen:
        with suppress(PodsError):  # damaged: `read` says so
            live.take_slice()  # of a journal that is longer, whoever may wait takes the rest
    parent = None if record.parent_id is None else supervisor.table.get(record.parent_id)
    fold = None if live is None else live.fold
    running = fold is not None and record.living
    return PodInfo(
        id=record.id,
        name=record.name,
        agent=record.agent,
        state=supervisor.state_of(record),
        parent=None if parent is None else parent.name,
        parent_id=record.parent_id,
        depth=supervisor.table.depth(record.id),
        children=children,
        description=record.description,
        cwd=record.cwd,
        scope=record.grant,
        enforcement=enforcement_of(record),
        turn=fold.turn if fold is not None and running else None,
        turn_started=fold.turn_started if fold is not None and running else None,
        queue_length=len(fold.queue) if fold is not None and running else 0,
        waiting_for=_waiting_for(live),
        last_turn=last_turn_of(supervisor, record),
        last_seq=newest,
        unread=max(0, newest - supervisor.table.cursor(record.id, reader)),
        pid=live.pod_pid if live is not None and running else None,
        created=record.created,
        ended=record.ended,
        exit=record.exit,
        on_parent_exit=record.on_parent_exit,
        wake_on=record.wake_on,
        memory_bytes=memory_bytes(live.pod_pid) if live is not None and live.pod_pid else None,
        journal=directory,
        session=record.session,
    )


async def current_info(
    supervisor: Supervisor, record: PodRecord, reader: str, *, children: int | None = None
) -> PodInfo:
    """As `pod_info`, also where the pod's journal is too long to be looked at without a pause.

    No checkpoint where it is not, which is nearly always.
    """
    info = pod_info(supervisor, record, reader, children=children)
    live = supervisor.pods.get(record.id)
    if live is None or not live.behind:
        return info
    with suppress(PodsError):  # damaged: `read` says so
        await live.catch_up()
    now = supervisor.table.get(record.id) or record  # it may have ended, or have been removed
    return pod_info(supervisor, now, reader, children=children)


def last_turn_of(supervisor: Supervisor, record: PodRecord) -> TurnSummary | None:
    """How the pod's newest turn ended: from its fold, or from the record where it is gone."""
    live = supervisor.pods.get(record.id)
    return record.last_turn if live is None else live.fold.last_turn


def _waiting_for(live: LivePod | None) -> str | None:
    if live is None or not live.fold.questions:
        return None
    return live.fold.questions[0].prompt


def _newest(directory: str) -> int:
    try:
        return last_seq(directory)
    except (OSError, PodsError):
        return 0  # not begun, or unreadable: `doctor` and `read` say which


def capacity(supervisor: Supervisor, caller: Caller) -> Capacity:
    """What room the caller has under each cap."""
    config = supervisor.options.config
    children = sum(
        1
        for child in supervisor.table.living_below(caller.pod_id)
        if caller.owner_session in ("", child.session)
    )
    return Capacity(
        depth=supervisor.table.depth(caller.pod_id),
        depth_limit=config.max_depth,
        children=children,
        children_limit=config.max_pods if caller.pod_id is None else config.max_children,
        pods=len(supervisor.table.living()),
        pods_limit=config.max_pods,
    )
