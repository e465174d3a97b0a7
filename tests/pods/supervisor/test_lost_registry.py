"""The registry's file is torn, emptied or gone while pods live: nobody else gets what they hold."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from attrs import evolve

from pods.scope.leases import Lease
from pods.supervisor.core import Supervisor
from pods_protocol.errors import RegistryBroken, ScopeConflict
from scope_support import release
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client


def tear(registry: str) -> None:
    Path(registry).write_text("{torn\n")


def remove(registry: str) -> None:
    shutil.rmtree(os.path.dirname(registry))


def tear_both(registry: str) -> None:
    tear(registry)
    tear(f"{registry}.previous")


def plant_unreadable(journal: str) -> None:
    """The journal of another supervisor, which nobody can read."""
    os.makedirs(journal, mode=0o700)
    Path(f"{journal}/{1:020}.jsonl").write_text("torn\ntorn\n")


def held_in(supervisor: Supervisor) -> list[Lease]:
    """The leases, but for who once took them: that matters only while they are pending."""
    leases = supervisor.registry.read().leases.values()
    return [evolve(lease, spawner=None) for lease in leases]


@pytest.mark.parametrize("lose", [tear, remove, tear_both])
async def test_no_pod_loses_its_scope_to_another_supervisors(
    pods_environ: dict[str, str], short_dir: str, lose: Callable[[str], None]
) -> None:
    async with (
        supervisor_and_client(pods_environ, "one") as (one, owner),
        supervisor_and_client(pods_environ, "two") as (_, other),
    ):
        with trio.fail_after(WAIT_SECONDS):
            os.mkdir(f"{short_dir}/w")
            await owner.spawn("b1", cwd=short_dir, write=[f"{short_dir}/w"])
            before = held_in(one)
            lose(one.places.places.registry)
            (shown,) = await other.scopes()
            assert (shown.pod, shown.pending) == ("b1", False)
            with pytest.raises(ScopeConflict, match="b1"):
                await other.spawn("b2", cwd=short_dir, write=[f"{short_dir}/w"])
            assert held_in(one) == before
            await owner.stop("b1")
            await other.spawn("b2", cwd=short_dir, write=[f"{short_dir}/w"])
    assert left_in(pods_environ) == NOTHING


@pytest.mark.parametrize("lose", [tear, remove, tear_both])
async def test_nobody_gets_a_scope_while_a_supervisors_journal_cannot_be_read_either(
    pods_environ: dict[str, str], short_dir: str, lose: Callable[[str], None]
) -> None:
    async with supervisor_and_client(pods_environ, "two") as (two, client):
        with trio.fail_after(WAIT_SECONDS):
            os.mkdir(f"{short_dir}/w")
            await client.spawn("own", write=[])
            lost = two.places.places.supervisor("one").state
            plant_unreadable(f"{lost}/journal")
            await client.spawn("b1", write=[])  # the file is whole: nobody needs the journals
            lose(two.places.places.registry)
            with pytest.raises(RegistryBroken) as refused:
                await client.spawn("b2", cwd=short_dir, write=[f"{short_dir}/w"])
            assert f"cannot be read: {lost}; end the pods" in refused.value.message
            os.rename(lost, f"{short_dir}/aside")
            await client.spawn("b2", cwd=short_dir, write=[f"{short_dir}/w"])
            assert sorted(lease.name for lease in held_in(two)) == ["b1", "b2", "own"]
    assert left_in(pods_environ) == NOTHING


async def test_doctor_names_a_living_pod_without_a_lease_and_gives_it_back(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            os.mkdir(f"{short_dir}/w")
            await client.spawn("b1", cwd=short_dir, write=[f"{short_dir}/w"])
            (pod_id,) = supervisor.pods
            before = held_in(supervisor)
            await supervisor.registry_worker.submit(release(pod_id))
            (problem,) = (await client.doctor()).problems
            assert problem.code == "missing_lease"
            assert "b1" in problem.message
            (problem,) = (await client.doctor(fix=True)).problems
            assert problem.fixed
            assert (await client.doctor()).problems == ()
            assert held_in(supervisor) == before
    assert left_in(pods_environ) == NOTHING
