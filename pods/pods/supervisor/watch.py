"""The task of each living pod: hears what it does, notices its end, sees it buried.

Owns the subscription to the pod's state and the judgement that its tree is gone: the keeper's
`exit.json`, or, where the keeper itself was killed, the launcher's word. Started by spawn and by
adoption in the supervisor's nursery; ends with the pod.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import Final

import trio

from pods.keeper.record import read_record
from pods.lifecycle import Trigger
from pods.scope.identity import is_alive, parent_of
from pods.supervisor.acts import LOST, Facts, perform
from pods.supervisor.core import Supervisor
from pods.supervisor.kill import wait_process_gone
from pods.supervisor.live import STATE_KINDS_ASKED, LivePod
from pods.supervisor.remove import apply_retention
from pods_protocol.bounds import HELLO_SECONDS
from pods_protocol.errors import PodsError, StorageFailed
from pods_protocol.pod_messages import Subscribe
from pods_protocol.values import ExitRecord

FIRST_RECONNECT_SECONDS: Final = 0.1
LAST_RECONNECT_SECONDS: Final = 10.0
"""Between attempts to reach a living pod that does not answer, each twice the one before: it may be
stopped by a signal, for hours. Also the moment in which a pod that ended is noticed as ended."""

STORAGE_RETRY_SECONDS: Final = 0.5
"""Between attempts to write a pod's end to a disk that refuses."""


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
    if not await _try_to_bury(supervisor, live, exit_record):
        # In the background: a supervisor that comes up on a full disk serves all the same.
        supervisor.nursery.start_soon(_bury_later, supervisor, live, exit_record)


async def _bury_later(supervisor: Supervisor, live: LivePod, exit_record: ExitRecord) -> None:
    """Try until the disk takes it: a pod whose end is not written is not forgotten either."""
    while True:
        await trio.sleep(STORAGE_RETRY_SECONDS)
        if await _try_to_bury(supervisor, live, exit_record):
            return


async def _try_to_bury(supervisor: Supervisor, live: LivePod, exit_record: ExitRecord) -> bool:
    """Whether it is done; False where the disk refused and it is worth another try."""
    try:
        await perform(supervisor, live.id, Trigger.TREE_GONE, Facts(exit_record=exit_record))
    except StorageFailed as error:
        supervisor.log(f"cannot write the end of pod {live.name}: {error.message}")
        return False
    except Exception:
        supervisor.log(f"cannot bury pod {live.name} as it should be:\n{traceback.format_exc()}")
    supervisor.drop_live(live)
    live.ended.set()
    live.changed()
    if supervisor.options.config.keep_ended_seconds is not None:
        supervisor.nursery.start_soon(apply_retention, supervisor)
    return True


async def wait_tree_gone(supervisor: Supervisor, live: LivePod) -> ExitRecord:
    """Wait until nothing of the pod is left, and say how it went."""
    parent = None if live.keeper_identity is None else parent_of(live.keeper_identity.pid)
    if live.keeper is not None:
        await live.keeper.closed.wait()
    record = read_record(live.directory)
    if record is not None:
        return record
    # The keeper went without its last word. What it kept falls to the launcher, which kills it. A
    # launcher that came after the keeper's own knows nothing of it and will never speak.
    if parent is None or parent == supervisor.launcher.pid:
        await supervisor.launcher.wait_ended(live.id)
    record = read_record(live.directory)
    if record is not None:
        return record
    if live.keeper_identity is not None and is_alive(live.keeper_identity):
        await wait_process_gone(live.keeper_identity)
    return read_record(live.directory) or LOST


async def _follow(supervisor: Supervisor, live: LivePod) -> None:
    """Get the pod's state events as they come, again where the connection broke; until cancelled.

    Without them nobody who waits for the pod would be woken, though its journal on disk tells all.
    """
    pause = FIRST_RECONNECT_SECONDS
    while True:
        try:
            if live.pod is None or live.pod.closed.is_set():  # adopted, or it broke
                with suppress(StorageFailed):  # damaged: what comes over its socket still counts
                    await live.catch_up()
                await live.connect_pod(supervisor.nursery, supervisor.places.pod_socket(live.id))
            link = supervisor.pod_link(live)
            await link.request(
                Subscribe(since=live.seen, kinds=tuple(sorted(STATE_KINDS_ASKED))),
                timeout_seconds=HELLO_SECONDS,
            )
            pause = FIRST_RECONNECT_SECONDS
            supervisor.relay.go_on(live.id)
            await link.closed.wait()
        except PodsError as error:
            if not live.tree_gone.is_set() and pause == FIRST_RECONNECT_SECONDS:
                supervisor.log(f"cannot follow pod {live.name}: {error.message}")
            if live.pod is not None:
                await live.pod.aclose()
        await trio.sleep(pause)
        pause = min(pause * 2, LAST_RECONNECT_SECONDS)
