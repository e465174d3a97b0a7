"""A client that goes on with the next supervisor where one dies under a wait or a stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest
import trio
import trio.testing

from client_support import TOKEN, HangUp, Json, Peer, World, always, capacity, stop_result
from pods.client import aio, sync
from pods.scope.identity import identify
from pods.supervisor.processes import wait_process_gone
from pods_protocol.errors import ClientClosed, NotConnected
from pods_protocol.supervisor_messages import Doctor, ListPods
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, with_rooms

DONE: Json = {"ready": [], "pending": [], "timed_out": False}


def breaking(answer: Json, times: int) -> Callable[[Peer, Json], Json]:
    """An answer that is a broken connection so many times, and then comes."""
    left = [None] * times

    def give(_peer: Peer, _params: Json) -> Json:
        if left:
            left.pop()
            raise HangUp
        return answer

    return give


async def test_a_wait_is_asked_again_with_the_time_that_is_left(fake: World) -> None:
    fake.supervisor.answers["wait"] = breaking(DONE, 2)
    async with aio.connect() as client:
        assert not (await client.wait("api", timeout_seconds=60)).timed_out
    seconds = [asked["timeout_seconds"] for asked in fake.supervisor.params_of("wait")]
    assert 0 < seconds[2] < seconds[1] < seconds[0] <= 60
    assert len(fake.supervisor.params_of("hello")) == 3


async def test_a_stop_is_asked_again_under_one_id(fake: World) -> None:
    fake.supervisor.answers["stop"] = breaking(stop_result(), 1)
    async with aio.connect_socket(fake.supervisor.path, TOKEN) as client:
        assert (await client.stop("api")).state == "stopped"
        fake.supervisor.answers["stop"] = breaking(stop_result(), 1)
        await client.stop("api", message_id="mine")
    ids = [asked["message_id"] for asked in fake.supervisor.params_of("stop")]
    assert (ids[0], ids[2:]) == (ids[1], ["mine", "mine"])


async def test_several_waits_share_the_next_connection_and_so_does_what_comes_after(
    fake: World,
) -> None:
    def together(_peer: Peer, _params: Json) -> Json:
        fake.supervisor.answers["wait"] = always(DONE)
        raise HangUp

    fake.supervisor.answers["wait"] = together
    fake.supervisor.answers["list"] = always({"pods": [], "capacity": capacity(), "next": None})
    async with aio.connect() as client:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.wait, "api")
        await client.request(ListPods())
    assert len(fake.supervisor.params_of("hello")) == 2


async def test_any_other_request_is_still_sent_once(fake: World) -> None:
    fake.supervisor.answers["list"] = breaking({}, 1)
    async with aio.connect() as client:
        with pytest.raises(NotConnected):
            await client.request(ListPods())
    assert len(fake.supervisor.params_of("list")) == 1


async def test_a_request_after_a_break_goes_to_the_next_supervisor(fake: World) -> None:
    fake.supervisor.answers["list"] = breaking(
        {"pods": [], "capacity": capacity(), "next": None}, 1
    )
    async with aio.connect() as client:
        with pytest.raises(NotConnected):
            await client.request(ListPods())
        assert (await client.request(ListPods())).pods == ()
    assert len(fake.supervisor.params_of("hello")) == 2


async def test_a_client_that_ended_its_supervisor_looks_for_no_other(fake: World) -> None:
    fake.supervisor.answers["shutdown"] = always({"stopped": []})
    async with aio.connect() as client:
        await client.shutdown()
        fake.supervisor.hang_up()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NotConnected):
            await client.request(ListPods())
    assert len(fake.supervisor.params_of("hello")) == 1


async def test_where_nobody_is_there_a_request_after_a_break_says_so(fake: World) -> None:
    fake.supervisor.answers["list"] = breaking({}, 1)
    async with aio.connect(start=False) as client:
        with pytest.raises(NotConnected):
            await client.request(ListPods())
        os.unlink(fake.supervisor.path)
        with pytest.raises(NotConnected):
            await client.request(ListPods())


@pytest.mark.slow
async def test_a_turn_after_a_killed_supervisor_runs(pods_environ: dict[str, str]) -> None:
    environ = with_rooms(pods_environ)
    with trio.fail_after(3 * WAIT_SECONDS):
        async with aio.connect(environ=environ) as client:
            pod = await client.spawn("p")
            assert (await pod.turn("echo one")).text == "one\n"
            killed = identify((await client.doctor()).supervisor.pid)
            await _kill_supervisor(environ)
            await wait_process_gone(killed)
            await trio.testing.wait_all_tasks_blocked()  # the client has seen its connection end
            assert (await pod.turn("echo two")).text == "two\n"
            supervisor = (await client.doctor()).supervisor
            assert supervisor.launcher_pid is not None
            last = [identify(supervisor.pid), identify(supervisor.launcher_pid)]
            await client.shutdown(stop_pods=True)
        for process in last:
            await wait_process_gone(process)
    assert left_in(pods_environ) == NOTHING


async def test_a_supervisor_that_hangs_up_again_and_again_is_given_up(fake: World) -> None:
    fake.supervisor.answers["wait"] = breaking(DONE, 100)
    async with aio.connect() as client:
        with pytest.raises(NotConnected):
            await client.wait("api")
    assert len(fake.supervisor.params_of("wait")) == 4


async def test_what_the_supervisor_could_not_reach_is_not_asked_again(fake: World) -> None:
    fake.supervisor.answers["wait"] = always(NotConnected("cannot reach it; ask again", peer="x"))
    async with aio.connect() as client:
        with pytest.raises(NotConnected, match="reach"):
            await client.wait("api")
    assert len(fake.supervisor.params_of("wait")) == 1


async def test_a_client_that_starts_nothing_says_that_nobody_is_there(fake: World) -> None:
    def gone(_peer: Peer, _params: Json) -> Json:
        os.unlink(fake.supervisor.path)
        raise HangUp

    fake.supervisor.answers["wait"] = gone
    async with aio.connect(start=False) as client:
        with pytest.raises(NotConnected):
            await client.wait("api")


async def test_a_wait_ends_with_its_client_where_the_connection_breaks(fake: World) -> None:
    waits = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def stay(_peer: Peer, _params: Json) -> Json:
        token.run_sync_soon(waits.set)
        return DONE if done.wait(WAIT_SECONDS) else {}

    done = threading.Event()
    fake.supervisor.answers["wait"] = stay
    with pytest.RaisesGroup(ClientClosed), trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            async with aio.connect() as client:
                nursery.start_soon(client.wait, "api")
                await waits.wait()
            done.set()


@pytest.mark.slow
async def test_a_wait_and_a_stop_outlive_a_killed_supervisor(pods_environ: dict[str, str]) -> None:
    environ = with_rooms(pods_environ)
    with trio.fail_after(3 * WAIT_SECONDS):
        async with aio.connect(environ=environ) as client:
            await client.spawn("p", prompt="exec sleep 1000")
            said: list[object] = []

            async def wait() -> None:
                answer = await client.wait("p", until="ended")
                said.extend(outcome.state for outcome in answer.ready)

            async def stop() -> None:
                async with aio.connect(environ=environ) as other:
                    said.append((await other.stop("p")).previous_state)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                await _kill_supervisor(environ)
                nursery.start_soon(stop)
                await trio.testing.wait_all_tasks_blocked()
                await _kill_supervisor(environ)
            assert "stopped" in said
            assert len(said) == 2
        async with aio.connect(environ=environ) as client:
            supervisor = (await client.doctor()).supervisor
            assert supervisor.launcher_pid is not None
            last = [identify(supervisor.pid), identify(supervisor.launcher_pid)]
            await client.shutdown(stop_pods=True)
        for process in last:
            await wait_process_gone(process)
    assert left_in(pods_environ) == NOTHING


async def _kill_supervisor(environ: dict[str, str]) -> None:
    async with aio.connect(environ=environ) as client:
        os.kill((await client.request(Doctor())).supervisor.pid, signal.SIGKILL)


def test_the_blocking_client_goes_on_as_well(fake: World) -> None:
    fake.supervisor.answers["wait"] = breaking(DONE, 1)
    with sync.connect() as client:
        assert not client.wait("api").timed_out
