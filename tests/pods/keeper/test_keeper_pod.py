"""How a pod begins under its keeper, and what is recorded of how it ends."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from pods.keeper.pod_start import EXIT_BUG, EXIT_CANNOT_START, OOM_SCORE
from pods.keeper.record import read_record
from pods.keeper.tree import children_of
from pods.scope.identity import identify
from pods_protocol.errors import NotAuthorized
from pods_protocol.process_messages import GetKeeperStatus
from pods_protocol.values import Limits
from process_support import (
    BlockingClient,
    RunningLauncher,
    alive,
    ask_pod,
    descriptors_of,
    ended,
    state_of,
    wait_for,
)


def stderr_of(spec_directory: str) -> str:
    with open(f"{spec_directory}/stderr.log") as file:
        return file.read()


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_recorded(
    launcher: RunningLauncher, client: BlockingClient, code: int
) -> None:
    spec = launcher.spec("exit", options={"code": code})
    launcher.launch(client, spec)
    assert ended(client, spec).status == 0
    record = read_record(spec.state_directory)
    assert record is not None
    assert (record.status, record.reason, record.survivors_killed) == (code, "exited", 0)
    assert record.time > 1_600_000_000
    assert os.stat(f"{spec.state_directory}/exit.json").st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_signal_that_ended_the_pod_is_recorded(
    launcher: RunningLauncher, client: BlockingClient, number: int
) -> None:
    spec = launcher.spec("die", options={"signal": number})
    launcher.launch(client, spec)
    assert ended(client, spec).status == 0
    record = read_record(spec.state_directory)
    assert record is not None
    assert (record.status, record.reason) == (-number, "signalled")


def test_an_exception_of_the_pod_is_a_traceback_in_its_log_and_an_exit_code(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("raise")
    launcher.launch(client, spec)
    ended(client, spec)
    record = read_record(spec.state_directory)
    assert record is not None
    assert record.status == EXIT_BUG
    assert "this pod was told to fail" in stderr_of(spec.state_directory)


def test_both_sockets_are_gone_when_the_end_is_told(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("exit", options={"code": 0})
    launcher.launch(client, spec)
    ended(client, spec)
    assert not os.path.exists(spec.pod_socket)
    assert not os.path.exists(spec.keeper_socket)


def test_the_keepers_end_of_file_comes_after_the_record(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    launcher.launch(client, spec)
    with launcher.connect_keeper(spec) as keeper:
        os.kill(ask_pod(spec)["pid"], signal.SIGKILL)
        keeper.wait_end()
    record = read_record(spec.state_directory)
    assert record is not None
    assert record.status == -signal.SIGKILL


def test_a_pod_holds_its_own_socket_and_the_standard_streams_and_nothing_else(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    first, second = launcher.spec(), launcher.spec()
    launcher.launch(client, first)
    with launcher.connect_keeper(first):
        launcher.launch(client, second)
        descriptors = descriptors_of(ask_pod(second)["pid"])
    log = f"{second.state_directory}/stderr.log"
    assert (descriptors.pop(0), descriptors.pop(1), descriptors.pop(2)) == (os.devnull, log, log)
    sockets = [what for what in descriptors.values() if what.startswith("socket:")]
    # Its listener; and the connection of `ask_pod`, if it is not closed yet.
    assert len(sockets) == len(descriptors) <= 2


def test_a_keeper_holds_no_descriptor_of_the_launcher_or_its_pod(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec()
    keeper = launcher.launch(client, spec).keeper
    pod_sockets = set(descriptors_of(ask_pod(spec)["pid"]).values())
    with launcher.connect_keeper(spec) as connection:
        connection.ask(GetKeeperStatus())
        held = descriptors_of(keeper.pid)
        launchers = set(descriptors_of(launcher.pid).values())
    sockets = {what for what in held.values() if what.startswith("socket:")}
    assert not sockets & launchers
    assert not sockets & pod_sockets
    assert len(held) == 3 + 1 + 2 + 1  # standard, listener, wakeup, connection


def test_a_pod_begins_clean(launcher: RunningLauncher, client: BlockingClient) -> None:
    spec = launcher.spec(
        cwd="/usr", env={"COLOUR": "green", "TERM": "dumb"}, limits=Limits(open_files=77)
    )
    launcher.launch(client, spec)
    told = ask_pod(spec)
    environ = told["environ"]
    assert told["sid"] == told["pid"]
    assert (told["cwd"], told["umask"], told["gc"]) == ("/usr", 0o077, True)
    assert (told["nofile"], told["core"]) == ([77, 77], [0, 0])
    assert (told["blocked"], told["sigint"]) == ([], True)
    assert environ["COLOUR"] == "green"
    assert environ["TERM"] == "dumb"
    assert (environ["PODS_NAME"], environ["PODS_ID"]) == (spec.name, spec.id)
    assert environ["TMPDIR"] == f"{spec.runtime_directory}/tmp"
    assert os.stat(environ["TMPDIR"]).st_mode & 0o777 == 0o700
    assert "PODS_TEST_SECRET" not in environ
    assert spec.token not in environ.values()


def test_a_working_directory_that_is_not_there_is_a_line_in_the_log(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec(cwd="/nowhere/at/all")
    launcher.launch(client, spec)
    ended(client, spec)
    record = read_record(spec.state_directory)
    assert record is not None
    assert record.status == EXIT_CANNOT_START
    assert "cannot start pod" in stderr_of(spec.state_directory)
    assert "/nowhere/at/all" in stderr_of(spec.state_directory)


def test_an_interpreter_that_is_not_there_is_a_line_in_the_log(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec(python="/nowhere/python")
    launcher.launch(client, spec)
    ended(client, spec)
    record = read_record(spec.state_directory)
    assert record is not None
    assert record.status == EXIT_CANNOT_START
    assert "/nowhere/python: No such file" in stderr_of(spec.state_directory)


FAKE_PYTHON = """#!{python} -IS
import json, os, socket, sys
if __name__ == "__main__":
    assert sys.argv[1:4] == ["-P", "-m", "pods.pod"], sys.argv
    with open(int(sys.argv[4]), "rb") as handover:
        told = json.loads(handover.readline())
    listener = socket.socket(fileno=told["listener_fd"])
    answer = {{
        "pid": os.getpid(),
        "argv": sys.argv,
        "environ": dict(os.environ),
        "token": told["spec"]["token"],
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "listener_fd": told["listener_fd"],
    }}
    while True:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(json.dumps(answer).encode() + b"\\n")
