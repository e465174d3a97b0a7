"""Limits that a pod's own cgroup keeps; where groups are delegated to us, and skipped elsewhere.

`python tests/hostile/cgroup_guest.py` runs them in a machine where they are.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio

from cgroup_programs import AWAY, BOMB, HOG, LATE, MANY, MANY_SMALL, THREADS
from limit_support import MIB, assert_ended_by, end_of
from pods.client import aio
from pods.client.pod_handle import Pod
from pods.launcher.delegation import home_name
from pods.pod.cgroup import look
from pods.pod.cgroup_rules import task_ceiling
from pods.scope.landlock import abi_version
from pods.supervisor.checkup import Checkup
from pods_protocol.values import Limits, RestartPolicy
from process_support import wait_for
from supervisor_support import (
    NOTHING,
    client_of,
    daemon,
    is_there,
    left_in,
    places_of,
    supervisor_and_client,
    wait_process_ended,
    wait_text,
)

DELEGATED, WHY_NOT = look()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DELEGATED, reason=f"no cgroup v2 is delegated: {WHY_NOT}"),
]

PATIENCE = 60.0
"""Round every wait: the machines in which these tests run are slow ones."""

HALT = "kill -STOP $PPID; "


def group_of(pid: int) -> str:
    """The directory of the group that a process is in."""
    return f"/sys/fs/cgroup{Path(f'/proc/{pid}/cgroup').read_text().strip().removeprefix('0::')}"


def homes() -> list[str]:
    """The groups of supervisors, and what is in them."""
    found = sorted(Path(DELEGATED).glob("pods-of-*")) + sorted(Path(DELEGATED).glob("pods-of-*/*/"))
    return [str(path) for path in found if path.is_dir()]


def is_empty(events: Path) -> bool:
    """Whether nothing lives in a group, as its `cgroup.events` says."""
    return "populated 0" in events.read_text()


def number_in(file: Path) -> int:
    """The number in a file; 0 where there is none."""
    return int(file.read_text()) if file.exists() else 0


def a_mode_keeps_out(directory: Path) -> bool:
    """Whether this process may not read a file whose mode says so; root mostly may."""
    closed = directory / "closed"
    closed.touch(mode=0)
    try:
        closed.read_bytes()
    except PermissionError:
        return True
    return False


async def pid_of(client: aio.PodsClient, name: str) -> int:
    pid = (await client.inspect(name)).pod.pid
    assert pid is not None
    return pid


async def group_name(client: aio.PodsClient, name: str) -> tuple[str, str]:
    """The name of the group that a pod's process is in, and the pod's id."""
    return os.path.basename(group_of(await pid_of(client, name))), (
        await client.inspect(name)
    ).pod.id


async def crossed_in(pod: Pod, message: str) -> str | None:
    """The limit that ends the pod's next turn."""
    await pod.turn(message)
    last = (await pod.inspect()).pod.last_turn
    assert last is not None
    assert last.stop_reason == ("end_turn" if last.limit is None else "limit")
    return last.limit


