"""One contract for pods that are forked and pods that another interpreter is exec'd for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import Door, Wire, code_of, open_door
from supervisor_support import processes_of

pytestmark = pytest.mark.slow

PROBE = '''
import json, os, signal


class Probe:
    """Tells what its process was given."""

    async def run_turn(self, turn):
        files = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                files[name] = [os.readlink(f"/proc/self/fd/{name}"), os.get_inheritable(int(name))]
            except OSError:
                pass  # the listing's own
        await turn.text(
            json.dumps(
                {
                    "pid": os.getpid(),
                    "session": os.getsid(0),
                    "environ": dict(os.environ),
                    "cwd": os.getcwd(),
                    "files": files,
                    "umask": os.umask(0o077),
                    "ignored": sorted(
                        int(number)
                        for number in signal.valid_signals()
                        if signal.getsignal(number) is signal.SIG_IGN
                    ),
                    "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
                }
            )
        )
'''

STRAY = "A_KEY_THAT_WAS_NOT_MEANT_FOR_PODS"
PASSED_ON = {
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "TZ",
    "PODS_RUNTIME_DIR", "PODS_STATE_DIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
    "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG",
}  # fmt: skip
PODS_OWN = {"PODS_NAME", "PODS_ID", "TMPDIR", "XDG_CACHE_HOME", "npm_config_cache"}

MAX_SOCKETS = 6
"""The listener, trio's pair to wake itself, the supervisor, who waits for the turn, and one that
has just hung up."""


class Way:
    """The shared supervisor, and one of the two ways."""

    def __init__(self, door: Door, words: list[str]) -> None:
        self.door = door
        self.words = words

    def spawn(self, name: str, *words: str, code: int = 0) -> Any:
        return self.door("spawn", name, *words, *self.words, code=code)

    def row(self, name: str) -> dict[str, Any]:
        (row,) = (row for row in self.door.ask("ls", "-a")["pods"] if row["name"] == name)
        found: dict[str, Any] = row
        return found

    def connect(self, name: str) -> tuple[Wire, str]:
        with self.door.wire() as wire:
            wire.hello(self.door.token())
            told = wire.ask("connect", pod=name)["result"]
        return self.door.wire(told["socket"]), told["token"]


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with open_door() as opened:
        opened.environ[STRAY] = "stray"
        work = Path(opened.work)
        (work / "probe.py").write_text(PROBE)
        (work / "broken.py").write_text("raise RuntimeError('no such luck')\n")
        opened("spawn", "first", "--agent", "echo")  # so that the account begins with a supervisor
        yield opened


@pytest.fixture(params=[[], ["--python", sys.executable]], ids=["fork", "exec"])
def way(request: pytest.FixtureRequest, door: Door) -> Iterator[Way]:
    before = door.account()
    yield Way(door, request.param)
    names = [name for name in door.account().rows if name != "first"]
    if names:
        door("stop", *names)
        door("rm", *names)
    assert door.account() == before, "nothing is left of it"


def test_it_says_hello_as_itself(way: Way) -> None:
    way.spawn("pod", "--agent", "echo")
    row = way.row("pod")
    wire, token = way.connect("pod")
    with wire:
        hello = wire.hello(token)["result"]
    assert (hello["server"], hello["name"], hello["id"]) == ("pod", "pod", row["id"])
    assert hello["pid"] == row["pid"]


def test_it_runs_cancels_and_runs_again(way: Way) -> None:
    assert way.spawn("pod", "--prompt", "echo one", "--wait").out == "one\n"
    way.door("send", "pod", "sleep 1000")
    wire, token = way.connect("pod")
    with wire:
        wire.hello(token)
        assert "result" in wire.ask("cancel")
    way.door("wait", "pod", "--timeout", "30")
    assert way.row("pod")["last_turn"]["stop_reason"] == "cancelled"
    assert way.door("send", "pod", "echo two", "--wait").out == "two\n"
    assert way.door("read", "pod", "--all").out == "one\ntwo\n"


def probe(way: Way) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        way.spawn(
            "pod", "--agent", "probe:Probe", "--env", "GIVEN=yes", "--prompt", "x", "--wait"
        ).out
    )
    return told


def test_its_environment_is_the_short_list_and_its_own(way: Way) -> None:
    told = probe(way)
    row = way.row("pod")
    names = {name for name in told["environ"] if not name.startswith("LC_")}
    assert names <= PASSED_ON | PODS_OWN | {"GIVEN"}
    assert names > PODS_OWN
    environ = told["environ"]
    assert (environ["PODS_NAME"], environ["PODS_ID"], environ["GIVEN"]) == ("pod", row["id"], "yes")
    assert environ["TMPDIR"].startswith(os.path.dirname(way.door.socket))
    assert told["cwd"] == way.door.work


def test_it_holds_its_own_files_and_none_that_a_child_would_inherit(way: Way) -> None:
    told = probe(way)
    state = f"{way.door.environ['PODS_STATE_DIR']}/pods/{way.row('pod')['id']}"
    what = Counter(link.partition(":[")[0] for link, _ in told["files"].values())
    assert what.pop("socket") <= MAX_SOCKETS
    assert what.pop("anon_inode") == 1, "what trio waits with"
    assert what == {
        "/dev/null": 1,
        f"{state}/stderr.log": 2,
        f"{state}/journal/journal.lock": 1,
        f"{state}/journal/00000000000000000001.jsonl": 1,
    }
    inherited = {name for name, (_, inheritable) in told["files"].items() if inheritable}
    assert inherited == {"0", "1", "2"}


def test_its_process_begins_clean(way: Way) -> None:
    told = probe(way)
    assert told["session"] == told["pid"] == way.row("pod")["pid"]
    assert told["umask"] == 0o077
    assert told["blocked"] == []
    assert set(told["ignored"]) <= {signal.SIGPIPE, signal.SIGXFSZ}, "as any Python"


def test_no_secret_is_in_argv_or_environment_of_any_of_its_processes(way: Way) -> None:
    way.spawn("pod", "--prompt", "exec sleep 1000", "--env", "GIVEN=yes")
    wire, token = way.connect("pod")
    wire.__exit__()
    secrets = [token.encode(), way.door.token().encode()]
    pids = [line.partition(":")[0] for line in processes_of(way.door.environ)]
    assert str(way.row("pod")["pid"]) in pids
    seen = 0
    for pid in pids:
        # One that was forked on the way to a spare may be gone; those of the pod are counted.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for name in ("cmdline", "environ"):
                held = Path(f"/proc/{pid}/{name}").read_bytes()
                assert not any(secret in held for secret in secrets), (pid, name)
                seen += 1
    assert seen >= 2 * len(["supervisor", "launcher", "keeper", "pod", "sleep"])


def test_what_a_shell_pod_runs_is_given_no_more(way: Way) -> None:
    said = way.spawn("pod", "--prompt", "env; ls -l /proc/self/fd", "--wait").out
    names = {line.partition("=")[0] for line in said.splitlines() if "=" in line}
    assert STRAY not in names
    assert not {name for name in names if "TOKEN" in name}
    assert "PODS_SOCKET" not in names
    for file in ("journal", "stderr.log", "eventpoll"):
        assert file not in said


def record_of(way: Way, row: dict[str, Any]) -> dict[str, Any]:
    path = Path(way.door.environ["PODS_STATE_DIR"], "pods", row["id"], "exit.json")
    told: dict[str, Any] = json.loads(path.read_text())
    return told


@pytest.mark.parametrize("mode", ["finish", "now"])
def test_shutdown_ends_it_with_success(way: Way, mode: str) -> None:
    way.spawn("pod", "--agent", "echo")
    wire, token = way.connect("pod")
    with wire:
        wire.hello(token)
        assert "result" in wire.ask("shutdown", mode=mode)
        assert wire.line() is None
    way.door("wait", "pod", "--until", "ended", "--timeout", "30")
    row = way.row("pod")
    assert (row["state"], row["exit"]["status"], row["exit"]["reason"]) == ("stopped", 0, "exited")
    assert record_of(way, row) == row["exit"]


@pytest.mark.parametrize(
    ("number", "status", "reason", "state"),
    [(signal.SIGTERM, 0, "exited", "stopped"), (signal.SIGKILL, -9, "signalled", "failed")],
)
def test_a_signal_ends_it_its_turn_and_what_that_ran(
    way: Way, number: signal.Signals, status: int, reason: str, state: str
) -> None:
    way.spawn("pod", "--prompt", "echo up; sleep 1000")
    row = way.row("pod")
    others = set(processes_of(way.door.environ))
    os.kill(row["pid"], number)
    way.door("wait", "pod", "--until", "ended", "--timeout", "30")
    row = way.row("pod")
    assert (row["exit"]["status"], row["exit"]["reason"]) == (status, reason)
    assert row["state"] == state
    assert record_of(way, row) == row["exit"]
    assert not [line for line in set(processes_of(way.door.environ)) & others if "sleep" in line]


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        ("broken:Agent", "RuntimeError: no such luck"),
        ("missing:Agent", "there is no module 'missing'"),
        ("probe:Prob", "did you mean 'Probe'?"),
        ("shel", "did you mean 'shell'?"),
    ],
)
def test_an_agent_that_cannot_be_had_is_said_and_leaves_nothing(
    way: Way, agent: str, why: str
) -> None:
    before = way.door.account()
    answer = way.spawn("pod", "--agent", agent, "--json", code=1)
    error = json.loads(answer.err)
    assert code_of(error) == "agent_error"
    assert why in error["error"]["message"]
    assert way.door.account() == before
    if agent == "broken:Agent":
        said, _, log = error["error"]["message"].partition("; its traceback is in ")
        assert re.search(r"/broken\.py:1\); ", said)
        assert "raise RuntimeError('no such luck')" in Path(log).read_text()
    else:
        assert "traceback" not in error["error"]["message"]
