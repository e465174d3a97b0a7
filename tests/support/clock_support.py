"""A supervisor on a clock of the test's: real table, journal and records, no process of any pod.

Owns how it is made. Registry and launcher are not there: who uses this stands in for what asks
them. For tests with `autojump_clock`, which never meets real processes or threads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final, cast

import trio

from pods.journal.store import JournalWriter
from pods.paths import places_from
from pods.records.events import POD_RESERVED, POD_SPAWNED, reserved_data, spawned_data
from pods.records.table import PodTable
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods.supervisor.options import Options
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ProcessIdentity, RestartPolicy, ScopeGrant

EPOCH: Final = 1_000_000.0
"""What a wall clock shows where trio's shows zero."""

KEEPER: Final = ProcessIdentity(pid=1, start_ticks=1, boot_id="b")


@asynccontextmanager
async def supervisor_on_clock(
    directory: str, clock: Callable[[], float] | None = None
) -> AsyncGenerator[Supervisor]:
    """One without pods, whose wall clock goes as trio's does, or as it is told."""
    wall = clock or (lambda: EPOCH + trio.current_time())
    environ = {"PODS_RUNTIME_DIR": f"{directory}/r", "PODS_STATE_DIR": f"{directory}/s"}
    options = Options(places=places_from(environ, 0).supervisor("t"), environ={}, clock=wall)
    table = PodTable()
    with JournalWriter[PodTable].open_with(table, f"{directory}/j", clock=wall) as journal:
        async with trio.open_nursery() as nursery:
            yield Supervisor(
                options=options,
                token="t",
                journal=journal,
                table=table,
                registry=cast("Any", None),
                registry_worker=cast("Any", None),
                launcher=cast("Any", SimpleNamespace(forget=_pass_over, identity=None)),
                identity=KEEPER,
                nursery=nursery,
                log=cast("Any", _pass_over),
                audit=cast("Any", SimpleNamespace(note=_pass_over)),
            )
            nursery.cancel_scope.cancel()


def _pass_over(*_: object, **__: object) -> None:
    pass


def add_running(supervisor: Supervisor, name: str, restart: RestartPolicy | None = None) -> LivePod:
    """Write down that a pod runs; its id is its name."""
    request = SpawnPod(name=name, restart=restart or RestartPolicy())
    reserved = reserved_data(
        request, pod_id=name, parent_id=None, grant=ScopeGrant(), cwd="/", on_parent_exit="keep",
        replaces=None,
    )  # fmt: skip
    supervisor.record(POD_RESERVED, reserved)
    known = supervisor.known(name)
    spawned = spawned_data(known, keeper=KEEPER, pid=2, message=None)
    supervisor.record(POD_SPAWNED, spawned)
    return supervisor.add_live(name, name, f"token of {name}")
