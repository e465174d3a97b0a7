"""A pod that was asked for and did not come up: the audit says who asked, and no sentence of it."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
import trio

from pods.client import aio
from pods.journal.reader import iterate
from pods.supervisor.core import Supervisor
from pods_protocol.errors import AgentError, StartFailed
from supervisor_support import WAIT_SECONDS, supervisor_and_client


def _failures(supervisor: Supervisor) -> list[dict[str, Any]]:
    return [
        dict(event.data) for event in iterate(supervisor.places.audit) if event.type == "failed"
    ]


async def test_who_asked_for_a_pod_that_failed_by_its_agent_is_told(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(AgentError):
                await client.spawn("odd", agent="no_such_module:Agent")
            lead = await client.spawn("lead", agent="echo")
            assert lead.spawned is not None
            async with aio.connect_socket(supervisor.places.socket, lead.spawned.token) as own:
                with pytest.raises(AgentError):
                    await own.spawn("child", agent="no_such_module:Agent")
        pid = os.getpid()
        by_lead = {"who": "pod", "pod": "lead", "id": lead.spawned.pod.id, "pid": pid}
        assert _failures(supervisor) == [
            {
                "method": "spawn", "pod": "odd", "code": "agent_error",
                "by": {"who": "owner", "pid": pid},
            },
            {"method": "spawn", "pod": "child", "code": "agent_error", "by": by_lead},
        ]  # fmt: skip


@pytest.mark.slow
async def test_so_is_who_asked_for_one_back_that_could_not_be_restored(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("p", agent="echo")
            await client.stop("p")
            shutil.rmtree(supervisor.journal_of((await client.inspect("p")).pod.id))
            with pytest.raises(StartFailed):
                await client.restore("p")
        (failure,) = _failures(supervisor)
        assert (failure["method"], failure["pod"]) == ("restore", "p")
        assert (failure["by"]["who"], failure["code"]) == ("owner", "start_failed")
