"""The spare keeper and pod: used by the next launch, never in the way, gone with the launcher."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Generator
from typing import Any

import attrs
import pytest

from pods.keeper.spare import SPARE_NAME, SpareLife
from pods.keeper.tree import children_of
from pods.launcher.spares import Spares
from pods_protocol.api import POD_API
from pods_protocol.pod_messages import GetStatus
from pods_protocol.process_messages import PodSpec, ShutdownLauncher
from process_support import (
    WAIT_SECONDS,
    BlockingClient,
    RunningLauncher,
    alive,
    descriptors_of,
    end_keepers,
    ended,
    wait_for,
)

LAUNCHER = [sys.executable, "-P", "-m", "pods.launcher"]

UNREHEARSED = """
import errno, os, sys

from pods.launcher import main
from pods.pod import rehearsal

rehearse = rehearsal.rehearse


def refuse(directory, *, forbidden):
    if "/spare-" in directory:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    rehearse(directory, forbidden=forbidden)


rehearsal.rehearse = refuse
sys.exit(main.main())
"""


@pytest.fixture
def real_launcher(pods_environ: dict[str, str]) -> Generator[RunningLauncher]:
    """A launcher whose pods are the real ones: only those can wait for what to be."""
    running = RunningLauncher(pods_environ, command=LAUNCHER)
    try:
        yield running
    finally:
        running.close()


def a_pod(launcher: RunningLauncher, **changes: Any) -> PodSpec:
    return attrs.evolve(launcher.spec(**changes), agent="echo", options={}, enforce="available")


def spares_of(launcher: RunningLauncher) -> list[int]:
    """The keepers that wait."""
    return [pid for pid in children_of(launcher.pid) if name_of(pid) == SPARE_NAME]


def name_of(pid: int) -> str:
    """What a process calls itself; nothing once it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/comm") as f:
        return f.read().strip()
    return ""


def wait_for_spare(launcher: RunningLauncher) -> int:
    """The keeper that waits, once its pod does."""

    def ready() -> bool:
        return any(
            name_of(pod) == SPARE_NAME for one in spares_of(launcher) for pod in pods_of(one)
        )

    wait_for(ready, "no spare was made")
    (spare,) = spares_of(launcher)
    return spare


def pods_of(keeper: int) -> list[int]:
    return children_of(keeper)


def pid_that_answers(spec: PodSpec) -> int:
    with BlockingClient(spec.pod_socket, POD_API, spec.token) as pod:
        assert pod.ask(GetStatus()).state == "idle"
    (pid,) = pods_of(keeper_of(spec))
    return pid


def keeper_of(spec: PodSpec) -> int:
    return KEEPERS[spec.id]


KEEPERS: dict[str, int] = {}


def launch(launcher: RunningLauncher, client: BlockingClient, spec: PodSpec) -> int:
    keeper = KEEPERS[spec.id] = launcher.launch(client, spec).keeper.pid
    return keeper


def end(client: BlockingClient, spec: PodSpec) -> None:
    os.kill(keeper_of(spec), signal.SIGKILL)
    ended(client, spec)


def test_the_next_pod_is_the_one_that_waited(real_launcher: RunningLauncher) -> None:
    with real_launcher.connect() as client:
        assert spares_of(real_launcher) == []
        first = a_pod(real_launcher)
        launch(real_launcher, client, first)
        assert pid_that_answers(first)
        spare = wait_for_spare(real_launcher)
        (waiting,) = pods_of(spare)
        second = a_pod(real_launcher)
        assert launch(real_launcher, client, second) == spare
        assert pid_that_answers(second) == waiting
        assert (name_of(spare), name_of(waiting)) == ("pods-keeper", "pods-pod")
        with open(f"/proc/{waiting}/environ", "rb") as file:
            assert b"PODS_NAME" not in file.read()  # set in the process, as in any forked pod
        assert os.readlink(f"/proc/{waiting}/cwd") == second.cwd
        assert wait_for_spare(real_launcher) != spare
        end(client, first)
        end(client, second)


def test_a_spare_starts_where_a_link_leads_to_our_directories(
    pods_environ: dict[str, str],
) -> None:
    root = os.path.dirname(pods_environ["PODS_RUNTIME_DIR"])
    os.symlink(".", f"{root}/l")
    linked = {
        name: f"{root}/l/{name[5].lower()}" for name in ("PODS_RUNTIME_DIR", "PODS_STATE_DIR")
    }
    running = RunningLauncher({**pods_environ, **linked}, command=LAUNCHER)
    try:
        next_pod_is_the_spare(running)
        assert "rehearsed" not in running.log()
    finally:
        running.close()


def test_a_spare_that_could_not_rehearse_is_a_pod_all_the_same(
    pods_environ: dict[str, str],
) -> None:
    running = RunningLauncher(pods_environ, command=[sys.executable, "-P", "-c", UNREHEARSED])
    try:
        next_pod_is_the_spare(running)
        assert "a pod's start could not be rehearsed: [Errno 28]" in running.log()
    finally:
        running.close()


