"""The task of each living pod: hears what it does, notices its end, sees it buried.

Owns the subscription to the pod's state and the judgement that its tree is gone: the keeper's
`exit.json`, or, where the keeper itself was killed, the launcher's word. Started by spawn and by
adoption in the supervisor's nursery; ends with the pod.
"""

from __future__ import annotations

import traceback

import trio

from pods.keeper.record import read_record
from pods.lifecycle import Trigger
from pods.scope.identity import is_alive
from pods.supervisor.acts import LOST, Facts, perform
from pods.supervisor.core import Supervisor
from pods.supervisor.kill import wait_process_gone
from pods.supervisor.live import STATE_KINDS_ASKED, LivePod
from pods_protocol.errors import PodsError
from pods_protocol.pod_messages import Subscribe
from pods_protocol.values import ExitRecord


async def watch(supervisor: Supervisor, live: LivePod) -> None:
    """Follow one pod until it is buried."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow, supervisor, live)
        exit_record = await wait_tree_gone(supervisor, live)
        nursery.cancel_scope.cancel()
    await bury(supervisor, live, exit_record)


async def bury(supervisor: Supervisor, live: LivePod, exit_record: ExitRecord) -> None:
    """Do all that follows from a pod's end; what cannot be done is in the log."""
    live.tree_gone.set()
    try:
        await perform(supervisor, live.id, Trigger.TREE_GONE, Facts(exit_record=exit_record))
    except Exception:
        supervisor.log(f"cannot bury pod {live.name} as it should be:\n{traceback.format_exc()}")
    finally:
        supervisor.drop_live(live)
        live.ended.set()
        live.changed()


async def wait_tree_gone(supervisor: Supervisor, live: LivePod) -> ExitRecord:
    """Wait until nothing of the pod is left, and say how it went."""
    if live.keeper is not None:
        await live.keeper.closed.wait()
    record = read_record(live.directory)
    if record is not None:
        return record
    # The keeper went without its last word. What it kept falls to the launcher, which kills it.
    await supervisor.launcher.wait_ended(live.id)
    record = read_record(live.directory)
    if record is not None:
        return record
    if live.keeper_identity is not None and is_alive(live.keeper_identity):
        await wait_process_gone(live.keeper_identity.pid)
    return read_record(live.directory) or LOST


async def _follow(supervisor: Supervisor, live: LivePod) -> None:
    """Get the pod's state events as they come; without them its journal on disk still tells."""
    try:
        if live.pod is None:  # adopted
            await live.connect_pod(supervisor.nursery, supervisor.places.pod_socket(live.id))
        await supervisor.pod_link(live).request(
            Subscribe(since=live.seen, kinds=tuple(sorted(STATE_KINDS_ASKED)))
        )
    except PodsError as error:
        if not live.tree_gone.is_set():
            supervisor.log(f"cannot follow pod {live.name}: {error.message}")
