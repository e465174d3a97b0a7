"""Verbs that go on with the next supervisor where one dies under them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from cli_support import Cli
from client_support import HangUp, Json, Peer, World, spawned, stop_result
from pods_protocol.errors import NotConnected
from process_support import descriptors_of, wait_for
from supervisor_support import with_rooms

DONE = {
    "ready": [{"pod": "api", "state": "idle", "last_turn": None}],
    "pending": [],
    "timed_out": False,
}


class Breaking:
    """An answer that is a broken connection so many times, and then comes."""

    def __init__(self, answer: Json, times: int) -> None:
        self._answer = answer
        self._left = times

    def __call__(self, _peer: Peer, _params: Json) -> Json:
        if self._left:
            self._left -= 1
            raise HangUp
        return self._answer


def test_a_wait_is_asked_again_with_the_time_that_is_left(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["wait"] = Breaking(DONE, 2)
    assert pods("wait", "api", "--timeout", "60") == (0, "api idle\n", "")
    seconds = [asked["timeout_seconds"] for asked in fake.supervisor.params_of("wait")]
    assert len(seconds) == 3
    assert 0 < seconds[2] < seconds[1] < seconds[0] <= 60


def test_a_supervisor_that_hangs_up_again_and_again_is_given_up(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["wait"] = Breaking(DONE, 100)
    code, out, err = pods("wait", "api")
    assert (code, out) == (1, "")
    assert "again and again" in err
    assert len(fake.supervisor.params_of("wait")) == 4


def test_what_the_supervisor_could_not_reach_is_not_asked_again(fake: World, pods: Cli) -> None:
    def refuse(_peer: Peer, _params: Json) -> Json:
        raise NotConnected("cannot reach the keeper; look at `pods doctor`", peer="x")

    fake.supervisor.answers["wait"] = refuse
    code, _, err = pods("wait", "api")
    assert (code, "keeper" in err) == (1, True)
    assert len(fake.supervisor.params_of("wait")) == 1


def test_a_stop_is_asked_again_under_its_id(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["stop"] = Breaking(stop_result(), 1)
    code, out, err = pods("stop", "api", "web")
    assert (code, err) == (0, "")
    assert out.count("stopped") == 2
    asked = fake.supervisor.params_of("stop")
    ids = {
        one["pod"]: {each["message_id"] for each in asked if each["pod"] == one["pod"]}
        for one in asked
    }
    assert [len(each) for each in ids.values()] == [1, 1]
    assert ids["api"] != ids["web"]


@pytest.mark.parametrize("breaks", [1, 2])
def test_a_spawn_is_tried_once_more_under_its_id(fake: World, pods: Cli, breaks: int) -> None:
    fake.supervisor.answers["spawn"] = Breaking(spawned(fake), breaks)
    code, _, _ = pods("spawn", "api")
    assert code == (0 if breaks == 1 else 1)
    ids = [asked["message_id"] for asked in fake.supervisor.params_of("spawn")]
    assert len(ids) == 2
    assert len(set(ids)) == 1


@pytest.mark.slow
def test_a_wait_and_a_stop_outlive_the_supervisor(pods_environ: dict[str, str]) -> None:
    environ = with_rooms(pods_environ)

    def run(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "pods", *words],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(process: subprocess.Popen[str]) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def wait_asked(process: subprocess.Popen[str]) -> None:
        def has() -> bool:
            sockets = [what for what in descriptors_of(process.pid).values() if "socket" in what]
            return bool(sockets) or process.poll() is not None  # a stop is soon over

        wait_for(has, "it does not connect")

    def kill_supervisor() -> None:
        def kill() -> bool:
            _, out, _ = said(run("doctor", "--json"))
            found: Json | None = json.loads(out)["supervisor"] if out else None
            if found is not None:
                os.kill(found["pid"], signal.SIGKILL)
            return found is not None

        # The socket that was seen may have been one that found nobody: the next is coming up.
        wait_for(kill, "no supervisor comes up")

    try:
        assert said(run("spawn", "p", "--prompt", "exec sleep 1000"))[0] == 0
        waiting = run("wait", "p", "--until", "ended")
        wait_asked(waiting)
        kill_supervisor()
        stopping = run("stop", "p", "--grace", "1")
        wait_asked(stopping)
        kill_supervisor()
        assert said(stopping)[0] == 0
        code, out, err = said(waiting)
        assert (code, out.partition(",")[0], err) == (0, "p stopped", "")
    finally:
        said(run("up"))  # it takes the launcher along, where the stop was over before the kill
        down = said(run("down", "--stop-pods"))
    assert down[0] == 0, down
