"""Who holds which scope, told from the audit alone: what is taken is told, and what was held."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import trio
from attrs import evolve

from pods.client import aio
from pods.journal.reader import iterate
from pods.scope.table import Table
from pods.supervisor.core import Supervisor
from pods_protocol.errors import AgentError, ScopeConflict, ScopeNotDelegable
from pods_protocol.values import RestartPolicy
from scope_support import lease, me
from supervisor_support import WAIT_SECONDS, acting_as, supervisor_and_client


def told_of(supervisor: Supervisor, pod: str) -> list[tuple[str, str, list[str]]]:
    """What the audit says of one pod's scope: the kind of line, how or why, and the rules."""
    return [
        (event.type, event.data.get("method") or event.data.get("why", ""), rules)
        for event in iterate(supervisor.places.audit)
        if event.data["pod"] == pod
        and (rules := event.data.get("rules", event.data.get("allow"))) is not None
    ]


def by_of(supervisor: Supervisor, pod: str, method: str) -> Any:
    """Who did something to a pod, by the audit."""
    (by,) = [
        event.data["by"]
        for event in iterate(supervisor.places.audit)
        if event.data["pod"] == pod and event.data.get("method") == method
    ]
    return by


async def wait_restarted(client: aio.PodsClient, pod: str) -> None:
    async with client.events(pod, kinds=("restarted",)) as stream:
        await anext(stream)
    await client.wait(pod)  # that it came up is on record by then


async def test_a_childs_scope_is_lent_at_each_of_its_lives_and_comes_back_from_each(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    work, part = f"{short_dir}/w", f"{short_dir}/w/part"
    os.makedirs(part)
    rules = [f"write {part}"]
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            lead = await client.spawn("lead", write=[work], agent="echo")
            async with acting_as(supervisor.places.socket, lead) as own:
                again = RestartPolicy(when="on-failure", limit=5)
                await own.spawn("child", write=[part], agent="echo", restart=again)
                pid = (await client.inspect("child")).pod.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                await wait_restarted(client, "child")
                await own.stop("child")
                await own.restore("child")
                await own.stop("child")
        assert told_of(supervisor, "child") == [
            ("allowed", "spawn", rules),
            ("lent", "", rules),
            ("allowed", "restart", rules),
            ("lent", "", rules),
            ("reclaimed", "ended", rules),
            ("allowed", "restore", rules),
            ("lent", "", rules),
            ("reclaimed", "ended", rules),
        ]
        assert by_of(supervisor, "child", "restart") == {"who": "supervisor", "pid": os.getpid()}
        assert by_of(supervisor, "child", "restore")["pod"] == "lead"


async def test_what_was_never_held_does_not_come_back(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    work = f"{short_dir}/w"
    os.mkdir(work)
    rules = [f"write {work}", "read /usr"]
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("first", write=[work], read=["/usr"], agent="echo")
            with pytest.raises(ScopeConflict):
                await client.spawn("second", write=[work], agent="echo")
            first = supervisor.pods[(await client.inspect("first")).pod.id]
            async with aio.connect_socket(supervisor.places.socket, first.token) as own:
                with pytest.raises(ScopeNotDelegable):
                    await own.spawn("thief", write=["/etc"], agent="echo")
            await client.stop("first")
            await client.spawn("second", write=[work], read=["/usr"], agent="echo")
            with pytest.raises(ScopeConflict):
                await client.restore("first")
            await client.stop("second")
        assert told_of(supervisor, "thief") == []
        held = [("allowed", "spawn", rules), ("reclaimed", "ended", rules)]
        assert told_of(supervisor, "first") == held
        assert told_of(supervisor, "second") == held


async def test_a_spawn_that_failed_after_it_held_its_scope_gives_it_back(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    work = f"{short_dir}/w"
    os.mkdir(work)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(AgentError):
                await client.spawn("odd", write=[work], read=["/usr"], agent="no_such_module:Agent")
        rules = [f"write {work}", "read /usr"]
        assert told_of(supervisor, "odd") == [("reclaimed", "spawn_failed", rules)]
        lines = list(iterate(supervisor.places.audit))
        assert [line.type for line in lines] == ["reclaimed", "failed"]
        assert [line.data["code"] for line in lines] == ["agent_error"] * 2


async def test_what_doctor_releases_is_told(pods_environ: dict[str, str], short_dir: str) -> None:
    def haunted(table: Table) -> tuple[Table, None]:
        # Its holder is dead and its launcher lives, so nothing but a doctor takes it away.
        ghost = lease("ghost", [f"w {short_dir}/held/**"], holder=evolve(me(), start_ticks=1))
        ghost = evolve(ghost, supervisor="test", guardian=me())
        return Table.of([*table.leases.values(), ghost]), None

    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await supervisor.registry_worker.submit(haunted)
            assert all(problem.fixed for problem in (await client.doctor(fix=True)).problems)
        assert told_of(supervisor, "ghost") == [("reclaimed", "dead", [f"write {short_dir}/held"])]
