"""Who answers for what a killed keeper leaves, where its own launcher was killed before.

Owns the entry of such keepers' guards in the registry, so that no supervisor takes a scope for free
while a guard is still at work, and the wait for a guard's end and for what it left. Called by
`service` for as long as the supervisor lives, and by who judges that a tree is gone.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from pods.keeper.record import read_guard
from pods.scope.table import Table
from pods.supervisor.core import Supervisor
from pods.supervisor.hunt import end_strays
from pods.supervisor.live import LivePod
from pods.supervisor.processes import look, signal_process, wait_process_gone
from pods_protocol.errors import PodsError
from pods_protocol.process_messages import GetKeeperStatus
from pods_protocol.values import ProcessIdentity

PATIENCE_SECONDS: Final = 0.5
"""A guard ends a tree in milliseconds, unless it is stopped, or something waits for a device."""

MAX_ASKED: Final = 32
"""Keepers asked at once: a connection each, and a new launcher may find a thousand."""


async def keep_guardians(supervisor: Supervisor) -> None:
    """Enter the guards of pods whose launcher is gone: now, and with each new launcher."""
    while True:
        changed = supervisor.launcher.changed
        try:
            await _enter_guards(supervisor)
        except PodsError as error:
            # A registry that refuses: the guards are at work all the same, and who buries a pod
            # waits for its guard by the file.
            supervisor.log(f"cannot enter who guards the pods: {error.message}")
        await changed.wait()


async def _enter_guards(supervisor: Supervisor) -> None:
    late = await _enter_found(supervisor, list(supervisor.pods.values()))
    if not late:
        return
    turns = trio.CapacityLimiter(MAX_ASKED)
    async with trio.open_nursery() as nursery:
        for live in late:
            nursery.start_soon(_let_hear, live, turns)
    await _enter_found(supervisor, late)


async def _let_hear(live: LivePod, turns: trio.CapacityLimiter) -> None:
    """Wait until a keeper has heard of its launcher's end, and has forked its guard if it can.

    The kernel told it before another launcher was there to be reached. So it has taken that signal
    by the time it has taken a connection, a hello and a request.
    """
    async with turns:
        if live.keeper is not None:
            # It has ended, is stopped, or cannot be asked: who buries the pod looks again.
            with suppress(PodsError, OSError):
                await live.keeper.request(GetKeeperStatus())


async def _enter_found(supervisor: Supervisor, pods: Sequence[LivePod]) -> list[LivePod]:
    """Enter the guards that there are; returns the pods of other launchers that have none yet."""
    found: list[tuple[LivePod, ProcessIdentity, ProcessIdentity]] = []
    late: list[LivePod] = []
    for live in pods:
        if live.keeper_identity is None or live.launcher == supervisor.launcher.identity:
            continue
        guard = read_guard(supervisor.places.pod_runtime(live.id))
        if guard is None:
            late.append(live)
        elif guard != live.launcher:
            found.append((live, live.keeper_identity, guard))
    if not found:
        return late

    def enter(table: Table) -> tuple[Table, None]:
        for live, keeper, guard in found:
            table = table.guarded(live.id, keeper, guard)
        return table, None

    await supervisor.registry_worker.submit(enter)
    for live, keeper, guard in found:
        if live.keeper_identity == keeper:
            live.launcher = guard
    return late


async def wait_nothing_left(supervisor: Supervisor, pod_id: str) -> None:
    """Wait until nothing is left of a killed keeper's pod that no launcher answers for.

    Its guard ends that. Where there was none, or it was killed as well, what carries the pod's id
    is ended from here.
    """
    await _wait_guard_gone(supervisor, pod_id)
    await end_strays(supervisor, pod_id)


async def _wait_guard_gone(supervisor: Supervisor, pod_id: str) -> None:
    guard = await look(partial(read_guard, supervisor.places.pod_runtime(pod_id)))
    if guard is not None:
        with trio.move_on_after(PATIENCE_SECONDS):
            await wait_process_gone(guard)
            return
        signal_process(guard, signal.SIGCONT)  # somebody may have stopped it
        await wait_process_gone(guard)
