"""Bad input at every door: a typed refusal that says what to do, no traceback, nothing left.

One supervisor with a quiet and a busy pod is shared by the module; each refusal is held to the
account of what was there before it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import (
    NOBODY_UID,
    PODS,
    WAIT_SECONDS,
    Door,
    code_of,
    nothing_more,
    open_door,
)
from pods_protocol.bounds import HELLO_SECONDS, MAX_LINE_BYTES

pytestmark = pytest.mark.slow
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
TEN_MEGABYTES = 10 * 1024 * 1024
DOORS = ("supervisor", "launcher", "pod", "keeper")


class House:
    """The shared supervisor, its doors and what is there while nothing goes wrong."""

    def __init__(self, door: Door) -> None:
        self.door = door
        os.mkdir(f"{door.work}/held")
        Path(door.work, "broken.py").write_text("raise RuntimeError('no such luck')\n")
        Path(door.work, "leaves.py").write_text("raise SystemExit('I would rather not')\n")
        Path(door.work, "lame.py").write_text("class Agent:\n    pass\n")
        spawned = door.ask("spawn", "quiet", "--write", "held", "--agent", "echo")
        self.pod_id: str = spawned["pod"]["id"]
        with door.wire() as wire:
            wire.hello(door.token())
            self.pod_token: str = wire.ask("connect", pod="quiet")["result"]["token"]
        runtime = os.path.dirname(door.socket)
        self.sockets = {
            "supervisor": door.socket,
            "launcher": f"{runtime}/launcher.sock",
            "pod": f"{runtime}/{self.pod_id}/pod.sock",
            "keeper": f"{runtime}/{self.pod_id}/keeper.sock",
        }
        # They are let go after a while, which passes as the other tests run.
        self.silent = {name: door.wire(path) for name, path in self.sockets.items()}
        for wire in self.silent.values():
            wire.send(b'{"jsonrpc": "2.0", ')  # half a word is nothing said

    def token_for(self, name: str) -> str:
        return self.pod_token if name == "pod" else self.door.token()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_door() as door, contextlib.ExitStack() as stack:
        made = House(door)
        for wire in made.silent.values():
            stack.enter_context(wire)
        yield made


# -- the command line ------------------------------------------------------------------------


BAD_WORDS: list[tuple[list[str], int, str]] = [
    (["send", "nobody", "hello"], 4, "cannot find pod 'nobody': there are: quiet"),
    (["read", "nobody"], 4, "nobody"),
    (["stop", "nobody"], 4, "nobody"),
    (["rm", "nobody"], 4, "nobody"),
    (["logs", "nobody"], 4, "nobody"),
    (["attach", "nobody"], 4, "nobody"),
    (["wait", "nobody", "--timeout", "1"], 4, "nobody"),
    (["inspect", "nobody"], 4, "nobody"),
    (["spawn", "../etc/passwd"], 2, "a name has 1 to 64 characters"),
    (["read", "../../x"], 2, "a name has 1 to 64 characters"),
    (["spawn", "n" * 300], 2, "a name has 1 to 64 characters"),
    (["spawn", "x", "--supervisor", "a/b"], 2, "as the name of a supervisor"),
    (["spawn", "x", "--write", ""], 2, "may not be empty"),
    (["spawn", "x", "--write", "nowhere"], 2, "nowhere"),
    (["spawn", "x", "--read", "/nowhere/at/all"], 2, "/nowhere/at/all"),
    (["spawn", "x", "--write", "/"], 2, "/"),
    (["spawn", "x", "--write", ".."], 2, "pods keeps its own state in"),
    (["spawn", "x", "--write", "../r"], 2, "/r"),
    (["spawn", "x", "--write", "../s/pods"], 2, "/s"),
    (["spawn", "x", "--cwd", "nowhere"], 2, "nowhere"),
    (["spawn", "x", "--turn-timeout", "-1"], 2, "no number of seconds from 0 on"),
    (["wait", "quiet", "--timeout", "-1"], 2, "no number of seconds from 0 on"),
    (["wait", "quiet", "--timeout", "nan"], 2, "no number of seconds from 0 on"),
    (["stop", "quiet", "--grace", "-1"], 2, "no number of seconds from 0 on"),
    (["spawn", "x", "--agent", "shel"], 1, "did you mean 'shell'?"),
    (["spawn", "x", "--agent", "no_such_module:Agent"], 1, "there is no module 'no_such_module'"),
    (["spawn", "x", "--agent", "broken:Agent"], 1, "RuntimeError: no such luck"),
    (["spawn", "x", "--agent", "leaves:Agent"], 1, "SystemExit: I would rather not"),
    (["spawn", "x", "--agent", "lame:Agent"], 1, "has no `async def run_turn(self, turn)`"),
    (["spawn", "x", "--agent", "lame:Agnt"], 1, "did you mean 'Agent'?"),
    (["spawn", "x", "--python", "/nowhere/python"], 2, "/nowhere/python"),
    (["spawn", "quiet"], 5, "quiet"),
    (["spawn", "x", "--write", "held"], 5, "the pod 'quiet' holds write on"),
    (["frobnicate"], 2, "there is no verb 'frobnicate'"),
    (["spawn"], 2, "NAME"),
]


@pytest.mark.parametrize(("words", "code", "why"), BAD_WORDS, ids=lambda it: str(it)[:50])
def test_the_command_line_refuses(house: House, words: list[str], code: int, why: str) -> None:
    with nothing_more(house.door):
        answer = house.door(*words, code=code)
    assert why in answer.err
    assert answer.out == ""


def test_a_prompt_over_the_line_cap_is_refused_before_anything_starts(house: House) -> None:
    prompt = "x" * (MAX_LINE_BYTES + 1)
    with nothing_more(house.door):
        for words in (["spawn", "x", "--prompt", "-"], ["send", "quiet", "-"]):
            answer = house.door(*words, stdin=prompt, code=2)
            assert "put the text into a file that the pod may read" in answer.err


@pytest.mark.parametrize(
    ("line", "code", "why"),
    [
        ("pods ls >&-", 0, ""),
        ("pods ls 2>&-", 0, ""),
        ("pods send quiet - <&-", 0, ""),
        ("pods ls >/dev/full", 1, "No space left on device"),
        ("mkdir gone; cd gone; rmdir ../gone; pods spawn x", 1, "No such file or directory"),
        ("pods send quiet $'\\xff\\xfe'", 2, "is not valid Unicode"),
    ],
)
def test_a_shell_that_gives_it_nothing_to_stand_on_is_told(
    house: House, line: str, code: int, why: str
) -> None:
    with nothing_more(house.door):
        answer = house.door.run(["bash", "-c", line])
        assert answer.code == code, answer
        assert why in answer.err


def test_refusals_are_json_where_json_was_asked_for(house: House) -> None:
    answer = house.door("read", "nobody", "--json", code=4)
    error = json.loads(answer.err)["error"]
    assert (error["data"]["code"], error["data"]["known"]) == ("unknown_pod", ["quiet"])


# -- the wire --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOORS)
def test_a_wrong_token_is_refused(house: House, name: str) -> None:
    for token in ("", "0" * 64, "x" * 1000):
        with house.door.wire(house.sockets[name]) as wire:
            answer = wire.hello(token)
            assert code_of(answer) == "not_authorized"
            assert house.token_for(name) not in json.dumps(answer)
            assert wire.line() is None, "the connection ends"


@pytest.mark.parametrize("name", DOORS)
def test_noise_is_answered_and_the_door_stays_open(house: House, name: str) -> None:
    with house.door.wire(house.sockets[name]) as wire:
        assert "result" in wire.hello(house.token_for(name))
        for noise, code in (
            (b"{", "parse_error"),
            (b"\xff\xfe", "parse_error"),
            (b"[1, 2]", "parse_error"),
            (b'"words"', "parse_error"),
            (b'{"jsonrpc": "2.0", "id": 7, "method": "nonsense", "params": {}}', "unknown_method"),
            (b'{"jsonrpc": "2.0", "id": {}, "method": "ping", "params": {}}', "invalid_request"),
        ):
            wire.send(noise + b"\n")
            assert code_of(wire.line()) == code, noise
    with house.door.wire(house.sockets[name]) as wire:
        assert "result" in wire.hello(house.token_for(name))


@pytest.mark.parametrize("name", DOORS)
def test_ten_megabytes_without_a_newline_end_that_connection_alone(house: House, name: str) -> None:
    with (
        house.door.wire(house.sockets[name]) as other,
        house.door.wire(house.sockets[name]) as wire,
    ):
        assert "result" in other.hello(house.token_for(name))
        wire.send(b"x" * TEN_MEGABYTES)
        answer = wire.line()
        assert answer is None or code_of(answer) == "too_large"
        assert wire.line() is None
        assert "error" in other.ask("nonsense")


BAD_PARAMS: list[tuple[str, dict[str, Any], str, str]] = [
    ("spawn", {"name": "x", "promt": "hello"}, "invalid_params", "prompt"),
    ("spawn", {}, "invalid_params", "name"),
    ("spawn", {"name": 5}, "invalid_params", "name"),
    ("spawn", {"name": "a/b"}, "invalid_name", "1 to 64 characters"),
    ("spawn", {"name": "n" * 300}, "invalid_name", "1 to 64 characters"),
    ("spawn", {"name": "x", "limits": {"turn_seconds": -1}}, "invalid_params", "turn_seconds"),
    ("spawn", {"name": "x", "cwd": "relative"}, "invalid_params", "absolute"),
    ("wait", {"pods": ["quiet"], "timeout_seconds": -1}, "invalid_params", "timeout_seconds"),
    ("read", {"pod": "quiet", "wait_seconds": -1}, "invalid_params", "wait_seconds"),
    ("read", {"pod": "quiet", "since": -1}, "invalid_params", "since"),
    ("stop", {"pod": "quiet", "grace_seconds": -1}, "invalid_params", "grace_seconds"),
    ("read", {"pod": "nobody"}, "unknown_pod", "nobody"),
]


@pytest.mark.parametrize(
    ("method", "params", "code", "why"), BAD_PARAMS, ids=lambda it: str(it)[:40]
)
def test_the_wire_refuses_fields_that_cannot_be_right(
    house: House, method: str, params: dict[str, Any], code: str, why: str
) -> None:
    with nothing_more(house.door), house.door.wire() as wire:
        wire.hello(house.door.token())
        answer = wire.ask(method, **params)
    assert code_of(answer) == code
    assert why in json.dumps(answer["error"])


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("", "empty"),
        ("held", "give an absolute path"),
        ("../w", "give an absolute path"),
        ("/nowhere", "/nowhere"),
        ("/", "/"),
    ],
)
def test_the_wire_refuses_targets_that_cannot_be_one(house: House, target: str, why: str) -> None:
    rule = {"target": target, "permission": "write", "recursive": True}
    with nothing_more(house.door), house.door.wire() as wire:
        wire.hello(house.door.token())
        answer = wire.ask("spawn", name="x", cwd=house.door.work, allow=[rule])
    assert code_of(answer) == "invalid_scope"
    assert why in answer["error"]["message"]


def test_an_unknown_field_is_answered_with_the_nearest(house: House) -> None:
    with house.door.wire() as wire:
        wire.hello(house.door.token())
        answer = wire.ask("spawn", name="x", promt="hello")
    assert answer["error"]["data"]["nearest"] == "prompt"
    with house.door.wire(house.sockets["pod"]) as wire:
        wire.hello(house.pod_token)
        answer = wire.ask("run", input="x", if_bussy="queue")
    assert answer["error"]["data"]["nearest"] == "if_busy"


# -- other users -----------------------------------------------------------------------------


AS_SOMEBODY_ELSE = """
import os, socket, sys
uid, path, token = int(sys.argv[1]), sys.argv[2], sys.argv[3]
os.setgid(uid), os.setuid(uid)
sock = socket.socket(socket.AF_UNIX)
sock.connect(path)
sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"token":"%s","protocol":1,'
             b'"client":""}}\\n' % token.encode())
