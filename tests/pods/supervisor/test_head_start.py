"""What a daemon begins before its imports, taken up by the supervisor or given up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from pods.rpc.unix import ensure_private_directory
from pods.supervisor.core import Supervisor
from pods.supervisor.head_start import HeadStart, take_head_start
from pods.supervisor.launcher_process import launcher_environment
from pods.supervisor.options import Options
from pods.supervisor.service import serve
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    left_in,
    options_for,
    places_of,
    supervisor_and_client,
    with_rooms,
)

pytestmark = pytest.mark.slow


def begin(options: Options) -> HeadStart:
    return take_head_start(options.places, options.environ, options.open_files)


async def test_the_supervisor_takes_up_what_was_begun(pods_environ: dict[str, str]) -> None:
    options = options_for(pods_environ, "test")
    head_start = begin(options)
    assert head_start.begun
    async with trio.open_nursery() as nursery:
        with trio.fail_after(WAIT_SECONDS):
            supervisor: Supervisor = await nursery.start(_serve, options, head_start)
        assert head_start.take_launcher() is None
        assert head_start.take_lock() is None
        assert supervisor.launcher.connected
        assert _command(supervisor.launcher.pid).count("pods.launcher") == 1
        assert _parent(supervisor.launcher.pid) == os.getpid()
        supervisor.leaving.set()
    assert left_in(pods_environ) == NOTHING


async def test_nothing_is_begun_where_a_supervisor_lives(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        again = begin(supervisor.options)
        assert not again.begun
        assert again.take_lock() is None
    assert left_in(pods_environ) == NOTHING


def test_what_nobody_takes_up_is_ended_and_given_back(pods_environ: dict[str, str]) -> None:
    options = options_for(pods_environ, "test")
    first = begin(options)
    assert not begin(options).begun
    first.give_up(options.places)
    second = begin(options)
    assert second.begun
    second.give_up(options.places)
    second.give_up(options.places)
    assert left_in(pods_environ)["processes"] == []


def test_a_daemon_that_its_configuration_keeps_from_serving_leaves_no_launcher(
    pods_environ: dict[str, str], tmp_path: Path
) -> None:
    environ = {**with_rooms(pods_environ), "XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "pods").mkdir()
    (tmp_path / "pods" / "config.toml").write_text("max_pods = 'many'\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pods.supervisor", "--name", "test"],
        env=environ, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.startswith("pods: cannot ")
    assert "max_pods" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(pods_environ)["processes"] == []


def test_a_daemon_in_a_directory_that_is_no_directory_says_so(
    pods_environ: dict[str, str],
) -> None:
    ensure_private_directory(os.path.dirname(pods_environ["PODS_STATE_DIR"]))
    Path(pods_environ["PODS_STATE_DIR"]).write_text("")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pods.supervisor", "--name", "test"],
        env=with_rooms(pods_environ), capture_output=True, text=True, timeout=WAIT_SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.startswith("pods: cannot ")
    assert pods_environ["PODS_STATE_DIR"] in done.stderr
    os.unlink(pods_environ["PODS_STATE_DIR"])


def test_the_daemon_starts_its_launcher_before_it_has_imported_anything_heavy() -> None:
    loaded = subprocess.run(
        [
            sys.executable, "-P", "-c",
            "import sys, pods.supervisor.__main__;"
            "print(*(sys.modules.keys() & {'trio', 'attrs', 'cattrs', 'filelock', 'psutil'}))",
        ],
        env=with_rooms(dict(os.environ)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout == "\n"


async def _serve(
    options: Options,
    head_start: HeadStart,
    *,
    task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve(options, signals=False, head_start=head_start, task_status=task_status)


def _command(pid: int | None) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _parent(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_what_is_for_one_agent_alone_is_not_in_the_launchers_environment(
    pods_environ: dict[str, str],
) -> None:
    given = {**pods_environ, "PODS_SECRET_MODEL_KEY": "hush", "PODS_EXTRA_READ": "/srv"}
    passed = launcher_environment(given, places_of(pods_environ, "test").places)
    assert "hush" not in passed.values()
    assert passed["PODS_EXTRA_READ"] == "/srv"
