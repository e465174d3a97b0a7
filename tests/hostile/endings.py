"""One spawn and one end of each kind, for the cycles: after each nothing of the pod may be left.

Owns the table of kinds. Each takes a client of its own and removes what it made, so that whatever
grows over many of them is a leak. Judges nothing. Used by `cycles`.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio
from attrs import frozen

from pods.client import aio
from pods.keeper.tree import read_stat
from pods.rpc.client import open_rpc
from pods_protocol.errors import (
    AgentError,
    NotConnected,
    PodEnded,
    PodsError,
    ScopeConflict,
    UnknownPod,
)
from pods_protocol.events import ASSISTANT_TEXT_KINDS
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ENDED_STATES, RestartPolicy, ScopeRule

GRACE_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 30.0

SPAWN_SECONDS: Final = 0.06
"""A cancelled spawn is left at some moment of these: about what one takes beside three others."""

BUSY: Final = "exec sleep 1000"
LEAVE: Final = (
    "setsid sleep 1000 >/dev/null 2>&1 & disown; "
    "(setsid env -i sh -c 'trap \"\" TERM HUP INT; sleep 1000' >/dev/null 2>&1 &)"
)
"""A disowned job, and a double fork without environment that hears no polite signal."""


@frozen
class Ground:
    """What one kind of end gets.

    Attributes:
        socket, token: the supervisor's.
        client: the owner's, a connection of this cycle alone.
        name: for the pod, used once.
        write: a directory that no other cycle uses at the time.
        chance: the cycle's own.
    """

    socket: str
    token: str
    client: aio.PodsClient
    name: str
    write: str
    chance: random.Random

    async def spawn(self, prompt: str | None = "echo hello", *, agent: str = "shell",
                    restart: RestartPolicy | None = None) -> aio.Pod:  # fmt: skip
        """The cycle's pod."""
        return await self.client.spawn(
            self.name,
            agent=agent,
            prompt=prompt,
            write=[self.write],
            cwd=self.write,
            restart=restart or RestartPolicy(),
        )

    async def wait_ended(self) -> None:
        """Wait until the pod has ended by itself, then forget it."""
        answer = await self.client.wait(self.name, until="ended", timeout_seconds=WAIT_SECONDS)
        assert not answer.timed_out, f"{self.name} does not end"
        await self.client.remove(self.name)

    async def pid(self) -> int:
        """The pod's main process."""
        pid = (await self.client.inspect(self.name)).pod.pid
        assert pid is not None
        return pid

    async def clear(self) -> None:
        """Stop and forget the pod, if there is one."""
        with suppress(UnknownPod):
            await self.client.stop(self.name, grace_seconds=GRACE_SECONDS)
            await self.client.remove(self.name)


async def _stopped(ground: Ground) -> None:
    await ground.spawn()
    await ground.client.wait(ground.name)
    await ground.clear()


async def _finished(ground: Ground) -> None:
    await ground.spawn()
    await ground.client.stop(ground.name, mode="finish", grace_seconds=GRACE_SECONDS)
    await ground.client.remove(ground.name)


async def _stopped_at_work(ground: Ground) -> None:
    await ground.spawn(BUSY)
    await ground.clear()


async def _killed_with_what_it_left(ground: Ground) -> None:
    await ground.spawn(LEAVE)
    await ground.client.wait(ground.name)
    await ground.client.stop(ground.name, mode="kill")
    await ground.client.remove(ground.name)


async def _pod_killed(ground: Ground) -> None:
    await ground.spawn(ground.chance.choice([BUSY, LEAVE]))
    os.kill(await ground.pid(), signal.SIGKILL)
    await ground.wait_ended()


async def _pod_terminated(ground: Ground) -> None:
    await ground.spawn(BUSY)
    os.kill(await ground.pid(), signal.SIGTERM)
    await ground.wait_ended()


