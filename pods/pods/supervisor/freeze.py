"""Stopping all processes of a pod and letting them go on: what a pause is for most agents.

Owns the keeper's three signals for it and the mark on the living pod that says so. Whether a pod
may be paused and what is written about it is `pause`'s; the stop ladder and adoption use this too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import trio

from pods.supervisor.keeper_link import KeeperLink
from pods.supervisor.live import LivePod
from pods_protocol.errors import NotConnected, PodsError
from pods_protocol.process_messages import SignalTree


async def freeze(live: LivePod) -> None:
    """Stop every process of the pod.

    Raises:
        NotConnected, TimedOut: its keeper does not answer.
    """
    if live.thawed is None:
        live.thawed = trio.Event()
    await _keeper(live).request(SignalTree(signal="pause"))


async def thaw(live: LivePod) -> None:
    """Let every process of the pod go on.

    Raises:
        NotConnected, TimedOut: its keeper does not answer.
    """
    await _keeper(live).request(SignalTree(signal="resume"))
    live.let_go_on()


@asynccontextmanager
async def awake(live: LivePod) -> AsyncGenerator[None]:
    """Let a paused pod's own process run for the length of the block, to answer something.

    Its turn stays held, and all that the turn has started stays stopped. Call it with `holding`.

    Raises:
        NotConnected, TimedOut: its keeper does not answer.
    """
    keeper = _keeper(live)
    await keeper.request(SignalTree(signal="wake"))
    try:
        yield
    finally:
        with trio.CancelScope(shield=True), suppress(PodsError):
            # It has ended meanwhile, then; or its keeper is too busy, and the pod stays awake with
            # its turn held.
            await keeper.request(SignalTree(signal="pause"))


def _keeper(live: LivePod) -> KeeperLink:
    if live.keeper is None:
        raise NotConnected(
            f"cannot reach the keeper of pod {live.name}: the pod is still starting; ask again",
            peer=live.name,
        )
    return live.keeper
