"""What a new supervisor does with the pods of the one before it.

Owns the judgement of each pod that the journal calls living: alive (connect and go on), dead (end
its journal, give everything back), or never quite started (roll back). Called by `service` before
the control socket answers, so that no client ever sees a table that is not true.
"""

from __future__ import annotations

import traceback
from contextlib import suppress

import trio

from pods.keeper.record import read_record
from pods.lifecycle import Life, PodRecord, Trigger
from pods.scope.identity import is_alive
from pods.supervisor.acts import LOST, Facts, perform
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods.supervisor.records import read_token
from pods.supervisor.stop import ask_stop
from pods.supervisor.watch import bury, watch
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS
from pods_protocol.errors import PodsError


async def adopt_pods(supervisor: Supervisor) -> None:
    """Settle every pod that the journal calls living; side by side."""
    async with trio.open_nursery() as nursery:
        for record in supervisor.table.living():
            token = read_token(supervisor.places.pod_token(record.id))
            live = supervisor.add_live(record.id, record.name, token or "")
            live.pod_pid = record.pid
            live.keeper_identity = record.keeper
            live.launch_asked = True
            live.started.set()
            nursery.start_soon(_settle, supervisor, live, record)


async def _settle(supervisor: Supervisor, live: LivePod, record: PodRecord) -> None:
    try:
        await _judge(supervisor, live, record)
    except Exception:
        supervisor.log(f"cannot adopt pod {record.name}:\n{traceback.format_exc()}")


async def _judge(supervisor: Supervisor, live: LivePod, record: PodRecord) -> None:
    if record.life is Life.RESERVED:
        try:
            await perform(supervisor, live.id, Trigger.SPAWN_FAILED, Facts(error="interrupted"))
        finally:
            supervisor.drop_live(live)
        return
    if record.keeper is None or not is_alive(record.keeper):
        await bury(supervisor, live, read_record(live.directory) or LOST)
        return
    path = supervisor.places.keeper_socket(live.id)
    live.hold_keeper(supervisor.nursery, record.keeper, path, supervisor.token)
    with suppress(PodsError):  # damaged: what comes over its socket still counts
        live.catch_up()
    supervisor.nursery.start_soon(watch, supervisor, live)
    if record.life is Life.STOPPING:
        ask_stop(supervisor, live, "now", DEFAULT_GRACE_SECONDS)
