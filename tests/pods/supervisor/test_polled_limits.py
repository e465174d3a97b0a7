"""What `inspect` says of limits whose keeper cannot listen to the pod's cgroup."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from pods.keeper.record import is_polled, note_polled
from pods.supervisor import inspect
from pods.supervisor.ceilings import held_limits
from pods_protocol.values import Limits, RestartPolicy
from supervisor_support import WAIT_SECONDS, supervisor_and_client

LIMITS = Limits(memory_bytes=2**30, processes=10, open_files=9)


def _one_group(_: object) -> str:
    return "/lent/one"


def test_a_limit_that_is_polled_beside_a_cgroup_is_the_keepers() -> None:
    held = {one.name: one for one in held_limits(LIMITS, "/lent/one", polled=True)}
    memory, processes = held["memory_bytes"], held["processes"]
    assert (memory.by, processes.by) == ("keeper", "keeper")
    assert memory.how.startswith("polled: counted by its keeper, which cannot listen to /lent/one")
    assert "RLIMIT_DATA" in memory.how
    assert processes.how.startswith("polled: ")
    assert "pids.max at 336 threads" in processes.how
    assert held["open_files"].by == "kernel"
    assert held_limits(LIMITS, polled=True) == held_limits(LIMITS), "there is no group at all"


async def test_inspect_says_it_until_the_pod_has_another_keeper(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "_cgroup_of", _one_group)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn(
                "p",
                agent="echo",
                limits=Limits(processes=10),
                restart=RestartPolicy(when="on-failure"),
            )
            seen = await client.inspect("p")
            assert seen.held_limits[0].how.startswith("cgroup: ")
            runtime = supervisor.places.pod_runtime(seen.pod.id)
            note_polled(runtime)
            assert (await client.inspect("p")).held_limits[0].how.startswith("polled: ")

            live = supervisor.pods[seen.pod.id]
            killed = live.pod_pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            while live.pod_pid in (killed, None):
                await live.wait_change()
            assert (await client.inspect("p")).held_limits[0].how.startswith("cgroup: ")
            assert not is_polled(runtime)
            await client.stop("p", mode="kill")
