"""Starting a supervisor on demand: one, whoever asks at the same time; and when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from pods.client import start
from pods.client.address import find_address, keeps_anything
from pods_protocol.errors import InvalidName, StartFailed, TimedOut, UnsafeDirectory
from supervisor_support import NOTHING, left_in, places_of, processes_of, with_rooms


def run_pods(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "pods", *words],
        env=with_rooms(environ),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_two_spawns_at_the_same_instant_start_one_supervisor(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    names = ["one", "two", "three"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "pods", "spawn", name, "--agent", "echo", "--json"],
            env=with_rooms(pods_environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    answers = [process.communicate(timeout=60) for process in processes]
    try:
        assert [process.returncode for process in processes] == [0, 0, 0], answers
        listed = json.loads(run_pods(pods_environ, "ls", "--json").stdout)
        assert sorted(pod["name"] for pod in listed["pods"]) == sorted(names)
        sockets = {os.path.dirname(json.loads(out)["socket"]) for out, _ in answers}
        assert len({os.path.dirname(one) for one in sockets}) == 1
    finally:
        down = run_pods(pods_environ, "down", "--stop-pods")
    assert down.returncode == 0, down.stderr
    log = Path(places_of(pods_environ, "default").log).read_text()
    assert "Traceback" not in log
    assert os.listdir(short_dir)


@pytest.mark.slow
def test_the_whole_session_of_the_readme_by_hand(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    os.mkdir(f"{short_dir}/w")
    work = f"{short_dir}/w"

    def pods(*words: str, code: int = 0) -> str:
        done = run_pods(pods_environ, *words)
        assert done.returncode == code, (words, done)
        assert "Traceback" not in done.stderr
        return done.stdout

    try:
        assert "api started" in pods(
            "spawn", "api", "--write", work, "--prompt", "echo hello", "--cwd", work
        )
        assert "api idle, turn 1: end_turn" in pods("wait", "api", "--timeout", "30")
        assert pods("read", "api") == "hello\n"
        assert pods("read", "api") == ""
        assert pods("send", "api", "echo $((6 * 7))", "--wait") == "42\n"
        pods("send", "api", "exit 3", "--wait", code=1)
        pods("send", "api", "sleep 100")
        pods("send", "api", "echo x", code=1)
        pods("send", "api", "echo x", "--wait", "--timeout", "0.2", code=1)
        pods("wait", "api", "--timeout", "0.1", code=3)
        assert pods("send", "api", "echo now", "--wait", "--if-busy", "interrupt") == "now\n"
        pods("spawn", "thief", "--write", work, code=5)
        pods("spawn", "api", code=5)
        pods("spawn", "bad", "--write", f"{short_dir}/nothing", code=2)
        pods("spawn", "bad", "--write", short_dir, code=2)
        pods("send", "nobody", "x", code=4)
        pods("down", code=5)
        assert "api stopped" in pods("stop", "api")
        assert "42\nnow\n" in pods("read", "api")
        pods("send", "api", "x", code=1)
        pods("down")
        assert pods("ls", "-qa") == "api\n", "what ended can be listed by a fresh supervisor"
        assert "> echo hello" in pods("logs", "api")
        pods("rm", "api")
    finally:
        down = run_pods(pods_environ, "down", "--stop-pods")
    assert down.returncode == 0, down.stderr
    assert pods("ls", "-qa") == ""
    assert left_in(pods_environ) == NOTHING


def become(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let this script be started as the supervisor."""

    def argv(_name: str) -> list[str]:
        return [sys.executable, "-c", script]

    monkeypatch.setattr(start, "supervisor_argv", argv)


def test_a_supervisor_that_cannot_start_says_why(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, "raise SystemExit('no disk today')")
    with pytest.raises(StartFailed, match="no disk today") as caught:
        start.start_supervisor(places_of(pods_environ, "default"), pods_environ)
    assert "status 1" in str(caught.value)


def test_a_supervisor_that_stays_silent_is_ended(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, "import time; time.sleep(1000)")
    with pytest.raises(StartFailed, match=r"not ready in 0\.2 s") as caught:
        start.start_supervisor(places_of(pods_environ, "default"), pods_environ, timeout=0.2)
    assert "nothing was logged" in str(caught.value)


STARTER = """
import os
from pods.client.start import start_supervisor
from pods.paths import places_from
start_supervisor(places_from(os.environ, os.geteuid()).supervisor("default"), os.environ)
print("started", flush=True)
input()
"""


@pytest.mark.slow
def test_a_supervisor_is_not_below_who_started_it(pods_environ: dict[str, str]) -> None:
    """A host that ends its MCP server with all that is below that would end it and the launcher."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", STARTER],
        env=with_rooms(pods_environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "started\n"
        assert psutil.Process(starter.pid).children(recursive=True) == []
        started = [line for line in processes_of(pods_environ) if "-m pods.supervisor" in line]
        assert len(started) == 1
    assert run_pods(pods_environ, "down").returncode == 0
    assert left_in(pods_environ) == NOTHING


def test_a_start_lock_that_is_held_too_long_times_out(pods_environ: dict[str, str]) -> None:
    places = places_of(pods_environ, "default")
    os.makedirs(places.places.runtime, mode=0o700)
    with (
        FileLock(places.start_lock),
        pytest.raises(TimedOut, match="another client"),
    ):
        start.start_supervisor(places, pods_environ, timeout=0.05)


def test_a_runtime_directory_that_is_open_to_others_is_refused(
    pods_environ: dict[str, str],
) -> None:
    os.mkdir(pods_environ["PODS_RUNTIME_DIR"])
    os.chmod(pods_environ["PODS_RUNTIME_DIR"], 0o755)
    with pytest.raises(UnsafeDirectory):
        start.start_supervisor(places_of(pods_environ, "default"), pods_environ)


def test_relative_entries_of_pythonpath_are_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    passed = start.supervisor_environment({"PYTHONPATH": "a:/b:", "X": "y"})
    assert passed == {"PYTHONPATH": f"{os.getcwd()}/a:/b", "X": "y"}
    assert start.supervisor_environment({"X": "y"}) == {"X": "y"}


def test_the_address_follows_the_environment(pods_environ: dict[str, str]) -> None:
    runtime = pods_environ["PODS_RUNTIME_DIR"]
    assert find_address(pods_environ).socket == f"{runtime}/default/ctl.sock"
    named = {**pods_environ, "PODS_SUPERVISOR": "two"}
    assert find_address(named).socket == f"{runtime}/two/ctl.sock"
    assert find_address(named, "three").socket == f"{runtime}/three/ctl.sock"
    pod = {**named, "PODS_SOCKET": "/s", "PODS_TOKEN_FILE": "/t"}
    assert find_address(pod) == ("/s", "/t", None)
    assert find_address({**named, "PODS_SOCKET": "/s"}) == ("/s", "", None)
    assert find_address(pod, "three").places is not None
    with pytest.raises(InvalidName):
        find_address(pods_environ, "a/b")


def test_a_supervisor_keeps_something_once_there_are_journals(
    pods_environ: dict[str, str],
) -> None:
    places = places_of(pods_environ, "default")
    assert not keeps_anything(places)
    os.makedirs(places.state)
    assert not keeps_anything(places)
    os.makedirs(places.places.pod_state("0123456789ab"))
    assert keeps_anything(places)
