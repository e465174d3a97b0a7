"""How a pod that crosses a limit ended, by its journal and by its supervisor's table."""

from __future__ import annotations

from typing import Any

from pods.client.pod_handle import Pod
from pods.supervisor.core import Supervisor

MIB = 1024 * 1024


async def end_of(pod: Pod, kind: str) -> dict[str, Any]:
    """The data of the pod's newest event of that kind, once there is one."""
    since, found = 0, None
    while found is None:
        page = await pod.read(since=since, wait_seconds=5)
        found = next((one.data for one in reversed(page.events) if one.type == kind), None)
        since = page.next
    return found


async def assert_ended_by(supervisor: Supervisor, pod: Pod, crossed: str) -> None:
    """Wait for a pod's end; that limit has ended it, and both say so."""
    stopped = await end_of(pod, "stopped")
    assert (stopped["reason"], stopped["limit"]) == ("limit", crossed)
    record = supervisor.table.named(pod.name)
    assert record is not None
    if record.id in supervisor.pods:
        await supervisor.pods[record.id].ended.wait()
    record = supervisor.known(record.id)
    assert (record.state, record.reason.split(":")[0]) == ("failed", f"limit {crossed}")
