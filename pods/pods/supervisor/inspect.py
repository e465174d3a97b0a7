"""`inspect` and `connect`: all that is known of one pod, and the way to it."""

from __future__ import annotations

from typing import Final

import trio
from attrs import evolve

from pods.agents.text import shorten
from pods.journal.mailbox import Note
from pods.keeper.record import is_polled
from pods.lifecycle import Life
from pods.pod.answers import MAX_SHOWN_INPUT_BYTES
from pods.pod.cgroup import read
from pods.pod.cgroup_rules import own_path, pod_group
from pods.supervisor.authority import Caller, find_pod, known_as
from pods.supervisor.ceilings import held_limits
from pods.supervisor.core import Supervisor
from pods.supervisor.info import current_info
from pods.supervisor.lending import lent_now
from pods.supervisor.live import LivePod
from pods_protocol.errors import NotConnected, PodEnded, PodPaused
from pods_protocol.supervisor_messages import (
    ConnectPod,
    ConnectPodResult,
    InspectPod,
    InspectPodResult,
)
from pods_protocol.values import QueuedMessage

COMING_SECONDS: Final = 10.0
"""How long a pod that hung up, or is being started again, is waited for: longer than it takes to
notice an end and to start once more. A pause between attempts may be longer; then asking again
helps."""


async def inspect(supervisor: Supervisor, caller: Caller, request: InspectPod) -> InspectPodResult:
    """Everything known of one pod.

    Raises:
        UnknownPod: the caller has no such pod.
    """
    record = find_pod(supervisor, caller, request.pod)
    info = await current_info(supervisor, record, caller.reader)
    live = supervisor.pods.get(record.id)
    identity = None if live is None else live.keeper_identity
    polled = is_polled(supervisor.places.pod_runtime(record.id))
    return InspectPodResult(
        pod=info,
        socket=supervisor.places.pod_socket(record.id),
        directory=supervisor.places.places.pod_state(record.id),
        keeper_pid=None if identity is None else identity.pid,
        queue=() if live is None else tuple(map(_shown, live.fold.queue)),
        notes=() if live is None else tuple(map(_note, live.fold.notes)),
        undelivered=record.undelivered if live is None else live.fold.undelivered,
        questions=() if live is None else tuple(item.prompt for item in live.fold.questions),
        open_questions=() if live is None else live.fold.questions,
        options=record.options,
        limits=record.limits,
        held_limits=held_limits(record.limits, _cgroup_of(live), polled=polled),
        reason=record.reason,
        python=record.python,
        restart=record.restart,
        restarts=record.restarts,
        lent=lent_now(supervisor.places.places.pod_state(record.id)) if record.living else (),
    )


async def connect(supervisor: Supervisor, caller: Caller, request: ConnectPod) -> ConnectPodResult:
    """The socket and token of a living pod, once it is there.

    Raises:
        UnknownPod: the caller has no such pod.
        PodEnded: it has ended.
        NotConnected: it has not come back.
        PodPaused: its processes are stopped.
    """
    record = find_pod(supervisor, caller, request.pod)
    with trio.move_on_after(COMING_SECONDS):
        while (live := supervisor.pods.get(record.id)) is not None:
            if not live.started.is_set():
                # What a pod accepts before its spawn is done would be lost with a roll back.
                await live.started.wait()
                continue
            coming = supervisor.known(record.id).life is Life.RESTARTING
            if not coming and (request.gone is None or request.gone != live.pod_pid):
                break
            await live.wait_change()
        return _way(supervisor, caller, record.id, record.name)
    record = supervisor.known(record.id)
    due = record.restarts.due
    raise NotConnected(
        f"cannot connect to pod {record.name}: it is starting or hung up, and is not there after "
        f"{COMING_SECONDS:g} s; `pods inspect {record.name}` tells more",
        peer=record.name,
        **({} if due is None else {"restart_due": due}),
    )


def _way(supervisor: Supervisor, caller: Caller, pod_id: str, name: str) -> ConnectPodResult:
    record, live = supervisor.table.get(pod_id), supervisor.pods.get(pod_id)
    if record is None:
        raise PodEnded(
            f"cannot connect to pod {name}: it has ended and was removed",
            pod=name,
            state="stopped",
        )
    if live is None or record.life is Life.ENDED:
        state = supervisor.state_of(record)
        raise PodEnded(
            f"cannot connect to pod {record.name}: it has ended ({state}); `pods read "
            f"{record.name}` shows what it left",
            pod=record.name,
            state=state,
        )
    if record.life is Life.PAUSED:
        raise PodPaused(
            f"cannot connect to pod {record.name}: it is paused, all its processes are stopped; "
            f"resume it: `pods resume {record.name}`",
            pod=record.name,
        )
    return ConnectPodResult(
        id=record.id,
        name=record.name,
        socket=supervisor.places.pod_socket(record.id),
        token=live.token,
        pid=live.pod_pid,
        known_as=known_as(supervisor, caller),
    )


def _cgroup_of(live: LivePod | None) -> str:
    """The cgroup that was made for a pod, if its process is in there."""
    if live is None or live.pod_pid is None:
        return ""
    return pod_group(own_path(read(f"/proc/{live.pod_pid}/cgroup")), live.id)


def _shown(message: QueuedMessage) -> QueuedMessage:
    return evolve(message, input=shorten(message.input, MAX_SHOWN_INPUT_BYTES))


def _note(note: Note) -> QueuedMessage:
    return QueuedMessage(
        message_id=note.message_id,
        input=shorten(note.message, MAX_SHOWN_INPUT_BYTES),
        position=0,
        sender=note.sender,
        accepted=note.accepted,
    )