def next_pod_is_the_spare(launcher: RunningLauncher) -> None:
    """A second pod takes the place of the spare, and answers."""
    with launcher.connect() as client:
        first, second = a_pod(launcher), a_pod(launcher)
        launch(launcher, client, first)
        spare = wait_for_spare(launcher)
        assert launch(launcher, client, second) == spare
        assert pid_that_answers(second)
        end(client, first)
        end(client, second)


def test_a_spare_that_died_is_not_missed(real_launcher: RunningLauncher) -> None:
    with real_launcher.connect() as client:
        first, second = a_pod(real_launcher), a_pod(real_launcher)
        launch(real_launcher, client, first)
        spare = wait_for_spare(real_launcher)
        (waiting,) = pods_of(spare)
        os.kill(waiting, signal.SIGKILL)
        wait_for(lambda: not alive(spare), "its keeper waits on")
        assert launch(real_launcher, client, second) != spare
        assert pid_that_answers(second)
        end(client, first)
        end(client, second)


def test_a_pod_of_another_interpreter_is_no_spare(real_launcher: RunningLauncher) -> None:
    with real_launcher.connect() as client:
        first, second = a_pod(real_launcher), a_pod(real_launcher, python=sys.executable)
        launch(real_launcher, client, first)
        spare = wait_for_spare(real_launcher)
        assert launch(real_launcher, client, second) != spare
        assert pid_that_answers(second)
        assert spares_of(real_launcher) == [spare]
        end(client, first)
        end(client, second)


def test_a_spare_keeps_no_launcher_and_outlives_none(real_launcher: RunningLauncher) -> None:
    with real_launcher.connect() as client:
        first = a_pod(real_launcher)
        launch(real_launcher, client, first)
        spare = wait_for_spare(real_launcher)
        (waiting,) = pods_of(spare)
        end(client, first)
        client.ask(ShutdownLauncher())
    assert real_launcher.process.wait(WAIT_SECONDS) == 0
    assert not alive(spare)
    assert not alive(waiting)


def test_a_spare_goes_with_a_launcher_that_is_killed(real_launcher: RunningLauncher) -> None:
    with real_launcher.connect() as client:
        first = a_pod(real_launcher)
        keeper = launch(real_launcher, client, first)
        spare = wait_for_spare(real_launcher)
        (waiting,) = pods_of(spare)
    os.kill(real_launcher.pid, signal.SIGKILL)
    wait_for(lambda: not alive(spare) and not alive(waiting), "the spare lives on")
    assert alive(keeper)
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: not alive(keeper), "the keeper lives on")


def test_a_spare_whose_pod_cannot_start_says_why(real_launcher: RunningLauncher) -> None:
    with real_launcher.connect() as client:
        first, second = a_pod(real_launcher), a_pod(real_launcher, cwd="/nowhere")
        launch(real_launcher, client, first)
        wait_for_spare(real_launcher)
        launch(real_launcher, client, second)
        assert ended(client, second).status == 0
        with open(f"{second.state_directory}/stderr.log") as file:
            assert "cannot start" in file.read()
        end(client, first)


def test_a_spare_that_is_killed_while_it_rehearses_leaves_no_directory(
    real_launcher: RunningLauncher,
) -> None:
    def cut_off_in_rehearsal() -> tuple[int, str]:
        """The spare, with what lies there in the few milliseconds that a rehearsal takes."""
        spare = wait_for_spare(real_launcher)
        (pod,) = pods_of(spare)
        scratch = f"{real_launcher.places.runtime}/spare-{spare}"
        # A loop runs while it rehearses, in that directory, and once more when it is done.
        wait_for(
            lambda: (
                "anon_inode:[eventpoll]" in descriptors_of(pod).values()
                and not os.path.exists(scratch)
            ),
            "it does not come to the end of its rehearsal",
        )
        os.makedirs(f"{scratch}/journal")
        return spare, scratch

    with real_launcher.connect() as client:
        launch(real_launcher, client, a_pod(real_launcher))
        for killed in ("keeper", "pod"):
            spare, scratch = cut_off_in_rehearsal()
            used = a_pod(real_launcher)
            assert launch(real_launcher, client, used) == spare
            os.kill(spare if killed == "keeper" else pods_of(spare)[0], signal.SIGKILL)
            ended(client, used)
            assert not os.path.exists(scratch), killed
        _, scratch = cut_off_in_rehearsal()
        end_keepers(real_launcher)
        client.ask(ShutdownLauncher())
    assert real_launcher.process.wait(WAIT_SECONDS) == 0
    assert not os.path.exists(scratch)


def test_a_system_that_refuses_a_spare_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    settled: list[str] = []

    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    life = SpareLife(
        run=lambda take: 0,
        rehearse=lambda directory: None,
        settle=lambda: settled.append("once"),
        scratch="/nowhere",
    )
    spares = Spares(os.fork, switches={}, life=life, log=said.append)
    monkeypatch.setattr(socket, "socketpair", refuse)
    spares.make()
    spares.settle()
    assert settled == ["once"]
    assert spares.pids == ()
    assert said == ["no spare pod: Too many open files"]
