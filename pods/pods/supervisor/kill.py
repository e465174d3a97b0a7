"""The hard end of a pod: its whole tree, and the proof that it is gone.

Owns the way from "kill" to "gone": the keeper's signal, else the launcher's, and their word for
it. Used by the last step of a stop, by the roll back of a spawn and by adoption.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Final

import trio

from pods.keeper.record import read_record
from pods.records.record import PodRecord
from pods.scope.identity import is_alive
from pods.supervisor.core import Supervisor
from pods.supervisor.guards import wait_nothing_left
from pods.supervisor.keeper_link import ask_keeper
from pods.supervisor.live import LivePod
from pods.supervisor.orphans import end_keeper
from pods.supervisor.processes import signal_process, wait_process_gone
from pods_protocol.errors import CapacityReached, NotConnected, PodsError, TimedOut
from pods_protocol.process_messages import GetKeeperStatus, SignalTree
from pods_protocol.values import ProcessIdentity

KILL_SECONDS: Final = 5.0
"""SIGKILL to gone: a few milliseconds, but for processes in uninterruptible sleep."""

REAP_SECONDS: Final = 1.0
"""From a keeper's last word to the launcher's. For a keeper of an earlier launcher none comes."""


async def kill_tree(supervisor: Supervisor, live: LivePod | None, record: PodRecord) -> None:
    """Kill everything of a pod and wait until it is gone; a pod that never was is gone.

    Raises:
        TimedOut: something survives; the pod keeps its lease and its directories.
    """
    if live is not None and not live.launch_asked:
        return
    if live is not None and await _by_keeper(live):
        # The tree is gone. The keeper itself is in its last instants: let it be reaped, too.
        with trio.move_on_after(REAP_SECONDS):
            await supervisor.launcher.wait_ended(record.id)
        return
    with trio.move_on_after(KILL_SECONDS * 2):
        known = None if live is None else live.keeper_identity
        if await _by_launcher(supervisor, record, known or record.keeper):
            return
    raise TimedOut(
        f"cannot end pod {record.name}: its processes do not go within {KILL_SECONDS * 2:g} s "
        "of SIGKILL; look for processes that wait for a disk or a device",
        timeout_seconds=KILL_SECONDS * 2,
    )


async def _by_keeper(live: LivePod) -> bool:
    keeper = live.keeper
    if keeper is None:
        return False
    with trio.move_on_after(KILL_SECONDS):
        if not keeper.closed.is_set():
            if live.keeper_identity is not None:
                signal_process(live.keeper_identity, signal.SIGCONT)  # a stopped one hears nothing
            try:
                await keeper.request(SignalTree(signal="kill"))
            except CapacityReached:
                return False  # no descriptor is left to reach it with; the launcher is reached
            except PodsError:
                pass  # no answer is needed: its end is the answer
        await keeper.closed.wait()
        return read_record(live.directory) is not None
    return False


async def _by_launcher(
    supervisor: Supervisor, record: PodRecord, keeper: ProcessIdentity | None
) -> bool:
    launcher = supervisor.launcher
    try:
        pid = (await launcher.keepers()).get(record.id)
        if pid is not None:
            await launcher.kill_keeper(pid)
            return await launcher.wait_ended(record.id) is not None
    except PodsError as error:
        supervisor.log(f"the launcher cannot kill pod {record.name}: {error.message}")
    # No launcher of ours has it. It may be an orphan of a launcher that was killed.
    if keeper is None or not is_alive(keeper):
        await _unknown_keeper(supervisor, record)  # also of a start again that was cut off
        await wait_nothing_left(supervisor, record.id)
    else:
        # It alone can end what is below it: killed, it would leave that to nobody.
        return await trio.to_thread.run_sync(end_keeper, keeper, abandon_on_cancel=True)
    return True


async def _unknown_keeper(supervisor: Supervisor, record: PodRecord) -> None:
    """End a keeper that was forked by a launcher which died before it could say whom it forked.

    The pod's own places are all that is known of it, and its socket is in them since before the
    fork: who takes the connection is that keeper, and where nobody does there is none.

    Raises:
        TimedOut: it is there and does not answer.
    """
    place = supervisor.places.keeper_socket(record.id), supervisor.token, record.name
    try:
        keeper = (await ask_keeper(*place, GetKeeperStatus())).keeper
    except NotConnected:
        return
    with suppress(PodsError):  # no answer is needed: its end is the answer
        await ask_keeper(*place, SignalTree(signal="kill"))
    await wait_process_gone(keeper)
