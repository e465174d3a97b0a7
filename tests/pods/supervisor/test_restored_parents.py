"""What became of a pod's children while it had ended, once it is restored: told once, to one."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from pods.client import aio
from pods.client.pod_handle import Pod
from pods_protocol.supervisor_messages import ConnectPod
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    acting_as,
    client_of,
    daemon,
    left_in,
    places_of,
    supervisor_and_client,
    wait_process_ended,
)

pytestmark = pytest.mark.slow


async def end_untold(client: aio.PodsClient, path: str, boss: Pod) -> None:
    """A child of `boss` ends while that cannot be told of it, and then `boss` ends, too."""
    assert boss.spawned is not None
    pid = boss.spawned.pod.pid
    assert pid is not None
    async with aio.connect_socket(path, boss.spawned.token) as as_boss:
        await as_boss.spawn("kid", agent="echo")
        os.kill(pid, signal.SIGSTOP)
        await as_boss.stop("kid")
    os.kill(pid, signal.SIGKILL)
    await client.wait(boss.name, until="ended")


async def ends_told(client: aio.PodsClient, pod: str, last: str) -> list[str]:
    """The children whose ends a pod was told of, once `last` is among them."""
    seen: list[str] = []
    cursor = 0
    while last not in seen:
        answer = await client.read(
            pod, since=cursor, kinds=["child_event"], wait_seconds=WAIT_SECONDS
        )
        cursor = answer.next
        seen += [one.data["pod"] for one in answer.events if one.data["type"] == "stopped"]
    return seen


async def end_another(client: aio.PodsClient, path: str, name: str) -> None:
    """End one more child of `boss`: that is told last."""
    token = (await client.request(ConnectPod(pod="boss"))).token
    async with aio.connect_socket(path, token) as as_boss:
        await as_boss.spawn(name, agent="echo")
        await as_boss.stop(name)


async def test_a_restored_parent_is_told_what_nobody_was(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        path = supervisor.places.socket
        with trio.fail_after(WAIT_SECONDS):
            await end_untold(client, path, await client.spawn("boss", agent="echo"))
            await client.restore("boss")
            await end_another(client, path, "last")
            assert await ends_told(client, "boss", "last") == ["kid", "last"]
    assert left_in(pods_environ) == NOTHING


async def test_a_restored_parent_is_not_told_what_its_own_parent_was(
    pods_environ: dict[str, str],
) -> None:
    path = places_of(pods_environ, "test").socket
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                top = await client.spawn("top", agent="echo")
                async with acting_as(path, top) as as_top:
                    boss = await as_top.spawn("boss", agent="echo")
                await end_untold(client, path, boss)
                assert "kid" in await ends_told(client, "top", "kid")
                await client.restore("boss")
                await end_another(client, path, "last")
                assert await ends_told(client, "boss", "last") == ["last"]
        process.kill()
        await wait_process_ended(process)
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                await end_another(client, path, "newest")
                assert await ends_told(client, "boss", "newest") == ["last", "newest"]
                await client.shutdown(stop_pods=True)
        await wait_process_ended(process)
    assert left_in(pods_environ) == NOTHING
