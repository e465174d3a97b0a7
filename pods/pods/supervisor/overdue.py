"""Pods whose own process is dead and whose keeper does not tell of it: the keeper is seen to.

A keeper records its pod's end within milliseconds. One that is stopped by a signal, or by whoever
traces it, does not; then the pod would be shown as alive for ever. So it is continued after
`PATIENCE_SECONDS`, then asked, and killed where it does not answer: what it leaves is its
launcher's, which sees to that (`launcher_link` has the same for launchers). One that answers is at
work, on a process that waits for a device, or offers a record that its disk refuses.

Owns the clock of a pod's end from its process's death on. Called by each pod's watch and by
`doctor`; nothing here runs for a pod that lives.
"""

from __future__ import annotations

import signal
from typing import Final

import trio

from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods.supervisor.processes import signal_process, wait_child_gone
from pods_protocol.errors import CapacityReached, PodsError
from pods_protocol.process_messages import GetKeeperStatus

PATIENCE_SECONDS: Final = 0.5
"""From a pod's death to its keeper's end: milliseconds, on a machine that swaps some hundreds. Half
of the second within which a crash is an event; the other half is for what comes after."""

LONGEST_PATIENCE_SECONDS: Final = 30.0
"""Between two looks at a keeper that answers and does not end, each pause twice the one before."""


async def wait_dead(live: LivePod) -> None:
    """Wait until the pod's own process has ended, reaped or not."""
    if live.keeper_identity is None or live.pod_pid is None:
        await trio.sleep_forever()
    else:
        await wait_child_gone(live.keeper_identity, live.pod_pid)


async def see_to_end(supervisor: Supervisor, live: LivePod) -> None:
    """Have a dead pod's keeper end: returns once it has."""
    live.dead = True
    keeper = live.keeper
    if keeper is None:
        return
    pause = PATIENCE_SECONDS
    while not await _ends_within(live, pause):
        if not live.overdue:
            supervisor.log(f"pod {live.name} is dead and its keeper does not tell; it is woken")
        live.overdue = True
        await wake_keeper(supervisor, live)
        pause = min(pause * 2, LONGEST_PATIENCE_SECONDS)


async def wake_keeper(supervisor: Supervisor, live: LivePod) -> None:
    """Continue a keeper that is late and ask it how far it is; kill one that does not answer."""
    keeper, identity = live.keeper, live.keeper_identity
    if keeper is None or identity is None:
        return
    signal_process(identity, signal.SIGCONT)
    if await _ends_within(live, PATIENCE_SECONDS):
        return
    try:
        status = await keeper.request(GetKeeperStatus())
    except CapacityReached:
        return  # no descriptor is left to ask it with: that is no fault of the keeper's
    except PodsError as error:
        # It may have been on its way out, which is no answer either.
        if not await _ends_within(live, PATIENCE_SECONDS):
            supervisor.log(f"the keeper of dead pod {live.name} is killed: {error.message}")
            signal_process(identity, signal.SIGKILL)
        return
    live.last_word = status.exit or live.last_word


async def _ends_within(live: LivePod, seconds: float) -> bool:
    if live.keeper is not None:
        with trio.move_on_after(seconds):
            await live.keeper.closed.wait()
        return live.keeper.closed.is_set()
    return True
