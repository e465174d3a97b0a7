"""Network, Unix sockets and terminals of pods: asked at the spawn, inherited, kept, or refused.

That they really are closed is tried in `tests/hostile`; here it is who gets what, and who is told.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from pods.client import aio
from pods.scope.confine import OFF_VARIABLE
from pods.scope.landlock import abi_version
from pods_protocol.errors import InvalidParams, NotEnforceable, ScopeNotDelegable
from pods_protocol.supervisor_messages import Doctor, InspectPod, SpawnPod, SpawnPodResult
from pods_protocol.values import Enforcement
from supervisor_support import WAIT_SECONDS, supervisor_and_client, wait_text

needs_landlock = pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6")
DIALS = "exec 3<>/dev/tcp/127.0.0.1/9"
ASKS = """
async def ask(turn):
    try:
        await turn.client()
    except Exception as error:
        await turn.text(f"{type(error).__name__}: {error}")
"""


def doors(record: Enforcement) -> tuple[str, str, bool]:
    return record.network, record.unix_sockets, record.pty


@needs_landlock
async def test_a_child_is_closed_as_its_parent_is_and_all_are_told(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):

        async def spawn(asker: Any, name: str, **asked: Any) -> SpawnPodResult:
            answer: SpawnPodResult = await asker.request(SpawnPod(name=name, agent="echo", **asked))
            return answer

        with trio.fail_after(WAIT_SECONDS):
            parent = await spawn(client, "parent", network="none", pty=True)
            assert doors(parent.enforcement) == ("none", "any", True)
            assert "no network, terminals" in parent.enforcement.summary
            assert not any("network is open" in gap for gap in parent.enforcement.gaps)
            assert any("terminals" in gap for gap in parent.enforcement.gaps)
            async with aio.connect_socket(supervisor.places.socket, parent.token) as inside:
                with pytest.raises(ScopeNotDelegable, match="parent parent has network=none"):
                    await spawn(inside, "child", network="loopback")
                child = await spawn(inside, "child", unix_sockets="none")
                assert doors(child.enforcement) == ("none", "none", False)
                shown = await inside.request(InspectPod(pod="child"))
                assert doors(shown.pod.enforcement) == ("none", "none", False)
            async with aio.connect_socket(supervisor.places.socket, child.token) as inside:
                with pytest.raises(ScopeNotDelegable, match="pty=false"):
                    await spawn(inside, "grandchild", pty=True)
                with pytest.raises(InvalidParams, match="without Unix sockets"):
                    await spawn(inside, "grandchild", call_back=True)
            assert (await client.request(Doctor())).doors["network=none"] == ""
            await client.stop("parent")
            # What ended comes back as it was.
            await client.restore("parent")
            assert doors((await client.inspect("parent")).pod.enforcement) == ("none", "any", True)
            await client.stop("parent")


@pytest.fixture
def asking(short_dir: str) -> str:
    """A directory with an agent in it."""
    path = Path(short_dir, "w")
    path.mkdir()
    (path / "asking.py").write_text(ASKS)
    return str(path)


@needs_landlock
async def test_programs_and_agents_learn_that_a_door_is_closed(
    pods_environ: dict[str, str], asking: str
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("shell", network="none", prompt=f"{DIALS}; echo $PODS_SCOPE")
            await client.wait("shell")
            said = await client.read_text("shell")
            assert "Permission denied" in said
            assert '"network":"none"' in said
            await client.spawn(
                "agent", agent="asking:ask", cwd=asking, unix_sockets="none", prompt="x"
            )
            await wait_text(client, "agent", "NotSupported: cannot ask the supervisor from pod")
            await client.stop("shell")
            await client.stop("agent")


@needs_landlock
@pytest.mark.skipif(shutil.which("script") is None, reason="script is not here")
async def test_script_runs_a_program_at_a_terminal_where_a_pod_may_open_one(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    prompt = "script -qec 'tty; test -t 0 && echo at a terminal' /dev/null; echo exit $?"
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            for name, pty in (("with", True), ("without", False)):
                await client.spawn(name, pty=pty, cwd=short_dir, prompt=prompt)
                await client.wait(name)
                said = await client.read_text(name)
                assert ("at a terminal" in said, "exit 0" in said) == (pty, pty), said
                await client.stop(name)


async def test_what_cannot_be_closed_here_is_refused_before_anything_is_started(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    environ = {**pods_environ, OFF_VARIABLE: "1"}
    async with supervisor_and_client(environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            for request in (
                SpawnPod(name="one", agent="echo", network="none"),
                SpawnPod(name="one", agent="echo", network="loopback"),
                SpawnPod(name="one", agent="echo", unix_sockets="none"),
            ):
                with pytest.raises(NotEnforceable, match="cannot be had") as caught:
                    await client.request(request)
                assert OFF_VARIABLE in caught.value.data["reason"]
            found = (await client.request(Doctor())).doors
            assert all(OFF_VARIABLE in reason for reason in found.values())
            assert (await client.list()).pods == ()
            # A terminal is open anyhow where nothing holds a pod.
            await client.spawn("two", agent="echo", pty=True, cwd=short_dir)
            await client.stop("two")
