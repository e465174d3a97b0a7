"""The line from spawn to stop, on real processes."""

from __future__ import annotations

import os
from typing import Any

import pytest
import trio

from pods.client import aio
from pods.config import Config
from pods.journal.reader import iterate
from pods.scope.confine import missing
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods.supervisor.service import HANDLERS
from pods_protocol.errors import (
    AgentError,
    CapacityReached,
    InvalidName,
    InvalidParams,
    InvalidScope,
    NameTaken,
    PodEnded,
    PodRunning,
    PodsError,
    ScopeConflict,
    StartFailed,
    TooLarge,
    UnknownPod,
)
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import ConnectPod, RestorePod, SpawnPod, WaitPods
from pods_protocol.values import Limits, ScopeRule
from supervisor_support import BUSY, NOTHING, WAIT_SECONDS, is_there, left_in, supervisor_and_client

BACKEND = "none" if missing(os.environ) else "landlock"
"""What this machine offers to every pod of these tests."""


async def test_a_pod_is_spawned_answers_is_listed_read_and_stopped(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", write=[f"{short_dir}/w"], prompt="echo hello")
            assert pod.spawned is not None
            assert pod.spawned.message is not None
            assert pod.spawned.message.state == "started"
            assert pod.spawned.enforcement.backend == BACKEND
            await client.wait("one")
            assert await client.read_text("one") == "hello\n"
            (row,) = (await client.list()).pods
            assert (row.name, row.state, row.depth, row.parent) == ("one", "idle", 1, None)
            assert row.last_turn is not None
            assert row.last_turn.stop_reason == "end_turn"
            assert row.memory_bytes
            assert row.pid
            stopped = await client.stop("one")
            assert (stopped.step, stopped.state, stopped.previous_state) == (
                "shutdown",
                "stopped",
                "idle",
            )
            written = [rule.target for rule in stopped.released if rule.permission == "write"]
            assert written == [f"{short_dir}/w"]
            again = await client.stop("one")
            assert (again.step, again.state) == ("already_ended", "stopped")
            assert not is_there(supervisor.places.pod_runtime(row.id))
            assert supervisor.registry.read().leases == {}
            (row,) = (await client.list()).pods
            assert row.state == "stopped"
            assert row.exit is not None
            assert row.exit.status == 0
            assert await client.read_text("one", since=0) == "hello\n"
            assert (await client.list(ended=False)).pods == ()
            await client.remove("one")
            assert (await client.list()).pods == ()
            assert not is_there(row.journal)
    assert left_in(pods_environ) == NOTHING


async def test_the_first_state_a_spawner_sees_is_not_older_than_its_message(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", prompt=BUSY)
            assert pod.spawned is not None
            assert pod.spawned.pod.state == "working"
            assert pod.spawned.pod.turn == 1
            refused = await client.wait("one", timeout_seconds=0)
            assert refused.timed_out
    assert left_in(pods_environ) == NOTHING


async def _spawn_refused(
    client: aio.PodsClient, kind: type[PodsError], **request: Any
) -> PodsError:
    request.setdefault("name", "x")
    with pytest.raises(kind) as caught:
        await client.request(SpawnPod(**request))
    assert caught.value.message.startswith("cannot ")
    return caught.value


async def test_bad_requests_are_refused_with_a_reason_and_leave_nothing(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    def write(target: str) -> dict[str, object]:
        return {"allow": (ScopeRule(target=target, permission="write"),)}

    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            for name in ("", "a/b", "../x", "x" * 300, ".hidden"):
                await _spawn_refused(client, InvalidName, name=name)
            await _spawn_refused(client, AgentError, agent="no such form")
            await _spawn_refused(client, AgentError, agent="nobody_has_this_kind")
            await _spawn_refused(client, AgentError, agent="no_such_module:attribute")
            await _spawn_refused(client, InvalidParams, cwd="relative")
            await _spawn_refused(client, InvalidParams, cwd="/no/such/directory")
            await _spawn_refused(client, InvalidParams, cwd="/nul\0")
            await _spawn_refused(client, InvalidParams, env={"A=B": "c"})
            await _spawn_refused(client, InvalidParams, python="python3")
            await _spawn_refused(client, InvalidParams, limits=Limits(turn_seconds=-1))
            await _spawn_refused(client, InvalidParams, limits=Limits(open_files=0))
            await _spawn_refused(client, InvalidScope, **write("relative"))
            await _spawn_refused(client, InvalidScope, **write(""))
            await _spawn_refused(client, InvalidScope, **write(f"{short_dir}/missing"))
            await _spawn_refused(client, InvalidScope, **write(short_dir))  # holds our own places
            await _spawn_refused(client, InvalidScope, **write(supervisor.places.runtime))
            assert (await client.list()).pods == ()
            assert os.listdir(f"{pods_environ['PODS_STATE_DIR']}/pods") == []
            assert supervisor.registry.read().leases == {}
            assert supervisor.pods == {}
            with pytest.raises(InvalidParams):
                await client.stop("x", grace_seconds=-1)
            with pytest.raises(InvalidParams):
                await client.request(WaitPods(pods=("x",), timeout_seconds=-1.0))
    assert left_in(pods_environ) == NOTHING


async def test_a_prompt_over_the_line_cap_is_refused(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(TooLarge):
                await client.spawn("x", prompt="x" * (1024 * 1024 - 500))
            with pytest.raises(TooLarge):
                await client.spawn("x", prompt="x" * (2 * 1024 * 1024))


async def test_a_name_is_taken_until_its_pod_is_removed_or_replaced(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            first = await client.spawn("n")
            with pytest.raises(NameTaken, match="stop it first"):
                await client.spawn("n", replace=True)
            await client.stop("n")
            with pytest.raises(NameTaken, match="pods rm n"):
                await client.spawn("n")
            with pytest.raises(AgentError):
                await client.spawn("n", agent="no_such:thing", replace=True)
            assert first.spawned is not None
            (row,) = (await client.list()).pods
            assert row.id == first.spawned.pod.id
            second = await client.spawn("n", replace=True)
            assert second.spawned is not None
            assert second.spawned.pod.id != row.id
            found = await client.inspect("n")
            assert found.pod.id == second.spawned.pod.id


async def test_a_scope_that_is_held_is_refused_with_its_owner(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("holder", write=[f"{short_dir}/w"])
            checked = await client.check_scope(write=[f"{short_dir}/w"])
            assert not checked.granted
            assert checked.owner == "holder"
            with pytest.raises(ScopeConflict) as caught:
                await client.spawn("other", write=[f"{short_dir}/w"])
            assert caught.value.data["owner"] == "holder"
            (holder,) = await client.scopes()
            assert holder.pod == "holder"
            assert not holder.pending
            await client.stop("holder")
            assert (await client.check_scope(write=[f"{short_dir}/w"])).granted
            assert not (await client.check_scope(write=["/no/such"])).granted
            await client.spawn("other", write=[f"{short_dir}/w"])


async def test_unknown_pods_are_answered_with_what_could_be_meant(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(UnknownPod) as caught:
                await client.stop("worker")
            none = "cannot find pod 'worker': you have no pods; `pods spawn NAME` starts one"
            assert caught.value.message == none
            assert caught.value.data["known"] == []
            pod = await client.spawn("worker")
            with pytest.raises(UnknownPod, match=r"did you mean 'worker'.*`pods ls -a`") as caught:
                await client.stop("wroker")
            assert caught.value.data["known"] == ["worker"]
            assert pod.spawned is not None
            assert (await client.inspect(pod.spawned.pod.id[:6])).pod.name == "worker"
            with pytest.raises(UnknownPod):
                await client.inspect("x" * 400)
            with pytest.raises(PodRunning):
                await client.remove("worker")
            with pytest.raises(PodRunning):
                await client.request(RestorePod(pod="worker"))
            await client.stop("worker")
            with pytest.raises(PodEnded):
                await client.request(ConnectPod(pod="worker"))
            report = await client.prune(0.0)
            assert (report.would_remove, report.removed) == (("worker",), ())
            report = await client.prune(0.0, force=True)
            assert report.removed == ("worker",)


async def test_the_caps_tell_not_to_retry(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(
        pods_environ, config=Config(max_pods=3, max_children=1, max_depth=2)
    ) as (
        supervisor,
        client,
    ):
        with trio.fail_after(WAIT_SECONDS):
            parent = await client.spawn("parent")
            assert parent.spawned is not None
            async with aio.connect_socket(
                supervisor.places.socket, parent.spawned.token
            ) as as_parent:
                child = await as_parent.spawn("child")
                assert child.spawned is not None
                assert (child.spawned.pod.parent, child.spawned.pod.depth) == ("parent", 2)
                with pytest.raises(CapacityReached, match=r"children.*do not retry"):
                    await as_parent.spawn("second")
                async with aio.connect_socket(
                    supervisor.places.socket, child.spawned.token
                ) as as_child:
                    with pytest.raises(CapacityReached, match=r"depth.*do not retry"):
                        await as_child.spawn("grandchild")
            await client.spawn("third")
            with pytest.raises(CapacityReached, match=r"pods.*do not retry"):
                await client.spawn("fourth")
    assert left_in(pods_environ) == NOTHING


async def test_a_message_id_has_one_effect_also_at_once(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        request = SpawnPod(name="n", prompt="echo hi", message_id="once")
        answers: list[str] = []

        async def ask() -> None:
            answer = await client.request(request)
            assert answer.message is not None
            answers.append(answer.pod.id + answer.token + answer.message.message_id)

        with trio.fail_after(WAIT_SECONDS):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask)
            await ask()
            assert len(answers) == 4
            assert len(set(answers)) == 1
            assert len((await client.list()).pods) == 1


async def test_many_pods_are_spawned_at_once(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            async with trio.open_nursery() as nursery:
                for number in range(12):
                    nursery.start_soon(_spawn_echo, client, f"p{number}")
            assert len((await client.list()).pods) == 12
    assert left_in(pods_environ) == NOTHING


async def _spawn_echo(client: aio.PodsClient, name: str) -> None:
    await client.spawn(name, agent="echo", prompt="hi")


async def test_an_agent_that_fails_to_start_says_why(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(StartFailed, match="did not come up"):
                await client.spawn("x", python="/bin/false")
            assert (await client.list()).pods == ()
    assert left_in(pods_environ) == NOTHING


async def test_doctor_finds_a_healthy_supervisor_healthy(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one")
            report = await client.doctor()
            assert report.problems == ()
            assert report.scopes == 1
            assert report.pods == {"idle": 1} or report.pods == {"starting": 1}
            assert report.supervisor.launcher_pid == supervisor.launcher.pid
            os.mkdir(f"{supervisor.places.runtime}/stale")
            os.chmod(supervisor.places.state, 0o755)
            codes = {problem.code for problem in (await client.doctor()).problems}
            assert codes == {"stale_runtime_directory", "unsafe_directory"}
            os.chmod(supervisor.places.state, 0o700)


def test_the_methods_are_those_of_the_protocol() -> None:
    assert {*HANDLERS, "hello"} == set(SUPERVISOR_API.methods)


async def test_no_token_is_in_a_repr_or_in_the_journal(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", env={"SECRET": "swordfish"})
            live = _only(supervisor)
            assert live.token not in repr(live)
            written = repr(list(iterate(supervisor.journal.directory)))
            for secret in (live.token, supervisor.token, "swordfish"):
                assert secret not in written


def _only(supervisor: Supervisor) -> LivePod:
    (live,) = supervisor.pods.values()
    return live


async def test_a_persons_pod_may_read_where_it_works_unless_reading_was_spoken_of(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    os.mkdir(f"{short_dir}/w/in")
    inside = ScopeRule(target=f"{short_dir}/w/in", permission="read")
    async with supervisor_and_client(pods_environ) as (_, client):
        silent = await client.request(SpawnPod(name="a", agent="echo", cwd=f"{short_dir}/w"))
        asked = await client.request(
            SpawnPod(name="b", agent="echo", cwd=f"{short_dir}/w", allow=(inside,))
        )
        root = await client.request(SpawnPod(name="c", agent="echo", cwd="/"))
    assert silent.pod.scope.allow == (ScopeRule(target=f"{short_dir}/w", permission="read"),)
    assert asked.pod.scope.allow == (inside,)
    assert root.pod.scope.allow == ()
