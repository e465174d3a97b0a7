"""`inspect` and `connect`: all that is known of one pod, and the way to it."""

from __future__ import annotations

from attrs import evolve

from pods.agents.text import shorten
from pods.journal.fold import Note
from pods.lifecycle import Life
from pods.pod.answers import MAX_SHOWN_INPUT_BYTES
from pods.supervisor.authority import Caller, find_pod
from pods.supervisor.core import Supervisor
from pods.supervisor.info import current_info
from pods_protocol.errors import PodEnded
from pods_protocol.supervisor_messages import (
    ConnectPod,
    ConnectPodResult,
    InspectPod,
    InspectPodResult,
)
from pods_protocol.values import QueuedMessage


async def inspect(supervisor: Supervisor, caller: Caller, request: InspectPod) -> InspectPodResult:
    """Everything known of one pod.

    Raises:
        UnknownPod: the caller has no such pod.
    """
    record = find_pod(supervisor, caller, request.pod)
    info = await current_info(supervisor, record, caller.reader)
    live = supervisor.pods.get(record.id)
    identity = None if live is None else live.keeper_identity
    return InspectPodResult(
        pod=info,
        socket=supervisor.places.pod_socket(record.id),
        directory=supervisor.places.places.pod_state(record.id),
        keeper_pid=None if identity is None else identity.pid,
        queue=() if live is None else tuple(map(_shown, live.fold.queue)),
        notes=() if live is None else tuple(map(_note, live.fold.notes)),
        undelivered=record.undelivered if live is None else live.fold.undelivered,
        questions=() if live is None else tuple(item.prompt for item in live.fold.questions),
        options=record.options,
        limits=record.limits,
        python=record.python,
    )


def connect(supervisor: Supervisor, caller: Caller, request: ConnectPod) -> ConnectPodResult:
    """The socket and token of a living pod.

    Raises:
        UnknownPod: the caller has no such pod.
        PodEnded: it has ended.
    """
    record = find_pod(supervisor, caller, request.pod)
    live = supervisor.pods.get(record.id)
    if live is None or record.life is Life.ENDED:
        state = supervisor.state_of(record)
        raise PodEnded(
            f"cannot connect to pod {record.name}: it has ended ({state}); `pods read "
            f"{record.name}` shows what it left",
            pod=record.name,
            state=state,
        )
    return ConnectPodResult(
        id=record.id,
        name=record.name,
        socket=supervisor.places.pod_socket(record.id),
        token=live.token,
    )


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
