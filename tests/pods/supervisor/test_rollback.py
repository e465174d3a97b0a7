"""A spawn that is cancelled, at whatever point, has never been."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest
import trio

from pods.lifecycle import Life
from pods.rpc.client import RpcClient, open_rpc
from pods.rpc.server import Session
from pods.supervisor.authority import Caller
from pods.supervisor.core import Supervisor
from pods.supervisor.launcher_link import Launched
from pods.supervisor.shutdown import stop_everything
from pods.supervisor.spawn import spawn
from pods.supervisor.stop import ask_stop
from pods_protocol.errors import NotConnected, PodEnded, StartFailed, StorageFailed
from pods_protocol.process_messages import PodSpec
from pods_protocol.supervisor_api import SUPERVISOR_API
from pods_protocol.supervisor_messages import ConnectPod, SpawnPod, SpawnPodResult
from pods_protocol.values import ScopeRule
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    left_in,
    refuse_events,
    supervisor_and_client,
)

# The owner, as a handler sees it; spawn asks nothing of the session.
OWNER = Caller(pod_id=None, session=cast("Session", None))

MOST_STEPS = 200
"""Far more than a spawn has; a spawn that never succeeds must fail the test, not hang it."""


class ActAtStep(trio.abc.Instrument):
    """Does something before the n-th step of one task."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        self.task = trio.lowlevel.current_task()
        self.left = step
        self.act = act

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count, and act when the count is down."""
        if task is self.task and self.left:
            self.left -= 1
            if not self.left:
                self.act()


def _request(directory: str) -> SpawnPod:
    rule = ScopeRule(target=f"{directory}/w", permission="write")
    return SpawnPod(name="x", agent="echo", prompt="hi", allow=(rule,))


async def _spawn_disturbed(
    supervisor: Supervisor, request: SpawnPod, step: int, act: Callable[[], object]
) -> tuple[SpawnPodResult, bool]:
    """The answer, and whether the disturbance came after it."""
    instrument = ActAtStep(step, act)
    trio.lowlevel.add_instrument(instrument)
    try:
        return await spawn(supervisor, OWNER, request), bool(instrument.left)
    finally:
        trio.lowlevel.remove_instrument(instrument)


async def _nothing_is_left(supervisor: Supervisor) -> None:
    assert len(supervisor.table) == 0
    assert supervisor.pods == {}
    assert supervisor.callers == {}
    assert supervisor.registry.read().leases == {}
    assert await supervisor.launcher.keepers() == {}
    with os.scandir(supervisor.places.runtime) as entries:
        # A spare pod goes through a start of its own, in a directory that it takes away.
        names = [entry.name for entry in entries if entry.is_dir()]
        assert [name for name in names if not name.startswith("spare-")] == []
    assert os.listdir(f"{supervisor.places.places.state}/pods") == []


@pytest.mark.slow
async def test_a_spawn_that_is_cancelled_at_any_checkpoint_leaves_nothing(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        for step in range(1, MOST_STEPS):
            with trio.fail_after(WAIT_SECONDS):
                with trio.CancelScope() as scope:
                    _, undisturbed = await _spawn_disturbed(
                        supervisor, _request(short_dir), step, scope.cancel
                    )
                    if undisturbed:
                        break
                    raise AssertionError(f"the cancellation at step {step} went unheard")
                assert scope.cancelled_caught
                await _nothing_is_left(supervisor)
        else:
            raise AssertionError("no spawn succeeded")
        assert step > 5, "a spawn waits more often than that"
    assert left_in(pods_environ) == NOTHING


@pytest.mark.slow
async def test_a_spawn_that_is_cancelled_while_others_start_is_whole_or_has_never_been(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    was_whole = False
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        for step in range(1, MOST_STEPS):
            other = supervisor.add_live("0" * 12, "other", "its token")
            other.spawning = trio.CancelScope()  # so that this one's record waits for its
            undisturbed = False
            with trio.fail_after(WAIT_SECONDS):
                with trio.CancelScope() as scope:
                    _, undisturbed = await _spawn_disturbed(
                        supervisor, _request(short_dir), step, scope.cancel
                    )
                supervisor.drop_live(other)
                if scope.cancelled_caught:
                    await _nothing_is_left(supervisor)
                    continue
                # Cancelled or not, it was on record by then.
                (record,) = supervisor.table
                assert record.life is Life.RUNNING
                await client.stop("x", mode="kill")
                await client.remove("x")
                if undisturbed:
                    break
                was_whole = True
        else:
            raise AssertionError("no spawn succeeded")
    assert was_whole, "nothing was written while it waited"
    assert left_in(pods_environ) == NOTHING


async def _stopped_at(
    supervisor: Supervisor, request: SpawnPod, step: int, stop: Callable[[], object]
) -> StartFailed | None:
    try:
        _, undisturbed = await _spawn_disturbed(supervisor, request, step, stop)
    except StartFailed as error:
        return error
    assert undisturbed, f"the stop at step {step} went unheard"
    return None


@pytest.mark.slow
async def test_a_pod_that_is_stopped_while_it_starts_leaves_nothing(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, _):

        def stop() -> None:
            for live in list(supervisor.pods.values()):
                ask_stop(supervisor, live, "now", 1.0)

        for step in range(2, MOST_STEPS):
            with trio.fail_after(WAIT_SECONDS):
                failed = await _stopped_at(supervisor, _request(short_dir), step, stop)
                if failed is None:
                    break
                assert failed.data["step"] == "stopped"
                await _nothing_is_left(supervisor)
        with trio.fail_after(WAIT_SECONDS):
            await stop_everything(supervisor, 1.0)
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_whose_record_cannot_be_written_is_rolled_back(
    pods_environ: dict[str, str], short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        refuse_events(monkeypatch, "pod_spawned".__eq__)
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(StorageFailed):
                await spawn(supervisor, OWNER, _request(short_dir))
            await _nothing_is_left(supervisor)
        monkeypatch.undo()
    assert left_in(pods_environ) == NOTHING


async def test_a_spawn_without_a_launcher_leaves_nothing(
    pods_environ: dict[str, str], short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, _):

        async def gone(*_: object) -> None:
            raise NotConnected("cannot reach the launcher: it is not there; try again")

        monkeypatch.setattr(supervisor.launcher, "launch", gone)
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(NotConnected):
                await spawn(supervisor, OWNER, _request(short_dir))
            await _nothing_is_left(supervisor)
        monkeypatch.undo()
    assert left_in(pods_environ) == NOTHING


async def test_a_client_that_leaves_before_the_answer_has_no_pod(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        with trio.fail_after(WAIT_SECONDS):
            async with (
                open_rpc(supervisor.places.socket, SUPERVISOR_API, token=supervisor.token) as rpc,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_ask_in_vain, rpc, _request(short_dir))
                while not supervisor.pods:
                    await trio.lowlevel.checkpoint()
                rpc.close()
            while supervisor.pods:
                await trio.lowlevel.checkpoint()
            await _nothing_is_left(supervisor)
    assert left_in(pods_environ) == NOTHING


async def _ask_in_vain(rpc: RpcClient, request: SpawnPod) -> None:
    with pytest.raises(NotConnected):
        await rpc.request(request)


@pytest.mark.parametrize("comes_up", [True, False])
async def test_nobody_is_shown_the_way_to_a_pod_before_its_spawn_is_done(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, comes_up: bool
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        launch, up, go_on = supervisor.launcher.launch, trio.Event(), trio.Event()

        async def held(spec: PodSpec) -> Launched:
            launched = await launch(spec)
            up.set()
            await go_on.wait()
            if comes_up:
                return launched
            raise NotConnected("cannot go on: the connection ended; connect again", peer="x")

        monkeypatch.setattr(supervisor.launcher, "launch", held)
        ways: list[str] = []

        async def connect() -> None:
            try:
                ways.append((await client.request(ConnectPod(pod="x"))).name)
            except PodEnded:
                ways.append("none")

        async def start() -> None:
            with suppress(NotConnected):
                await client.spawn("x")

        with trio.fail_after(WAIT_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(start)
                await up.wait()
                nursery.start_soon(connect)
                for _ in range(3):
                    await client.list()  # answered behind it
                assert ways == []
                go_on.set()
        assert ways == (["x"] if comes_up else ["none"])
    assert left_in(pods_environ) == NOTHING
