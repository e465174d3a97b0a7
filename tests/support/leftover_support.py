"""What crashes leave, planted by hand: rows of a supervisor's journal, processes, files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

from pods.journal.store import Journal
from pods.paths import Places, places_from
from pods.records.events import POD_ENDED, POD_RESERVED, POD_SPAWNED, reserved_data
from pods.scope.identity import identify
from pods_protocol.codec import to_json
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ExitRecord, ProcessIdentity, ScopeGrant


def places_in(environ: dict[str, str]) -> Places:
    """The places of that environment."""
    return places_from(environ, os.geteuid())


def reserved(pod_id: str, name: str) -> dict[str, object]:
    """The data of a row for a pod that was about to be started."""
    return reserved_data(
        SpawnPod(name=name, agent="echo"),
        pod_id=pod_id,
        parent_id=None,
        grant=ScopeGrant(),
        cwd="/",
        on_parent_exit="keep",
        replaces=None,
    )


def plant_row(
    places: Places,
    supervisor: str,
    pod_id: str,
    name: str,
    *,
    keeper: ProcessIdentity | None = None,
    ended: bool = False,
) -> None:
    """A row of that supervisor's journal: reserved; spawned, with a keeper; ended, where asked."""
    os.makedirs(places.supervisor(supervisor).state, mode=0o700, exist_ok=True)
    with Journal.open(f"{places.supervisor(supervisor).state}/journal") as journal:
        journal.append(POD_RESERVED, reserved(pod_id, name))
        if keeper is not None:
            journal.append(
                POD_SPAWNED,
                {"id": pod_id, "pod": name, "keeper": to_json(keeper), "pid": 1, "message": None},
            )
        if ended:
            journal.append(
                POD_ENDED,
                {
                    "id": pod_id,
                    "pod": name,
                    "state": "stopped",
                    "reason": "",
                    "exit": to_json(ExitRecord(status=0, reason="exited")),
                    "last_turn": None,
                },
            )


@contextmanager
def sleeper() -> Generator[tuple[subprocess.Popen[bytes], ProcessIdentity]]:
    """A process, and what it is; ended on the way out."""
    process = subprocess.Popen(["sleep", "1000"])
    try:
        yield process, identify(process.pid)
    finally:
        process.kill()
        process.wait()
