"""The keeper's watch where the pod's cgroup cannot be listened to, or does not go."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from pods.keeper import limit_watch
from pods.keeper.limit_watch import MAX_CLEARS, LimitWatch
from pods.keeper.record import read_record
from pods.pod.cgroup import Group
from pods.pod.turn_marks import BEGINS
from pods_protocol.api import KEEPER_API
from pods_protocol.process_messages import GetKeeperStatus, SignalTree
from pods_protocol.values import Limits
from process_support import TOKEN, BlockingClient, RunningLauncher, ask_pod, ended

LIMITS = Limits(memory_bytes=2**30)


@pytest.fixture
def odd_group(tmp_path: Path) -> str:
    """What a process can enter as a group, and nobody can listen to."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "cgroup.procs").touch()
    return str(tmp_path / "odd")


@pytest.fixture
def told() -> Generator[tuple[socket.socket, socket.socket]]:
    """Where a pod tells of its turns: the keeper's end, and the pod's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_keeper_that_cannot_listen_to_the_pods_group_lives_on_and_says_so(
    launcher: RunningLauncher, client: BlockingClient, odd_group: str
) -> None:
    spec = launcher.spec(limits=LIMITS, cgroup=odd_group)
    launcher.launch(client, spec)
    assert ask_pod(spec)["pid"]
    with BlockingClient(spec.keeper_socket, KEEPER_API, TOKEN) as keeper:
        assert keeper.ask(GetKeeperStatus()).memory_bytes is not None
        keeper.ask(SignalTree(signal="kill"))
    assert ended(client, spec).status == 0
    assert read_record(spec.state_directory) is not None
    said = Path(f"{spec.state_directory}/stderr.log").read_text()
    assert f"the cgroup {odd_group} cannot be read: [Errno 2]" in said
    assert "its limits are polled" in said


def test_what_cannot_be_heard_of_the_group_is_looked_at(
    told: tuple[socket.socket, socket.socket], odd_group: str
) -> None:
    said: list[str] = []
    watch = LimitWatch(
        LIMITS, wall_until=None, told=told[0], pod=os.getpid(), say=said.append, cgroup=odd_group
    )
    assert watch.group is None
    assert len(said) == 1
    assert watch.attend(()) is None
    told[1].send(BEGINS[:1])
    assert watch.hear()
    assert watch.attend(()) is not None, "memory is counted here, not by the kernel"
    assert watch.clear(must_not_be_told)


def test_a_group_in_which_somebody_else_lives_is_left_after_a_bound(
    told: tuple[socket.socket, socket.socket], odd_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def stays(directory: str) -> bool:
        asked.append(directory)
        return False

    monkeypatch.setattr(limit_watch, "clear_group", stays)
    said: list[str] = []
    watch = LimitWatch(
        LIMITS, wall_until=None, told=told[0], pod=os.getpid(), say=said.append, cgroup=odd_group
    )
    assert [watch.clear(must_not_be_told) for _ in range(MAX_CLEARS)] == [
        *[False] * (MAX_CLEARS - 1),
        True,
    ]
    assert f"the cgroup {odd_group} is left" in said[-1]
    assert watch.clear(must_not_be_told)
    assert asked == [odd_group] * MAX_CLEARS, "nor is it asked again"


def must_not_be_told(group: Group) -> None:
    raise AssertionError(group)