print(sock.makefile().readline())
"""


@as_root
@pytest.mark.parametrize("name", DOORS)
def test_a_foreign_user_is_refused_though_it_has_the_token(house: House, name: str) -> None:
    path = house.sockets[name]
    opened: list[str] = [path]
    while opened[-1] != house.door.directory:
        opened.append(os.path.dirname(opened[-1]))
    modes = {one: os.stat(one).st_mode & 0o777 for one in opened}
    try:
        for one in opened:
            os.chmod(one, 0o777)
        done = subprocess.run(
            [sys.executable, "-c", AS_SOMEBODY_ELSE, str(NOBODY_UID), path, house.token_for(name)],
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=True,
        )
    finally:
        for one, mode in modes.items():
            os.chmod(one, mode)
    answer = json.loads(done.stdout)
    assert code_of(answer) == "not_authorized"
    assert f"user {NOBODY_UID}" in answer["error"]["message"]


@as_root
def test_what_lies_there_is_for_its_owner_alone(house: House) -> None:
    for root, names, files in os.walk(house.door.directory):
        if not root.startswith((f"{house.door.directory}/r", f"{house.door.directory}/s")):
            continue
        for name in [*names, *files]:
            mode = os.lstat(f"{root}/{name}").st_mode & 0o777
            assert not mode & 0o077, (root, name, oct(mode))


def test_pods_without_a_verb_is_usage() -> None:
    done = subprocess.run(PODS, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a verb is missing" in done.stderr


def test_who_connects_and_says_nothing_is_let_go_at_every_door(house: House) -> None:
    for name, wire in house.silent.items():
        answer = wire.line()
        assert answer is not None, name
        assert (answer["id"], answer["error"]["data"]["code"]) == (None, "timed_out"), name
        assert wire.line() is None, name
    assert HELLO_SECONDS < WAIT_SECONDS
