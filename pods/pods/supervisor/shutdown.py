"""`shutdown` and `ping`: the supervisor's own end, and its pulse."""

from __future__ import annotations

from typing import Final

import trio

from pods.supervisor.authority import Caller
from pods.supervisor.checks import check_seconds
from pods.supervisor.core import Supervisor
from pods.supervisor.stop import ask_stop, wait_stopped
from pods_protocol.bounds import MAX_GRACE_SECONDS
from pods_protocol.errors import NotAuthorized, PodRunning, PodsError
from pods_protocol.pod_messages import Empty, Ping
from pods_protocol.supervisor_messages import ShutdownSupervisor, ShutdownSupervisorResult

NAMED_PODS: Final = 5
"""Of those that keep a supervisor from its end: a line's worth, `pods ls` has the rest."""


async def shutdown(
    supervisor: Supervisor, caller: Caller, request: ShutdownSupervisor
) -> ShutdownSupervisorResult:
    """End the supervisor, its pods first where asked.

    Raises:
        NotAuthorized: only the owner may.
        PodRunning: pods live and `stop_pods` is not set.
    """
    grace = check_seconds(request.grace_seconds, "grace_seconds", longest=MAX_GRACE_SECONDS)
    if not caller.is_owner:
        raise NotAuthorized(
            "cannot end the supervisor: only its owner may, not a pod or a session; stop your own "
            "pods instead"
        )
    living = [record.name for record in supervisor.table.living()]
    if living and not request.stop_pods:
        raise PodRunning(
            f"cannot end the supervisor: {name_some(living)}; stop what runs first, or set "
            "`stop_pods` (`pods down --stop-pods`)",
            pod=living[0],
            state="running",
        )
    # Once this has begun no spawn is taken any more: an asker that goes away must not leave us so.
    # Every wait in it has a deadline.
    stopped: tuple[str, ...] = ()
    with trio.CancelScope(shield=True):
        stopped = await stop_everything(supervisor, grace)
    supervisor.leaving.set()
    return ShutdownSupervisorResult(stopped=stopped)


def name_some(living: list[str]) -> str:
    """How many pods run, and the first names."""
    named = ", ".join(living[:NAMED_PODS])
    more = ", ..." if len(living) > NAMED_PODS else ""
    return f"{len(living)} {'pod runs' if len(living) == 1 else 'pods run'} ({named}{more})"


async def stop_everything(supervisor: Supervisor, grace: float) -> tuple[str, ...]:
    """Stop every pod, deepest first, side by side; what does not go is in the log."""
    supervisor.closed_to_spawns = True
    records = supervisor.table.living()
    stopped: list[str] = []

    async def one(pod_id: str) -> None:
        live, record = supervisor.pods.get(pod_id), supervisor.table.get(pod_id)
        if live is None or record is None:
            return
        try:
            await wait_stopped(supervisor, record, live, grace)
        except PodsError as error:
            supervisor.log(error.message)
        else:
            stopped.append(live.name)

    for record in records:
        live = supervisor.pods.get(record.id)
        if live is not None:
            ask_stop(supervisor, live, "now", grace)
    async with trio.open_nursery() as nursery:
        for record in records:
            nursery.start_soon(one, record.id)
    return tuple(sorted(stopped))


def ping(supervisor: Supervisor, caller: Caller, request: Ping) -> Empty:
    """Answer."""
    del supervisor, caller, request
    return Empty()
