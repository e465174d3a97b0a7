"""Who answers for what a killed keeper leaves, where its own launcher was killed before.

Owns the entry of such keepers' guards in the registry, so that no supervisor takes a scope for free
while a guard is still at work, and the wait for a guard's end. Called by `service` for as long as
the supervisor lives, and by who judges that a tree is gone.
"""

from __future__ import annotations

from pods.keeper.record import read_guard
from pods.scope.table import Table
from pods.supervisor.core import Supervisor
from pods.supervisor.processes import wait_process_gone
from pods_protocol.errors import PodsError
from pods_protocol.values import ProcessIdentity


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
    found: list[tuple[str, ProcessIdentity, ProcessIdentity]] = []
    for live in supervisor.pods.values():
        if live.keeper_identity is None or live.launcher == supervisor.launcher.identity:
            continue
        guard = read_guard(supervisor.places.pod_runtime(live.id))
        if guard is not None and guard != live.launcher:
            live.launcher = guard
            found.append((live.id, live.keeper_identity, guard))
    if not found:
        return

    def enter(table: Table) -> tuple[Table, None]:
        for pod_id, keeper, guard in found:
            table = table.guarded(pod_id, keeper, guard)
        return table, None

    await supervisor.registry_worker.submit(enter)


async def wait_guard_gone(supervisor: Supervisor, pod_id: str) -> None:
    """Wait until a killed keeper's guard has ended what it left; at once where there is none."""
    guard = read_guard(supervisor.places.pod_runtime(pod_id))
    if guard is not None:
        await wait_process_gone(guard)
