"""`pods run`: one turn in a pod of its own, and nothing is left however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator

import pytest

from end_to_end_support import WAIT_SECONDS, Door, open_door

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with open_door() as opened:
        opened("spawn", "stays", "--agent", "echo")
        yield opened


@pytest.fixture(autouse=True)
def nothing_left(door: Door) -> Iterator[None]:
    before = door.account()
    yield
    assert door.account() == before
    assert [pod["name"] for pod in door.ask("ls", "-a")["pods"]] == ["stays"]


def test_it_prints_the_answer_and_exits_by_the_turns_outcome(door: Door) -> None:
    answer = door("run", "echo hello")
    assert answer.out == "hello\n"
    # Where coverage is measured, each pod may write its measurements, and a spawn warns of that.
    assert "".join(re.findall(r"^(?!pods: warning: every pod may write ).*", answer.err)) == ""
    answer = door("run", "--name", "made", "echo so far; exit 3", code=1)
    assert answer.out == "so far\n"
    assert "the turn of made ended: error: exit status 3" in answer.err


def test_it_takes_what_spawn_takes(door: Door) -> None:
    os.makedirs(f"{door.work}/w")
    assert door("run", "echo hi > w/file && cat w/file", "--write", "w").out == "hi\n"
    assert door("run", "-", "--", "cat", stdin="by pipe\n").out == "by pipe\n"
    assert door("run", "--", "echo", "no message").out == "no message\n"
    document = door.ask("run", "hi", "--agent", "echo")
    assert (document["text"], document["stop_reason"]) == ("hi", "end_turn")


def test_what_it_says_of_a_refusal_names_no_pod_that_is_gone(door: Door) -> None:
    answer = door("run", "--name", "gone", "echo 'x: Permission denied' >&2; exit 2", code=1)
    assert "something was refused to it: more `--read PATH`" in answer.err
    assert "pods explain gone" not in answer.err


def test_what_spawn_refuses_it_refuses(door: Door) -> None:
    assert "does not exist" in door("run", "x", "--write", "not/there", code=2).err
    assert "give one, or a command" in door("run", code=2).err
    assert "has that name" in door("run", "x", "--name", "stays", code=5).err


def test_a_turn_that_takes_too_long_is_ended_with_its_pod(door: Door) -> None:
    answer = door("run", "echo begun; sleep 1000", "--timeout", "3", code=3)
    assert answer.out.startswith("begun\n")
    assert "takes more than 3 s, so it was stopped" in answer.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_interrupts_it_leaves_no_pod(door: Door, number: signal.Signals) -> None:
    with door.start("run", "--name", "broken-off", "echo begun; sleep 1000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        err = process.stderr.read()
        assert process.wait(WAIT_SECONDS) == 130
    assert "interrupted; broken-off is stopped" in err


def test_a_signal_while_the_pod_starts_leaves_none_either(door: Door) -> None:
    code = (
        "import os, signal, sys\n"
        "from pods.cli import main\n"
        "from pods.client import plain\n"
        "call = plain.PlainClient.call\n"
        "def interrupted(self, method, *args, **named):\n"
        "    if method == 'spawn':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return call(self, method, *args, **named)\n"
        "plain.PlainClient.call = interrupted\n"
        "sys.exit(main(['run', '--name', 'hardly', 'sleep 1000']))\n"
    )
    answer = door.run([sys.executable, "-P", "-c", code])
    assert (answer.code, answer.out) == (130, "")
    assert "hardly is stopped" in answer.err


def test_a_pod_that_dies_in_its_turn_says_so(door: Door) -> None:
    answer = door("run", "--json", "kill -9 $PPID", code=1)
    assert json.loads(answer.out)["stop_reason"] == "lost"
