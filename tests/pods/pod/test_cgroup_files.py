"""A pod's group goes on being read and written where the pod has taken the rights from its files.

On plain files, with a stand-in for what only the kernel's can be waited for. What a pod really does
is tried where groups are delegated (`tests/pods/supervisor/test_cgroup_limits.py`).
"""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from pods.pod.cgroup import Group
from pods.pod.cgroup_rules import memory_ceilings

MIB = 1024 * 1024
FILES = {
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\n",
    "pids.events": "max 0\n",
    "memory.current": f"{4 * MIB}\n",
    "memory.stat": "anon 0\nactive_file 0\ninactive_file 0\nslab_reclaimable 0\n",
    "pids.current": "3\n",
    "cgroup.procs": "1\n2\n3\n",
    "memory.high": "max\n",
    "memory.max": "max\n",
}


class NoEpoll:
    """Takes files that the kernel lets nobody wait for."""

    def register(self, descriptor: int, events: int) -> None:
        os.fstat(descriptor)

    def unregister(self, descriptor: int) -> None:
        os.fstat(descriptor)

    def close(self) -> None:
        pass


def test_a_group_whose_files_were_closed_to_us_is_counted_and_limited_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "epoll", NoEpoll)
    directory, kernels = tmp_path / "group", tmp_path / "kernels"
    for place in (directory, kernels):
        place.mkdir()
    for name, content in FILES.items():
        (kernels / name).write_text(content)
        os.link(kernels / name, directory / name)
    group = Group(str(directory), 64 * MIB)
    for path in directory.iterdir():
        path.unlink()  # a mode, which is what a pod can change, keeps root from nothing
    try:
        assert group.processes(1) == 2
        group.begin()
        ceilings = [str(most) for most in memory_ceilings(64 * MIB, 4 * MIB)]
        assert [(kernels / f"memory.{name}").read_text() for name in ("high", "max")] == ceilings
        (kernels / "memory.current").write_text(f"{90 * MIB}\n")
        (kernels / "memory.events").write_text("low 0\nhigh 1\nmax 0\noom 0\n")
        (kernels / "pids.events").write_text("max 1\n")
        assert group.take() == ["memory_bytes", "processes"]
    finally:
        group.close()
