"""`wait`: until one or all of some pods are idle, have ended, or ask.

Owns what counts as there. Looks at the pods' states on disk first, so nothing that came before the
call is missed, then sleeps on their changes; there is no polling.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from pods.lifecycle import Life
from pods.supervisor.authority import Caller, find_pod
from pods.supervisor.checks import check_seconds
from pods.supervisor.core import Supervisor
from pods.supervisor.info import last_turn_of
from pods_protocol.bounds import MAX_WAIT_SECONDS
from pods_protocol.errors import InvalidParams, PodsError
from pods_protocol.supervisor_messages import WaitOutcome, WaitPods, WaitPodsResult
from pods_protocol.values import ENDED_STATES, PodState, WaitUntil


async def wait(supervisor: Supervisor, caller: Caller, request: WaitPods) -> WaitPodsResult:
    """Wait for pods.

    Raises:
        UnknownPod: the caller has no such pod.
        InvalidParams: no pod named, or a timeout out of bounds.
    """
    seconds = min(
        check_seconds(request.timeout_seconds, "timeout_seconds", longest=MAX_WAIT_SECONDS),
        supervisor.options.config.longest_wait_seconds,
    )
    if not request.pods:
        raise InvalidParams("cannot wait for no pods: name at least one", path="pods")
    records = [find_pod(supervisor, caller, wanted) for wanted in request.pods]
    ids = list(dict.fromkeys(record.id for record in records))
    names = {record.id: record.name for record in records}
    for pod_id in ids:
        live = supervisor.pods.get(pod_id)
        if live is not None:
            with suppress(PodsError):  # damaged: what comes over its socket still counts
                await live.catch_up()
    enough = 1 if request.mode == "any" else len(ids)
    deadline = trio.current_time() + seconds
    last: dict[str, WaitOutcome] = {}
    while True:
        ready: list[WaitOutcome] = []
        pending: list[WaitOutcome] = []
        for pod_id in ids:
            outcome = last[pod_id] = _outcome(supervisor, pod_id, names[pod_id], last.get(pod_id))
            (ready if _is_there(outcome.state, request.until) else pending).append(outcome)
        timed_out = len(ready) < enough and trio.current_time() >= deadline
        if len(ready) >= enough or timed_out:
            return WaitPodsResult(ready=tuple(ready), pending=tuple(pending), timed_out=timed_out)
        with trio.move_on_at(deadline):
            await _any_change(supervisor, ids)


def _outcome(
    supervisor: Supervisor, pod_id: str, name: str, last: WaitOutcome | None
) -> WaitOutcome:
    record = supervisor.table.get(pod_id)
    if record is None:  # ended and removed while we waited
        turn = None if last is None else last.last_turn
        return WaitOutcome(pod=name, state="stopped", last_turn=turn)
    state = supervisor.state_of(record)
    if state in ENDED_STATES and record.life is not Life.ENDED:
        state = "stopping"  # it has said its last word; what follows from its end is not done yet
    return WaitOutcome(pod=name, state=state, last_turn=last_turn_of(supervisor, record))


def _is_there(state: PodState, until: WaitUntil) -> bool:
    if state in ENDED_STATES:
        return True
    return (until == "idle" and state == "idle") or (until == "question" and state == "waiting")


async def _any_change(supervisor: Supervisor, ids: list[str]) -> None:
    """Return when one of the pods has changed; call without a checkpoint since the last look."""
    event = trio.Event()
    lives = [live for pod_id in ids if (live := supervisor.pods.get(pod_id)) is not None]
    for live in lives:
        live.watchers.add(event)
    try:
        await event.wait()
    finally:
        for live in lives:
            live.watchers.discard(event)
