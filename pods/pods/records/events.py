"""The events of the supervisor's journal: their kinds, and the data that each is written with.

Owns what is written; what is read out of it is `record` and `table`. Must not know when an event is
due nor who writes it. Called by `pods.supervisor`, which writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pods.records.record import PodRecord
from pods_protocol.codec import to_json
from pods_protocol.pod_messages import RunResult
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import (
    Doors,
    Enforcement,
    ExitRecord,
    Limits,
    ParentExit,
    PodState,
    ProcessIdentity,
    ScopeGrant,
    StopStep,
    TurnSummary,
    UndeliveredMessage,
)

POD_RESERVED: Final = "pod_reserved"
POD_SPAWNED: Final = "pod_spawned"
SPAWN_FAILED: Final = "spawn_failed"
POD_CRASHED: Final = "pod_crashed"
POD_RESTORING: Final = "pod_restoring"
POD_RESTARTED: Final = "pod_restarted"
POD_PAUSED: Final = "pod_paused"
POD_RESUMED: Final = "pod_resumed"
POD_STOPPING: Final = "pod_stopping"
POD_ENDED: Final = "pod_ended"
POD_REMOVED: Final = "pod_removed"
POD_REPARENTED: Final = "pod_reparented"
CURSOR_ADVANCED: Final = "cursor_advanced"
STOP_ASKED: Final = "stop_asked"

LIFECYCLE_KINDS: Final = frozenset(
    {POD_SPAWNED, POD_CRASHED, POD_RESTARTED, POD_ENDED, POD_REMOVED}
)
"""Kinds of the supervisor's journal that subscribers get, live and replayed."""


def reserved_data(
    request: SpawnPod,
    *,
    pod_id: str,
    parent_id: str | None,
    grant: ScopeGrant,
    cwd: str,
    on_parent_exit: ParentExit,
    replaces: str | None,
    limits: Limits | None = None,
    doors: Doors | None = None,
    session: str = "",
) -> dict[str, Any]:
    """The data of a `pod_reserved` event: all of the request that is no secret.

    `limits`: as given to it; None is as asked for. `doors`: None is as pods usually are.
    """
    return {
        "id": pod_id,
        "name": request.name,
        "parent_id": parent_id,
        "agent": request.agent,
        "options": request.options,
        "cwd": cwd,
        "env_names": sorted(request.env),
        "limits": to_json(request.limits if limits is None else limits),
        "grant": to_json(grant),
        "doors": to_json(doors or Doors()),
        "description": request.description,
        "on_parent_exit": on_parent_exit,
        "wake_on": request.wake_on,
        "python": request.python,
        "call_back": request.call_back,
        "message_id": request.message_id,
        "replaces": replaces,
        "session": session,
        "require_enforcement": request.require_enforcement,
        "restart": to_json(request.restart),
    }


def spawned_data(
    record: PodRecord,
    *,
    keeper: ProcessIdentity,
    pid: int,
    message: RunResult | None,
    enforcement: Enforcement | None = None,
) -> dict[str, Any]:
    """The data of a `pod_spawned` or a `pod_restarted` event."""
    return {
        "id": record.id,
        "pod": record.name,
        "keeper": to_json(keeper),
        "pid": pid,
        "message": None if message is None else to_json(message),
        "enforcement": None if enforcement is None else to_json(enforcement),
    }


def crashed_data(
    record: PodRecord, *, attempt: int, due: float, reason: str, exit_record: ExitRecord
) -> dict[str, Any]:
    """The data of a `pod_crashed` event: it died, and `attempt` to start it again is at `due`."""
    return {
        "id": record.id,
        "pod": record.name,
        "attempt": attempt,
        "due": due,
        "reason": reason,
        "exit": to_json(exit_record),
    }


def restoring_data(
    record: PodRecord, *, reason: str, told: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """The data of a `pod_restoring` event.

    `told` is the id of one below it -> how far who answered for that meanwhile has been told of it:
    from here on the pod is told the rest.
    """
    return {"id": record.id, "pod": record.name, "reason": reason, "told": dict(told or {})}


def ended_data(
    record: PodRecord,
    *,
    state: PodState,
    reason: str,
    exit_record: ExitRecord,
    last_turn: TurnSummary | None,
    undelivered: Sequence[UndeliveredMessage] = (),
    step: StopStep = "already_ended",
    told: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The data of a `pod_ended` event; `step` is which step of a stop worked.

    `told` is child's id -> how far the pod has been told of it: who is above it is told the rest.
    """
    return {
        "id": record.id,
        "pod": record.name,
        "state": state,
        "reason": reason,
        "exit": to_json(exit_record),
        "last_turn": None if last_turn is None else to_json(last_turn),
        "undelivered": [to_json(one) for one in undelivered],
        "step": step,
        "told": dict(told or {}),
    }


def stop_asked_data(
    record: PodRecord,
    *,
    asked_by: str | None,
    message_id: str,
    previous_state: PodState,
    descendants: Sequence[str],
) -> dict[str, Any]:
    """The data of a `stop_asked` event."""
    return {
        "id": record.id,
        "pod": record.name,
        "asked_by": asked_by,
        "message_id": message_id,
        "previous_state": previous_state,
        "descendants": list(descendants),
    }
