"""A keeper ends its pod whole, whatever the pod does against it, and touches nobody else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from pods.keeper.record import read_record
from pods.keeper.tree import children_of
from pods_protocol.process_messages import GetKeeperStatus, PodSpec, SignalTree
from process_support import (
    BlockingClient,
    RunningLauncher,
    alive,
    ask_pod,
    ended,
    state_of,
    wait_for,
)

CAN_UNSHARE = shutil.which("unshare") is not None and (
    subprocess.run(
        ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "true"],
        capture_output=True,
        check=False,
    ).returncode
    == 0
)


def noted_pid(spec: PodSpec, name: str) -> int:
    path = f"{spec.state_directory}/{name}"
    wait_for(lambda: os.path.exists(path), f"{name} did not come up")
    with open(path) as file:
        return int(file.read())


def test_what_a_pod_leaves_behind_is_gone_when_its_end_is_told(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("leave_daemon")
    launcher.launch(client, spec)
    assert ended(client, spec).status == 0
    assert not alive(noted_pid(spec, "daemon"))
    record = read_record(spec.state_directory)
    assert record is not None
    assert (record.status, record.survivors_killed) == (0, 1)


def test_kill_ends_a_pod_that_ignores_everything_and_its_daemons(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec, bystander = launcher.spec("serve_with_daemon"), launcher.spec()
    launcher.launch(client, spec)
    launcher.launch(client, bystander)
    daemon = noted_pid(spec, "daemon")
    with launcher.connect_keeper(spec) as keeper:
        assert keeper.ask(SignalTree(signal="kill")).signalled >= 2
        keeper.wait_end()
    assert not alive(daemon)
    record = read_record(spec.state_directory)
    assert record is not None
    # The daemon, and at times the process between it and the pod, which ends by itself as well.
    assert record.status == -signal.SIGKILL
    assert record.survivors_killed in {1, 2}
    assert ask_pod(bystander)["pid"]


def test_terminate_reaches_every_level_of_the_tree(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("tree")
    launcher.launch(client, spec)
    deepest = noted_pid(spec, "level2")
    with launcher.connect_keeper(spec) as keeper:
        assert keeper.ask(GetKeeperStatus()).processes == 4
        assert keeper.ask(SignalTree(signal="terminate")).signalled == 4
        keeper.wait_end()
    assert not alive(deepest)
    record = read_record(spec.state_directory)
    assert record is not None
    assert record.status == -signal.SIGTERM


def test_a_pod_that_ignores_terminate_lives_until_kill(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("ignore")
    launcher.launch(client, spec)
    pod = ask_pod(spec)["pid"]
    with launcher.connect_keeper(spec) as keeper:
        assert keeper.ask(SignalTree(signal="terminate")).signalled == 1
        assert ask_pod(spec)["pid"] == pod
        keeper.ask(SignalTree(signal="kill"))
        keeper.wait_end()
    assert not alive(pod)


def test_pause_stops_the_whole_tree_and_resume_lets_it_go_on(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("tree")
    launcher.launch(client, spec)
    pids = [ask_pod(spec)["pid"], *(noted_pid(spec, f"level{level}") for level in range(3))]
    with launcher.connect_keeper(spec) as keeper:
        assert keeper.ask(SignalTree(signal="pause")).signalled == 4
        wait_for(lambda: {state_of(pid) for pid in pids} == {"T"}, "not all are stopped")
        assert keeper.ask(GetKeeperStatus()).processes == 4
        assert keeper.ask(SignalTree(signal="resume")).signalled == 4
        wait_for(lambda: "T" not in {state_of(pid) for pid in pids}, "some are stopped")
    assert ask_pod(spec)["pid"]


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_stopped_pod_can_be_ended(
    launcher: RunningLauncher, client: BlockingClient, how: str
) -> None:
    spec = launcher.spec()
    launcher.launch(client, spec)
    pod = ask_pod(spec)["pid"]
    os.kill(pod, signal.SIGSTOP)
    wait_for(lambda: state_of(pod) == "T", "it does not stop")
    with launcher.connect_keeper(spec) as keeper:
        keeper.ask(SignalTree(signal="kill" if how == "kill" else "terminate"))
        keeper.wait_end()
    assert not alive(pod)


def test_sigterm_to_a_keeper_asks_its_pod_and_the_second_makes_it(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("ignore")
    keeper = launcher.launch(client, spec).keeper
    pod = ask_pod(spec)["pid"]
    with launcher.connect_keeper(spec) as connection:
        os.kill(keeper.pid, signal.SIGTERM)
        assert connection.ask(GetKeeperStatus()).processes == 1
        os.kill(keeper.pid, signal.SIGTERM)
        connection.wait_end()
    assert not alive(pod)
    assert ended(client, spec).status == 0


def test_a_crowd_of_two_hundred_is_killed_and_counted(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("crowd", options={"size": 200})
    launcher.launch(client, spec)
    ask_pod(spec)
    with launcher.connect_keeper(spec) as keeper:
        assert keeper.ask(GetKeeperStatus()).processes == 201
        keeper.ask(SignalTree(signal="kill"))
        keeper.wait_end()
    record = read_record(spec.state_directory)
    assert record is not None
    assert record.survivors_killed == 200
    ended(client, spec)
    assert children_of(launcher.pid) == []


@pytest.mark.slow
@pytest.mark.skipif(not CAN_UNSHARE, reason="needs a PID namespace: a hydra may not get loose")
@pytest.mark.parametrize("how", ["kill", "kill_keeper", "pod_death"])
def test_a_hydra_leaves_no_survivor(pods_environ: dict[str, str], how: str) -> None:
    """Heads that fork, setsid and exit as fast as they can; three rounds, nothing may be left."""
    script = os.path.join(os.path.dirname(__file__), "hydra_rounds.py")
    unshare = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
    environ = {**pods_environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [*unshare, sys.executable, "-P", script, how, "3"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 left after 3 rounds", done.stdout
