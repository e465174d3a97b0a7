"""What cannot be removed is told, and what has ended hears no more."""

from __future__ import annotations

import os
import shutil

import pytest
import trio

from pods.rpc.client import open_rpc
from pods_protocol.errors import StorageFailed
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import SubscribeLifecycle
from supervisor_support import BUSY, WAIT_SECONDS, supervisor_and_client, wait_text


async def test_a_directory_that_cannot_be_removed_keeps_its_row_and_is_told(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", agent="echo")
            (row,) = (await client.list()).pods
            await client.stop("one")
            state = os.path.dirname(row.journal)
            aside = f"{short_dir}/aside"
            os.rename(state, aside)
            os.symlink(aside, state)  # not what we made: nothing is deleted through it
            with pytest.raises(StorageFailed, match="cannot remove"):
                await client.remove("one")
            assert [pod.name for pod in (await client.list()).pods] == ["one"]
            assert os.listdir(aside)
            # With `replace` the new one runs all the same.
            await client.spawn("one", agent="echo", replace=True)
            assert (await client.send("one", "hi")).state == "started"
            os.unlink(state)

            left = f"{supervisor.places.runtime}/{row.id}"
            os.mkdir(left, 0o700)
            told = {problem.code: problem.message for problem in (await client.doctor()).problems}
            # The first one's row is still there, since it could not be removed; its state is not.
            assert told.keys() == {"stale_runtime_directory", "missing_state"}
            assert left in told["stale_runtime_directory"]
            os.rmdir(left)


async def test_a_pod_whose_directory_was_removed_is_stopped_without_a_wait(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", prompt=BUSY)
            await wait_text(client, "one", "up")
            (row,) = (await client.list()).pods
            shutil.rmtree(os.path.dirname(row.journal))
            stopped = await client.stop("one")
            assert stopped.state == "stopped"
            # Not by SIGKILL after two graces, for which its keeper would have offered its record.
            assert stopped.step == "shutdown"


async def test_a_subscription_ends_with_the_pod_whose_right_it_was(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("parent", agent="echo")
            assert pod.spawned is not None
            async with open_rpc(
                supervisor.places.socket, SUPERVISOR_API, token=pod.spawned.token
            ) as rpc:
                await rpc.request(SubscribeLifecycle())
                await client.stop("parent")
                await rpc.closed.wait()