@pytest.mark.parametrize(
    ("prompt", "limits", "crossed"),
    [
        (HOG, Limits(memory_bytes=64 * MIB), "memory_bytes"),
        (f"{HOG}; echo killed: $?", Limits(memory_bytes=64 * MIB), "memory_bytes"),
        (MANY, Limits(memory_bytes=64 * MIB), "memory_bytes"),
        (MANY, Limits(processes=6), "processes"),
        (HALT + HOG, Limits(memory_bytes=64 * MIB), "memory_bytes"),
    ],
)
async def test_a_turn_over_its_limit_ends_as_limit_and_the_pod_goes_on_in_its_group(
    pods_environ: dict[str, str], prompt: str, limits: Limits, crossed: str
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn("one", prompt=prompt, limits=limits)
            group = group_of(await pid_of(client, "one"))
            assert os.path.basename(group) == (await pod.inspect()).pod.id
            end = await end_of(pod, "turn_ended")
            assert (end["stop_reason"], end.get("limit")) == ("limit", crossed)
            assert "over the limit" in end["message"]
            assert (await pod.turn("echo still here")).stop_reason == "end_turn"
            (held,) = (await pod.inspect()).held_limits
            assert held.how.startswith(f"cgroup: {'memory.high' if limits.memory_bytes else ''}")
            assert held.by == ("kernel" if limits.memory_bytes else "keeper")
    assert not is_there(group)
    assert left_in(pods_environ) == NOTHING
    assert homes() == []


async def test_threads_are_no_processes_and_a_burst_of_forks_gets_no_further_than_its_ceiling(
    pods_environ: dict[str, str], tmp_path: Path
) -> None:
    limits = Limits(processes=20)
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn("one", limits=limits, write=[tmp_path], cwd=tmp_path)
            assert await crossed_in(pod, THREADS) is None
            assert await crossed_in(pod, BOMB) == "processes"
            assert number_in(tmp_path / "made") < task_ceiling(20)
            assert (await pod.turn("echo still here")).stop_reason == "end_turn"
    assert homes() == []


@pytest.mark.parametrize(
    ("prompt", "limits", "crossed"),
    [
        (LATE.format(HOG.replace("'", "'\\''")), Limits(memory_bytes=64 * MIB), "memory_bytes"),
        (
            LATE.format("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait"),
            Limits(processes=5),
            "processes",
        ),
    ],
)
async def test_what_a_turn_leaves_running_ends_the_pod_where_it_crosses_a_limit(
    pods_environ: dict[str, str], prompt: str, limits: Limits, crossed: str
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn("one", prompt=prompt, limits=limits)
            assert (await end_of(pod, "turn_ended"))["stop_reason"] == "end_turn"
            await assert_ended_by(supervisor, pod, crossed)
            assert homes()[1:] == []
    assert left_in(pods_environ) == NOTHING


async def test_a_pod_that_is_too_large_itself_was_ended_by_its_limit_and_stays_ended(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn(
                "one",
                agent="supervisor_support:Hoarder",
                prompt=str(200 * MIB),
                limits=Limits(memory_bytes=64 * MIB),
                restart=RestartPolicy(when="on-failure"),
            )
            await assert_ended_by(supervisor, pod, "memory_bytes")
            end = await end_of(pod, "turn_ended")
            assert (end["stop_reason"], end["limit"]) == ("limit", "memory_bytes")
            seen = await client.inspect("one")
            assert seen.pod.exit is not None
            assert (seen.pod.exit.status, seen.pod.exit.limit) == (-signal.SIGKILL, "memory_bytes")
            assert seen.restarts.total == 0
            assert homes()[1:] == []


async def test_a_pod_that_does_nothing_about_what_was_stopped_is_ended_by_its_keeper(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(PATIENCE):
            limits = Limits(memory_bytes=64 * MIB)
            pod = await client.spawn(
                "one", agent="supervisor_support:Wedged", prompt=HOG, limits=limits
            )
            await assert_ended_by(supervisor, pod, "memory_bytes")
            end = await end_of(pod, "turn_ended")
            assert (end["stop_reason"], end["limit"]) == ("limit", "memory_bytes")
    assert left_in(pods_environ) == NOTHING
    assert homes() == []


async def test_every_way_to_start_a_pod_leads_into_its_group(
    pods_environ: dict[str, str], tmp_path: Path
) -> None:
    limits = Limits(memory_bytes=64 * MIB, processes=30)
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(PATIENCE):
            for name, python in (("first", None), ("spare", None), ("other", sys.executable)):
                pod = await client.spawn(name, limits=limits, python=python)
                group, pod_id = await group_name(client, name)
                assert group == pod_id
                shown = await pod.turn("cat /proc/self/cgroup")
                assert shown.text.strip().endswith(f"/{pod_id}"), name
                assert await crossed_in(pod, HOG) == "memory_bytes", name
            plain = await client.spawn("plain", limits=Limits(open_files=100))
            assert (await group_name(client, "plain"))[0] == "pods-own"
            (held,) = (await plain.inspect()).held_limits
            assert (held.by, held.how.split(":")[0]) == ("kernel", "rlimit")
            inside = await client.spawn("inside", limits=limits, write=[DELEGATED])
            assert (await group_name(client, "inside"))[0] == "pods-own"
            assert {one.how.split(":")[0] for one in (await inside.inspect()).held_limits} == {
                "polled"
            }, "who may write to its group is not kept by it"
            told = await client.doctor()
            assert told.cgroup == f"{DELEGATED}/{home_name(places_of(pods_environ, 'test'))}"
            assert (told.no_cgroup, told.problems) == ("", ())
    assert homes() == []


@pytest.mark.skipif(abi_version() < 1, reason="this kernel has no Landlock")
async def test_a_confined_pod_cannot_write_to_its_own_group_or_leave_it(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn("one", limits=Limits(memory_bytes=64 * MIB))
            group = group_of(await pid_of(client, "one"))
            pod_id = (await pod.inspect()).pod.id
            for line in (
                f"echo max > {group}/memory.max",
                f"echo $$ > {DELEGATED}/pods-own/cgroup.procs",
                f"mkdir {group}/below",
                f"echo 1 > {group}/cgroup.freeze",
                f"rmdir {group}",
                AWAY.format(DELEGATED),
            ):
                shown = await pod.turn(f"{line}; cat /proc/self/cgroup")
                assert "denied" in shown.text or "not permitted" in shown.text, line
                assert f"/{pod_id}" in shown.text
            assert number_in(Path(f"{group}/memory.max")) < 512 * MIB


@pytest.mark.parametrize(
    ("prompt", "limits", "crossed"),
    [
        (HOG, Limits(memory_bytes=64 * MIB), "memory_bytes"),
        (MANY, Limits(processes=6), "processes"),
    ],
)
async def test_a_pod_that_takes_the_rights_from_its_groups_files_is_held_all_the_same(
    pods_environ: dict[str, str], tmp_path: Path, prompt: str, limits: Limits, crossed: str
) -> None:
    if not a_mode_keeps_out(tmp_path):
        pytest.skip("no mode keeps this process out")
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn("one", limits=limits)
            group = group_of(await pid_of(client, "one"))
            assert (await pod.turn(f"chmod 0 {group}/*")).stop_reason == "end_turn"
            assert await crossed_in(pod, prompt) == crossed
            assert (await pod.turn("echo still here")).stop_reason == "end_turn"
    assert homes() == []


async def test_more_processes_are_counted_than_the_kernel_lists_at_once(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn("one", limits=Limits(processes=1000))
            assert await crossed_in(pod, MANY_SMALL) == "processes"


async def test_a_restarted_pod_has_its_group_anew(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn(
                "one",
                limits=Limits(memory_bytes=64 * MIB),
                restart=RestartPolicy(when="on-failure"),
            )
            before = await pid_of(client, "one")
            os.kill(before, signal.SIGKILL)
            assert (await pod.turn("echo up")).stop_reason == "end_turn"
            assert await pid_of(client, "one") != before
            group, pod_id = await group_name(client, "one")
            assert group == pod_id
            assert await crossed_in(pod, HOG) == "memory_bytes"
    assert homes() == []


async def test_the_group_of_a_killed_keeper_is_removed_by_the_launcher(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(PATIENCE):
            pod = await client.spawn("one", prompt="sleep 1000", limits=Limits(processes=9))
            keeper = (await client.inspect("one")).keeper_pid
            assert keeper is not None
            live = supervisor.pods[(await pod.inspect()).pod.id]
            os.kill(keeper, signal.SIGKILL)
            await live.ended.wait()
            assert homes()[1:] == []
    assert homes() == []


async def test_what_killed_keepers_and_launchers_leave_is_removed_by_the_next_launcher(
    pods_environ: dict[str, str],
) -> None:
    await _kill_them_all(pods_environ)
    assert len(homes()) == 2
    with trio.fail_after(PATIENCE):
        with daemon(pods_environ) as process:
            async with client_of(pods_environ) as client:
                await client.spawn("two", limits=Limits(processes=9))
                assert len(homes()) == 2
                await client.shutdown(stop_pods=True)
            await wait_process_ended(process)
    assert homes() == []


async def test_what_killed_keepers_and_launchers_leave_is_removed_by_the_doctor(
    pods_environ: dict[str, str],
) -> None:
    await _kill_them_all(pods_environ)
    started: list[str] = []
    places = places_of(pods_environ, "test").places
    with daemon(pods_environ) as process:  # it goes on with what the journal says lives
        async with client_of(pods_environ) as client:
            with trio.fail_after(PATIENCE):
                (Path(homes()[0]) / "0123456789ab").mkdir()
                found = [one.code for one in (await client.doctor()).problems]
                assert "stale_cgroup" in found
                mended = {one.code: one.fixed for one in (await client.doctor(fix=True)).problems}
                assert mended["stale_cgroup"]
                assert len(homes()) == 1
                launcher = (await client.doctor()).supervisor.launcher_pid
        process.kill()
    assert launcher is not None
    os.kill(launcher, signal.SIGKILL)
    (Path(homes()[0]) / "0123456789ab").mkdir()
    problems = Checkup(places, True, lambda one: started.append(one.name)).run()
    assert {one.code: one.fixed for one in problems}["stale_cgroup"]
    assert (homes(), started) == ([], [])


async def _kill_them_all(environ: dict[str, str]) -> None:
    """Have a pod whose supervisor, launcher and keeper are killed, so that its group stays."""
    with daemon(environ) as process:
        async with client_of(environ) as client:
            with trio.fail_after(PATIENCE):
                await client.spawn("one", prompt="echo up; sleep 1", limits=Limits(processes=9))
                await wait_text(client, "one", "up")
                keeper = (await client.inspect("one")).keeper_pid
                launcher = (await client.doctor()).supervisor.launcher_pid
                pid = await pid_of(client, "one")
                assert keeper is not None
                assert launcher is not None
                events = Path(f"{group_of(pid)}/cgroup.events")
                os.kill(process.pid, signal.SIGKILL)
                os.kill(launcher, signal.SIGKILL)
                os.kill(keeper, signal.SIGKILL)
                await trio.to_thread.run_sync(wait_for, lambda: is_empty(events), "all gone")