async def _keeper_killed(ground: Ground) -> None:
    await ground.spawn(LEAVE)
    await ground.client.wait(ground.name)
    keeper = int(read_stat(await ground.pid()).rpartition(b")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    await ground.wait_ended()


async def _left_by_itself(ground: Ground) -> None:
    with suppress(PodsError):  # it may be gone before its first message was accepted
        await ground.spawn("go", agent="cycle_agents:Leaver")
        await ground.wait_ended()


async def _restarted(ground: Ground) -> None:
    await ground.spawn(None, restart=RestartPolicy(when="on-failure", limit=2))
    os.kill(await ground.pid(), signal.SIGKILL)
    with suppress(NotConnected, PodEnded):
        await ground.client.send(ground.name, "echo again", if_busy="queue")
    await ground.clear()


async def _restored(ground: Ground) -> None:
    await ground.spawn()
    await ground.client.stop(ground.name, grace_seconds=GRACE_SECONDS)
    await ground.client.restore(ground.name, prompt="echo again")
    await ground.clear()


async def _paused(ground: Ground) -> None:
    await ground.spawn(BUSY)
    await ground.client.pause(ground.name)
    await ground.clear()


async def _followed(ground: Ground) -> None:
    await ground.spawn("echo hello; sleep 1000")
    async with ground.client.events(ground.name) as events:
        async for event in events:
            if event.type in ASSISTANT_TEXT_KINDS:
                break
    await ground.clear()


async def _parent_and_child(ground: Ground) -> None:
    parent = await ground.spawn(None)
    assert parent.spawned is not None
    child = f"{ground.name}.child"
    async with aio.connect_socket(ground.socket, parent.spawned.token) as of_parent:
        await of_parent.spawn(child, prompt=BUSY, write=[ground.write])
    await ground.client.stop(ground.name, grace_seconds=GRACE_SECONDS)
    await ground.client.remove(child)
    await ground.client.remove(ground.name)


async def _refused(ground: Ground) -> None:
    await ground.spawn(None)
    try:
        await ground.client.spawn(f"{ground.name}.rival", write=[ground.write])
    except ScopeConflict:
        await ground.clear()
    else:
        raise AssertionError("two pods hold one scope")


async def _failed_start(ground: Ground) -> None:
    agent = ground.chance.choice(["cycle_agents:Unmakeable", "no_such_module:at_all"])
    try:
        await ground.spawn(agent=agent)
    except AgentError:
        return
    raise AssertionError("an agent that cannot be made was started")


async def _cancelled(ground: Ground) -> None:
    request = SpawnPod(
        name=ground.name,
        agent="echo",
        prompt="hello",
        allow=(ScopeRule(target=ground.write, permission="write"),),
    )
    async with open_rpc(ground.socket, SUPERVISOR_API, token=ground.token) as rpc:
        with trio.move_on_after(ground.chance.uniform(0.0, SPAWN_SECONDS)):
            await rpc.request(request)
    while rows := [row for row in (await ground.client.list()).pods if row.name == ground.name]:
        if rows[0].state != "starting":
            await ground.clear()
        assert rows[0].state not in ENDED_STATES, "a spawn that was given up left a row"


ENDINGS: Final[dict[str, Callable[[Ground], Awaitable[None]]]] = {
    "stopped": _stopped,
    "let finish": _finished,
    "stopped at work": _stopped_at_work,
    "killed with what it left running": _killed_with_what_it_left,
    "pod kill -9": _pod_killed,
    "pod SIGTERM": _pod_terminated,
    "keeper kill -9": _keeper_killed,
    "left by itself": _left_by_itself,
    "started again, stopped": _restarted,
    "restored, stopped": _restored,
    "stopped while paused": _paused,
    "stopped while followed": _followed,
    "parent stopped with its child": _parent_and_child,
    "scope refused": _refused,
    "start failed": _failed_start,
    "spawn cancelled": _cancelled,
}
"""Each kind once in as many cycles as there are kinds."""
