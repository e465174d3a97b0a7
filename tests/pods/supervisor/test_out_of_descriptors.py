"""The whole machine is out of descriptors: a spawn is refused as such, and leaves nothing."""

from __future__ import annotations

import os

import pytest
import trio

from pods.supervisor import acts, keeper_link, spawn
from pods.supervisor.core import Supervisor
from pods.supervisor.probes import locks_of_a_life
from pods_protocol.errors import CapacityReached
from scarcity import make_scarce
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client

MOST_CALLS = 200
"""Far more than a spawn makes; one that never succeeds must fail the test, not hang it."""


async def _wait_nothing_left(supervisor: Supervisor) -> None:
    with trio.fail_after(WAIT_SECONDS):
        while (  # noqa: ASYNC110 - a roll back is tried again in the background, and tells nobody
            len(supervisor.table)
            or supervisor.pods
            or supervisor.registry.read().leases
            or await supervisor.launcher.keepers()
            or os.listdir(f"{supervisor.places.places.state}/pods")
            or [
                entry.name
                for entry in os.scandir(supervisor.places.runtime)
                if entry.is_dir() and not entry.name.startswith("spare-")
            ]
        ):
            await trio.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("most", [None, 1])
async def test_a_spawn_that_finds_no_descriptor_at_any_point_is_refused_and_leaves_nothing(
    most: int | None,
    pods_environ: dict[str, str],
    short_dir: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spawn, "FIRST_ROLLBACK_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(acts, "FIRST_RELEASE_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(keeper_link, "DESCRIPTOR_RETRY_SECONDS", 0.001)
    scope = f"{short_dir}/w"
    os.mkdir(scope)
    scarcity = make_scarce(monkeypatch)
    refusals = 0
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        for calls in range(MOST_CALLS):
            with trio.fail_after(WAIT_SECONDS):
                refusal: CapacityReached | None = None
                with scarcity.after(calls, most=most):
                    try:
                        await client.spawn("x", agent="echo", prompt="hi", write=[scope])
                    except CapacityReached as error:
                        refusal = error
                if refusal is None:
                    # Nothing but what is tried again lacked one: the pod is whole.
                    row = (await client.inspect("x")).pod
                    assert row.enforcement is not None
                    assert supervisor.registry.read().leases[row.id].holder is not None
                    await client.stop("x", mode="kill")
                    await client.remove("x")
                    if not scarcity.refused:
                        break
                else:
                    refusals += 1
                    assert "open file" in refusal.message
                    assert refusal.data["limit_name"] == "open_files"
                await _wait_nothing_left(supervisor)
        else:
            raise AssertionError("no spawn succeeded undisturbed")
    assert refusals > 10
    assert left_in(pods_environ) == NOTHING


async def test_a_doctor_without_descriptors_does_not_take_a_supervisor_for_gone(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        with locks_of_a_life(supervisor.places) as free:
            assert not free
        scarcity = make_scarce(monkeypatch)
        with scarcity.after(0), pytest.raises(CapacityReached), locks_of_a_life(supervisor.places):
            raise AssertionError("it may live")
