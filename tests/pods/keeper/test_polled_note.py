"""A keeper that cannot listen to its pod's cgroup leaves word of it for `pods inspect`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pods.keeper.record import is_polled
from pods_protocol.api import KEEPER_API
from pods_protocol.process_messages import SignalTree
from pods_protocol.values import Limits
from process_support import TOKEN, BlockingClient, RunningLauncher, ask_pod, ended


@pytest.mark.parametrize("has_group", [True, False])
def test_word_is_left_where_there_is_a_group_that_cannot_be_listened_to(
    has_group: bool, launcher: RunningLauncher, client: BlockingClient, tmp_path: Path
) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "cgroup.procs").touch()  # what a process can enter as a group
    cgroup = str(odd) if has_group else ""
    spec = launcher.spec(limits=Limits(memory_bytes=2**30), cgroup=cgroup)
    launcher.launch(client, spec)
    assert ask_pod(spec)["pid"]
    with BlockingClient(spec.keeper_socket, KEEPER_API, TOKEN) as keeper:
        # Asked, it has begun to watch.
        keeper.ask(SignalTree(signal="wake"))
        assert is_polled(spec.runtime_directory) == has_group
        keeper.ask(SignalTree(signal="kill"))
    assert ended(client, spec).status == 0