"""


def test_another_interpreter_gets_its_spec_by_descriptor_and_its_token_nowhere_else(
    launcher: RunningLauncher, client: BlockingClient, short_dir: str
) -> None:
    program = f"{short_dir}/python"
    with open(program, "w") as file:
        file.write(FAKE_PYTHON.format(python=sys.executable))
    os.chmod(program, 0o755)
    spec = launcher.spec(python=program)
    keeper = launcher.launch(client, spec).keeper
    told = ask_pod(spec)
    assert told["token"] == spec.token
    assert children_of(keeper.pid) == [told["pid"]]
    with open(f"/proc/{told['pid']}/cmdline") as file:
        assert spec.token not in file.read()
    assert spec.token not in str(told["environ"])
    # Standard streams, the listener, and the listing's own; the handover is closed.
    assert len(set(told["descriptors"]) - {0, 1, 2, told["listener_fd"]}) <= 1
    os.kill(keeper.pid, signal.SIGKILL)
    ended(client, spec)
    assert not alive(told["pid"])


def test_the_keeper_says_who_it_keeps(launcher: RunningLauncher, client: BlockingClient) -> None:
    spec = launcher.spec("serve_with_daemon")
    result = launcher.launch(client, spec)
    pod = ask_pod(spec)["pid"]
    with launcher.connect_keeper(spec) as keeper:
        assert (keeper.hello.server, keeper.hello.id, keeper.hello.name) == (
            "keeper", spec.id, spec.name,
        )  # fmt: skip
        status = keeper.ask(GetKeeperStatus())
        assert status.keeper == result.keeper == identify(keeper.hello.pid)
        assert status.pod == identify(pod)
        assert status.exit is None
        assert status.processes >= 1


@pytest.mark.parametrize("token", ["", "wrong", "the-token-of-the-pod"])
def test_a_keeper_obeys_the_supervisors_token_alone(
    launcher: RunningLauncher, client: BlockingClient, token: str
) -> None:
    spec = launcher.spec()
    launcher.launch(client, spec)
    with pytest.raises(NotAuthorized):
        launcher.connect_keeper(spec, token)
    assert ask_pod(spec)["pid"]


def test_a_keeper_and_its_pod_sleep(launcher: RunningLauncher, client: BlockingClient) -> None:
    spec = launcher.spec()
    keeper = launcher.launch(client, spec).keeper
    pod = ask_pod(spec)["pid"]
    with launcher.connect_keeper(spec) as connection:
        connection.ask(GetKeeperStatus())
        held = len(descriptors_of(keeper.pid))
    wait_for(lambda: len(descriptors_of(keeper.pid)) < held, "the connection is kept")

    def sleeps() -> int:
        """How often it has gone to sleep; that others had the processor in between is no waking."""
        with open(f"/proc/{keeper.pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["voluntary_ctxt_switches"])

    wait_for(lambda: state_of(pod) == "S", "the pod does not sleep")
    wait_for(lambda: state_of(keeper.pid) == "S", "the keeper does not sleep")
    before = sleeps()
    # Another whole pod begins and ends meanwhile: a keeper that polled would have been woken.
    other = launcher.spec("exit", options={"code": 0})
    launcher.launch(client, other)
    ended(client, other)
    assert sleeps() <= before + 1  # the kernel counts one only after it is shown as asleep


def test_memory_that_runs_out_ends_a_pod_before_its_keeper_and_its_launcher(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    spec = launcher.spec("disowned")
    keeper = launcher.launch(client, spec).keeper.pid
    pod = ask_pod(spec)["pid"]
    (left,) = [pid for pid in children_of(keeper) if pid != pod]
    ours = oom_score_of(launcher.pid)
    assert oom_score_of(keeper) == ours
    assert oom_score_of(pod) == oom_score_of(left) == max(OOM_SCORE, ours)


def oom_score_of(pid: int) -> int:
    with open(f"/proc/{pid}/oom_score_adj") as file:
        return int(file.read())
