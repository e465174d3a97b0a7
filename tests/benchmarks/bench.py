"""The places and sizes of one run of `bench_pods.py`, and the end of what a round has started."""

from __future__ import annotations

import os

import trio

from pods.client.aio import PodsClient
from pods_protocol.supervisor_messages import SpawnPod, SpawnPodResult, StopPod
from pods_protocol.values import ScopeRule


class Bench:
    """The places and sizes of one run.

    Attributes:
        directory: on a disk; for journals and what pods write.
        sockets: in memory, as `$XDG_RUNTIME_DIR` is; for everybody's sockets, the anchors' too.
    """

    def __init__(self, directory: str, sockets: str, quick: bool) -> None:
        self.directory = directory
        self.sockets = sockets
        self.rounds = 3 if quick else 7
        self.many = 20 if quick else 100
        self._names = 0

    def environ(self) -> dict[str, str]:
        """Private runtime and state directories, and none of the sandbox's import handicaps."""
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environ["PODS_RUNTIME_DIR"] = f"{self.sockets}/r"
        environ["PODS_STATE_DIR"] = f"{self.directory}/s"
        return environ

    def request(self) -> SpawnPod:
        """A spawn with a write scope of its own, as users have them."""
        self._names += 1
        name = f"p{self._names}"
        scope = f"{self.directory}/tree/{name}"
        os.makedirs(scope, exist_ok=True)
        return SpawnPod(
            name=name,
            agent="echo",
            allow=(ScopeRule(target=scope, permission="write"),),
            cwd=scope,
        )


async def stop_all(client: PodsClient, spawned: list[SpawnPodResult]) -> None:
    """Stop what a round started."""
    async with trio.open_nursery() as nursery:
        for each in spawned:
            nursery.start_soon(client.request, StopPod(pod=each.pod.id, mode="kill"))
