"""The `pods` command as a person has it: a shell's words in, exit code and text out.

Owns directories of its own for one test or one module, and the account of what is in them, so that
a test can say "and nothing was left behind". Everything here runs as real processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from directories import short_directory
from pods.keeper.spare import SPARE_NAME
from supervisor_support import NOTHING, left_in, places_of, processes_of, with_rooms

WAIT_SECONDS = 90.0
"""Round every wait: real processes on a machine that runs other suites beside this one."""

PODS = [sys.executable, "-P", "-m", "pods"]
OTHERS = ("PODS_SOCKET", "PODS_TOKEN_FILE", "PODS_SUPERVISOR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME")
NOBODY_UID = 65534


class Answer(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Account(NamedTuple):
    """Everything that a refused request could have left."""

    processes: list[str]
    runtime: list[str]
    leases: list[str]
    journals: list[str]
    rows: list[str]


class Started(subprocess.Popen[str]):
    """A `pods` that runs. Where its test fails it is killed, or it would be waited for for ever."""

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        """Wait for its end."""
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, traceback)


class Door:
    """The command, with a runtime directory, a state directory and a place to work in.

    Args:
        directory: short, private, empty.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.work = f"{directory}/w"
        os.mkdir(self.work)
        kept = {name: value for name, value in os.environ.items() if name not in OTHERS}
        self.environ = with_rooms(
            {
                **kept,
                "PODS_RUNTIME_DIR": f"{directory}/r",
                "PODS_STATE_DIR": f"{directory}/s",
                "PATH": f"{self._bin()}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
            }
        )

    def _bin(self) -> str:
        """A directory with the command `pods` of this tree, for shells."""
        place = Path(self.directory, "bin")
        place.mkdir()
        script = place / "pods"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m pods "$@"\n')
        script.chmod(0o755)
        return str(place)

    def __call__(
        self,
        *words: str,
        code: int | None = 0,
        stdin: str = "",
        environ: dict[str, str] | None = None,
        seconds: float = WAIT_SECONDS,
    ) -> Answer:
        """Run `pods` with these words; a traceback fails the test, and so does another code."""
        answer = self.run([*PODS, *words], stdin=stdin, environ=environ, seconds=seconds)
        assert code is None or answer.code == code, (words, answer)
        return answer

    def run(
        self,
        argv: list[str],
        *,
        stdin: str = "",
        environ: dict[str, str] | None = None,
        seconds: float = WAIT_SECONDS,
        **more: Any,
    ) -> Answer:
        """Run any command in the place to work in, for so long at most."""
        done = subprocess.run(
            argv,
            input=stdin,
            env={**self.environ, **(environ or {})},
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            **more,
        )
        assert "Traceback" not in done.stderr + done.stdout, (argv, done)
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, **more: Any) -> Started:
        """Begin `pods` with these words."""
        given: dict[str, Any] = {
            "env": self.environ,
            "cwd": self.work,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **more,
        }
        return Started([*PODS, *words], **given)

    def ask(self, *words: str, code: int = 0) -> Any:
        """The answer to a command with `--json`."""
        return json.loads(self(*words, "--json", code=code).out)

    def account(self) -> Account:
        """What is there now."""
        left = left_in(self.environ)
        journals = Path(self.environ["PODS_STATE_DIR"], "pods")
        with self.wire() as wire:
            wire.hello(self.token())
            rows = [pod["name"] for pod in wire.ask("list")["result"]["pods"]]
        return Account(
            processes=sorted(line for line in left["processes"] if _stays(line)),
            runtime=[path for path in left["runtime"] if "/spare-" not in path],
            leases=left["leases"],
            journals=sorted(os.listdir(journals)) if journals.exists() else [],
            rows=sorted(rows),
        )

    def token(self) -> str:
        """The owner's."""
        return Path(places_of(self.environ, "default").owner_token).read_text().strip()

    @property
    def socket(self) -> str:
        """The supervisor's."""
        return places_of(self.environ, "default").socket

    def wire(self, path: str | None = None) -> Wire:
        """A raw connection, to the supervisor if nothing else is said."""
        return Wire(path or self.socket)

    def down(self) -> None:
        """End everything and hold it to its promise that nothing is left."""
        answer = self("down", "--stop-pods", code=None)
        left = left_in(self.environ)
        for line in left["processes"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.partition(":")[0]), signal.SIGKILL)
        assert answer.code == 0, answer
        assert left == NOTHING, left


def _stays(line: str) -> bool:
    """Whether a line of `processes_of` is of a process that somebody has asked for.

    Not of one that has ended since, nor of the spare that the launcher makes when it has time. The
    spare's keeper and pod still have the launcher's name where they were forked a moment ago.
    """
    try:
        pid = int(line.partition(":")[0])
        parent = psutil.Process(pid).ppid()
        names = {Path(f"/proc/{one}/comm").read_text().strip() for one in (pid, parent)}
    except (OSError, psutil.Error):
        return False
    return SPARE_NAME not in names and names != {"pods-launcher"}


@contextlib.contextmanager
def open_door() -> Generator[Door]:
    """A door of one's own; at the end everything is down and gone."""
    with short_directory() as directory:
        door = Door(directory)
        try:
            yield door
        finally:
            door.down()


@contextlib.contextmanager
def nothing_more(door: Door) -> Generator[Account]:
    """Whatever happens in the block, afterwards there is what was there before."""
    before = door.account()
    yield before
    assert door.account() == before


class Wire:
    """One raw connection: lines of any kind out, JSON lines in."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WAIT_SECONDS)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are; a peer that hangs up meanwhile may have said why before."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def ask(self, method: str, **params: Any) -> Any:
        """One request; the whole answer comes back."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self.send(json.dumps(request).encode() + b"\n")
        return self.line()

    def hello(self, token: str) -> Any:
        """Say hello."""
        return self.ask("hello", token=token, protocol=1, client="test")

    def line(self) -> Any:
        """The next answer; None where the other side has hung up."""
        with contextlib.suppress(ConnectionResetError):
            while line := self._file.readline():
                message = json.loads(line)
                if "method" not in message:  # notifications are not for who asks
                    return message
        return None


def code_of(answer: Any) -> str:
    """The stable code of an error answer."""
    return str(answer["error"]["data"]["code"])


class Terminal:
    """A command on a pseudo-terminal of its own, which is its controlling terminal."""

    def __init__(self, argv: list[str], environ: dict[str, str], cwd: str) -> None:
        self.seen = ""
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, 120))
        self.process = subprocess.Popen(
            # `setsid -c` makes the terminal the session's, so that Ctrl-C comes as a signal.
            ["setsid", "-c", "-w", *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environ, "TERM": "xterm-256color"},
            cwd=cwd,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """As if a person typed it; `\\x03` is Ctrl-C."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> str:
        """Everything seen up to the moment at which `text` is among it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.seen:
            assert self._take(deadline), f"{text!r} never came: {self.seen!r}"
        return self.seen

    def wait_end(self) -> int:
        """The exit code, once the command has ended and all that it said is taken."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._take(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _take(self, deadline: float) -> bool:
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self._master], [], [], left)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


def runs_in(directory: str) -> list[str]:
    """Processes whose runtime directory is this one."""
    return processes_of({"PODS_RUNTIME_DIR": directory})
