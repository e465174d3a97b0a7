"""`pods explain`: what is refused to a command in a copy of a pod's confinement, and by whom."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from cli_support import Cli
from client_support import World, always, pod_info
from confined import in_child
from pods.scope.landlock import abi_version
from pods.scope.tracer import trace, why_not

can_trace = pytest.mark.skipif(
    bool(why_not()) or abi_version() < 3, reason="needs Landlock 3 and x86-64"
)

PYTHON = (sys.executable, "-I", "-S", "-c")

REFUSES = """
import os, resource, sys
def attempt(act):
    try:
        act()
    except OSError as error:
        print(error, file=sys.stderr)
here = sys.argv[1]
attempt(lambda: open(f"{here}/theirs/x", "w"))
attempt(lambda: open(f"{here}/mine/x", "w"))
attempt(lambda: os.rename(f"{here}/mine/x", f"{here}/theirs/y"))
attempt(lambda: os.listdir(f"{here}/secret"))
attempt(lambda: os.kill(1, 0))
if not os.fork():
    attempt(lambda: os.mkdir(f"{here}/theirs/by-child"))
    os._exit(0)
os.wait()
sys.exit(3)
"""


def grant(*allow: dict[str, Any]) -> dict[str, Any]:
    return {"allow": list(allow), "deny": [], "delegable": []}


def write(path: str) -> dict[str, Any]:
    return {"target": path, "permission": "write", "recursive": True}


def read(path: str) -> dict[str, Any]:
    return {"target": path, "permission": "read", "recursive": True}


def holder(name: str, scope: dict[str, Any], pod_id: str) -> dict[str, Any]:
    return {
        "pod": name, "id": pod_id, "supervisor": "default", "parent_id": None, "grant": scope,
        "effective_write": [], "lent": [], "pending": False,
    }  # fmt: skip


@pytest.fixture
def place(fake: World, short_dir: str) -> str:
    """A pod `api` that may write `mine`; `db` holds `theirs`; its own directories are aside."""
    path = os.path.realpath(f"{short_dir}/w")
    for name in ("mine", "theirs", "secret"):
        os.makedirs(f"{path}/{name}")
    for name in ("s/pods/1", "r/default/1"):
        os.makedirs(f"{short_dir}/x/{name}")
    mine = grant(write(f"{path}/mine"))
    info = pod_info(name="api", cwd=path, scope=mine)
    info["enforcement"] = {"backend": "landlock", "summary": "", "gaps": [], "reason": ""}
    fake.supervisor.answers["inspect"] = always(
        {
            "pod": info,
            "socket": f"{short_dir}/x/r/default/1/pod.sock",
            "directory": f"{short_dir}/x/s/pods/1",
            "python": None,
        }
    )
    fake.supervisor.answers["scope.show"] = always(
        {
            "holders": [
                holder("api", mine, info["id"]),
                holder("db", grant(write(f"{path}/theirs")), "d" * 12),
            ]
        }
    )
    return path


@can_trace
def test_what_is_refused_is_listed_with_who_stands_in_the_way(place: str, pods: Cli) -> None:
    code, out, _ = pods("explain", "api", "--json", "--", *PYTHON, REFUSES, place)
    assert code == 0
    told = json.loads(out)
    assert told["status"] == 3
    theirs = [
        (one["call"].removesuffix("at"), one["target"].removeprefix(place), one["pod"])
        for one in told["refused"]
        if one["target"].startswith(place)
    ]
    assert theirs == [
        ("open", "/theirs/x", "db"),
        ("rename", "/theirs/y", "db"),
        ("open", "/secret", None),
        ("mkdir", "/theirs/by-child", "db"),
    ]
    assert [one["need"] for one in told["refused"] if one["need"] == "signal"] == ["signal"]
    assert os.listdir(f"{place}/theirs") == []
    assert os.listdir(f"{place}/mine") == ["x"]


@can_trace
def test_it_reads_as_sentences_and_says_where_nothing_was_refused(place: str, pods: Cli) -> None:
    code, out, _ = pods("explain", "api", "--", "sh", "-c", f": > {place}/theirs/x")
    assert code == 0
    assert f"  write {place}/theirs/x  (open" in out
    assert "db holds it" in out
    code, out, _ = pods("explain", "api", "--", "sh", "-c", "sleep 1000 & exit 0")
    assert (code, out) == (0, "nothing was refused to it as pod api (exit status 0)\n")


@can_trace
def test_a_pod_that_nothing_holds_is_not_explained(fake: World, pods: Cli) -> None:
    info = pod_info(name="api")
    info["enforcement"] = {"backend": "none", "reason": "no Landlock", "gaps": []}
    fake.supervisor.answers["inspect"] = always({"pod": info})
    fake.supervisor.answers["scope.show"] = always({"holders": []})
    code, out, err = pods("explain", "api", "--", "true")
    assert (code, out) == (5, "")
    assert "no Landlock" in err


def test_a_command_is_needed(fake: World, pods: Cli) -> None:
    code, _, err = pods("explain", "api")
    assert code == 2
    assert "name a command" in err


@can_trace
def test_threads_signals_and_execs_are_followed_and_end_as_they_would() -> None:
    code = (
        "import os,signal,threading,time\n"
        "t=threading.Thread(target=lambda: os.system('exit 3')); t.start(); t.join()\n"
        "pid=os.fork()\n"
        "if not pid: os.kill(os.getpid(), signal.SIGSTOP); os._exit(4)\n"
        "os.waitpid(pid, os.WUNTRACED); os.kill(pid, signal.SIGCONT)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]) == 4\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )

    def run() -> int:
        return trace(lambda: os.execv(PYTHON[0], [*PYTHON, code])).status

    assert in_child(run, seconds=30) == -15


@can_trace
def test_a_program_that_is_not_there_is_said_to_be_missing(place: str, pods: Cli) -> None:
    for program in ("nosuchprog", "./nosuchprog"):
        code, out, err = pods("explain", "api", "--", program)
        assert (code, out) == (2, "")
        assert f"'{program}': there is no such program" in err


def test_a_command_without_its_dashes_is_hinted_at_them(pods: Cli) -> None:
    code, _, err = pods("explain", "api", "ls")
    assert code == 2
    assert err.startswith("usage: pods explain POD")
    assert "unrecognized arguments: ls; a command stands after `--`" in err
