"""What a launcher does for pods: fork, reap, clear, tell."""

from __future__ import annotations

import ctypes
import os
import signal
import socket

import pytest

from pods.keeper.record import read_record
from pods.keeper.tree import children_of
from pods_protocol.errors import InvalidRequest, PathTooLong, PodRunning, StartFailed
from pods_protocol.pod_messages import Ping
from pods_protocol.process_messages import (
    GetKeeperStatus,
    KillKeeper,
    ListKeepers,
    ShutdownLauncher,
    SignalTree,
)
from process_support import (
    WAIT_SECONDS,
    BlockingClient,
    RunningLauncher,
    alive,
    ask_pod,
    descriptors_of,
    ended,
    running_launcher,
    wait_for,
)

PTRACE_SEIZE = 0x4206


def test_both_sockets_accept_as_soon_as_the_launch_is_answered(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    keeper = launcher.launch(client, spec).keeper
    for path in (spec.pod_socket, spec.keeper_socket):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(path)
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert client.ask(ListKeepers()).keepers == {spec.id: keeper.pid}


def test_a_keeper_that_is_killed_takes_its_pod_and_all_below_it_along(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("serve_with_daemon")
    keeper = launcher.launch(client, spec).keeper
    pod = ask_pod(spec)["pid"]
    daemon_file = f"{spec.state_directory}/daemon"
    wait_for(lambda: os.path.exists(daemon_file), "no daemon came up")
    with open(daemon_file) as file:
        daemon = int(file.read())
    os.kill(keeper.pid, signal.SIGKILL)
    end = ended(client, spec)
    assert (end.pid, end.status) == (keeper.pid, -signal.SIGKILL)
    assert end.strays_killed >= 1
    assert not alive(pod)
    assert not alive(daemon)
    assert not os.path.exists(spec.pod_socket)
    assert not os.path.exists(spec.keeper_socket)
    assert read_record(spec.state_directory) is None


def test_a_keeper_is_listed_until_nothing_of_its_pod_is_left(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("serve_with_daemon")
    keeper = launcher.launch(client, spec).keeper
    daemon_file = f"{spec.state_directory}/daemon"
    wait_for(lambda: os.path.exists(daemon_file), "no daemon came up")
    with open(daemon_file) as file:
        daemon = int(file.read())
    # Nobody but its tracer can reap it, as if it waited for a device.
    if ctypes.CDLL(None).ptrace(PTRACE_SEIZE, daemon, None, None) != 0:
        pytest.skip("this system lets us trace nobody")
    try:
        os.kill(keeper.pid, signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{keeper.pid}"), "the keeper is not reaped")
        assert client.ask(ListKeepers()).keepers == {spec.id: keeper.pid}
        client.ask(KillKeeper(pid=keeper.pid))
    finally:
        os.kill(daemon, signal.SIGKILL)
        os.waitpid(daemon, 0)
    ended(client, spec)
    assert client.ask(ListKeepers()).keepers == {}


def test_kill_keeper_ends_the_keeper_and_its_pod(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec, bystander = launcher.spec("ignore"), launcher.spec()
    keeper = launcher.launch(client, spec).keeper
    other = launcher.launch(client, bystander).keeper
    pod = ask_pod(spec)["pid"]
    client.ask(KillKeeper(pid=keeper.pid))
    assert ended(client, spec).status == -signal.SIGKILL
    assert not alive(pod)
    assert client.ask(ListKeepers()).keepers == {bystander.id: other.pid}
    assert ask_pod(bystander)["pid"]


@pytest.mark.parametrize("whose", ["init", "launcher", "pod"])
def test_kill_keeper_refuses_what_is_no_keeper(
    launcher: RunningLauncher, client: BlockingClient, whose: str
) -> None:
    spec = launcher.spec()
    launcher.launch(client, spec)
    pid = {"init": 1, "launcher": launcher.pid, "pod": ask_pod(spec)["pid"]}[whose]
    with pytest.raises(InvalidRequest, match="no living keeper"):
        client.ask(KillKeeper(pid=pid))
    assert ask_pod(spec)["pid"]


def test_a_pod_id_is_launched_once_while_its_keeper_lives(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    keeper = launcher.launch(client, spec).keeper
    with pytest.raises(InvalidRequest) as refused:
        launcher.launch(client, spec)
    assert refused.value.data["keeper"] == keeper.pid
    assert ask_pod(spec)["pid"]


def test_an_id_can_be_launched_again_when_its_keeper_has_ended(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("exit", options={"code": 0})
    launcher.launch(client, spec)
    ended(client, spec)
    launcher.launch(client, spec)
    assert ended(client, spec).status == 0


def test_a_socket_path_over_the_kernels_bound_is_refused_before_anything_is_made(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    directory = f"{launcher.places.runtime}/{'x' * 100}"
    spec = launcher.spec(
        runtime_directory=directory,
        pod_socket=f"{directory}/pod.sock",
        keeper_socket=f"{directory}/keeper.sock",
    )
    with pytest.raises(PathTooLong):
        launcher.launch(client, spec)
    assert not os.path.exists(directory)


def test_what_listens_at_a_pods_place_already_is_left_alone(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    os.mkdir(spec.runtime_directory, 0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(spec.keeper_socket)
        with pytest.raises(StartFailed, match="cannot listen"):
            launcher.launch(client, spec)
    assert os.path.exists(spec.keeper_socket)
    assert not os.path.exists(spec.pod_socket)


def test_a_refused_fork_is_an_answer_and_leaves_no_socket(pods_environ: dict[str, str]) -> None:
    refusing = running_launcher(pods_environ, PODS_TEST_FORK_REFUSALS="1")
    with refusing as running, running.connect() as client:
        spec = running.spec()
        with pytest.raises(StartFailed) as refused:
            running.launch(client, spec)
        assert refused.value.data["step"] == "fork"
        assert not os.path.exists(spec.pod_socket)
        assert not os.path.exists(spec.keeper_socket)
        running.launch(client, spec)
        assert ask_pod(spec)["pid"]


def test_a_supervisor_that_goes_leaves_launcher_keeper_and_pod_alive(
    launcher: RunningLauncher,
) -> None:
    spec = launcher.spec()
    with launcher.connect() as first:
        keeper = launcher.launch(first, spec).keeper
        pod = ask_pod(spec)["pid"]
    with launcher.connect() as second:
        assert second.ask(ListKeepers()).keepers == {spec.id: keeper.pid}
    assert ask_pod(spec)["pid"] == pod


def test_a_supervisor_that_comes_later_is_told_of_the_ends_it_missed(
    launcher: RunningLauncher,
) -> None:
    spec = launcher.spec("exit", options={"code": 3})
    with launcher.connect() as first:
        keeper = launcher.launch(first, spec).keeper
    wait_for(lambda: not alive(keeper.pid), "the keeper does not end")
    with launcher.connect() as second:
        end = ended(second, spec)
    assert (end.pid, end.status, end.strays_killed) == (keeper.pid, 0, 0)


def test_the_launcher_does_not_end_while_keepers_live(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    launcher.launch(client, spec)
    with pytest.raises(PodRunning):
        client.ask(ShutdownLauncher())
    assert ask_pod(spec)["pid"]


def test_a_hundred_launches_leave_no_descriptor_no_zombie_and_no_process(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    before = descriptors_of(launcher.pid).keys()
    for _ in range(100):
        spec = launcher.spec("exit", options={"code": 0})
        launcher.launch(client, spec)
        assert ended(client, spec).status == 0
    assert descriptors_of(launcher.pid).keys() == before
    assert children_of(launcher.pid) == []


def test_twenty_pods_at_once_all_answer_and_are_all_told_of(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    specs = [launcher.spec() for _ in range(20)]
    for spec in specs:
        launcher.launch(client, spec)
    assert len({ask_pod(spec)["pid"] for spec in specs}) == 20
    for spec in specs:
        with launcher.connect_keeper(spec) as keeper:
            keeper.ask(SignalTree(signal="kill"))
    untold = {spec.id for spec in specs}
    while untold:
        untold.discard(client.wait_notification().id)
    assert client.ask(ListKeepers()).keepers == {}


def test_sigterm_waits_for_the_last_keeper(pods_environ: dict[str, str]) -> None:
    with running_launcher(pods_environ) as running, running.connect() as client:
        spec = running.spec()
        running.launch(client, spec)
        os.kill(running.pid, signal.SIGTERM)
        os.kill(running.pid, signal.SIGINT)
        assert client.ask(Ping()) is not None
        with pytest.raises(StartFailed, match="is ending"):
            running.launch(client, running.spec())
        with running.connect_keeper(spec) as keeper:
            assert keeper.ask(GetKeeperStatus()).processes == 1
            keeper.ask(SignalTree(signal="kill"))
        client.wait_end()
        assert running.process.wait(WAIT_SECONDS) == 0
        assert not os.path.exists(running.places.launcher_socket)


def test_a_launcher_that_nobody_needs_ends_by_itself(pods_environ: dict[str, str]) -> None:
    with running_launcher(pods_environ, PODS_TEST_IDLE_SECONDS="0.05") as running:
        assert running.process.wait(WAIT_SECONDS) == 0
        assert not os.path.exists(running.places.launcher_socket)


def test_a_socket_left_by_a_killed_launcher_is_taken_over_and_a_living_one_is_not(
    pods_environ: dict[str, str],
) -> None:
    with running_launcher(pods_environ) as first:
        first.process.kill()
        first.process.wait()
        assert os.path.exists(first.places.launcher_socket)
        with running_launcher(pods_environ) as second:
            with pytest.raises(AssertionError, match="one listens at"):
                RunningLauncher(pods_environ)
            with second.connect() as client:
                client.ask(Ping())


def test_keeper_and_pod_outlive_a_launcher_that_is_killed(pods_environ: dict[str, str]) -> None:
    with running_launcher(pods_environ) as running:
        spec = running.spec()
        with running.connect() as client:
            keeper = running.launch(client, spec).keeper
        pod = ask_pod(spec)["pid"]
        running.process.kill()
        running.process.wait()
        assert ask_pod(spec)["pid"] == pod
        with running.connect_keeper(spec) as connection:
            connection.ask(SignalTree(signal="kill"))
            connection.wait_end()
        # The test process is a subreaper: the keeper became its child.
        assert os.waitpid(keeper.pid, 0) == (keeper.pid, 0)
    record = read_record(spec.state_directory)
    assert record is not None
    assert record.status == -signal.SIGKILL
