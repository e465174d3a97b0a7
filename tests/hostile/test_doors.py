"""Network, Unix sockets and terminals, tried by real pods that were spawned with each open or not.

The rows are in `hostile_doors`; the second table in `pods/README.md` is written from them.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from confined import in_child, outcome
from hostile_doors import DOOR_ATTEMPTS, WAYS, answers_of, door_table
from pods.keeper.confined import read_enforcement
from pods.scope.landlock import abi_version
from pods.scope.network import enter_loopback
from pods_protocol.values import ScopeGrant, ScopeRule
from process_support import RunningLauncher, ended, running_launcher

pytestmark = pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6")

ROOT = Path(__file__).parents[2]
BACKLOG = 64


class Outside:
    """A launcher, and what answers outside of its pods."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        environ = {
            **os.environ,
            "PODS_RUNTIME_DIR": f"{directory}/r",
            "PODS_STATE_DIR": f"{directory}/s",
            "PYTHONPATH": os.pathsep.join(
                str(ROOT / room) for room in ("pods", "protocol", "tools", "tests/support")
            ),
        }
        self.launcher: RunningLauncher = stack.enter_context(running_launcher(environ))
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=BACKLOG))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        stream = stack.enter_context(socket.socket(socket.AF_UNIX))
        stream.bind(f"{directory}/stream")
        stream.listen(BACKLOG)
        datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagram.bind(f"{directory}/datagram")
        self._master, slave = pty.openpty()
        stack.callback(os.close, self._master)
        stack.callback(os.close, slave)
        self.ground = {
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "stream": f"{directory}/stream",
            "datagram": f"{directory}/datagram",
            "terminal": os.ttyname(slave),
            "launcher": self.launcher.pid,
        }
        answering = threading.Thread(target=_answer, args=(udp,))
        answering.start()
        stack.callback(answering.join)
        stack.callback(udp.sendto, b"", udp.getsockname())

    def ask(self, way: str) -> list[str]:
        """What a pod that was spawned in this way was answered, row by row."""
        work = self.directory / f"w{secrets.token_hex(2)}"
        work.mkdir()
        doors = WAYS[way]
        with self.launcher.connect() as client:
            spec = self.launcher.spec(
                "doors",
                grant=ScopeGrant(allow=(ScopeRule(target=str(work), permission="write"),)),
                enforce="available",
                doors=doors,
                options={"way": way, "ground": self.ground},
            )
            self.launcher.launch(client, spec)
            ended(client, spec)
        journal = Path(spec.state_directory, "journal", "answers")
        assert journal.exists(), Path(spec.state_directory, "stderr.log").read_text()
        record = read_enforcement(spec.state_directory)
        assert record is not None
        held = (record.network, record.unix_sockets, record.pty)
        assert held == (doors.network, doors.unix_sockets, doors.pty)
        answers: list[str] = json.loads(journal.read_text())
        return answers


def _answer(udp: socket.socket) -> None:
    """Send every datagram back; an empty one ends it."""
    while True:
        data, sender = udp.recvfrom(16)
        if not data:
            return
        udp.sendto(data, sender)


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    directory = Path("/tmp", f"pt-{secrets.token_hex(4)}")
    directory.mkdir(0o700)
    try:
        with ExitStack() as stack:
            yield Outside(directory, stack)
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("way", WAYS)
def test_every_door_is_as_promised(outside: Outside, way: str) -> None:
    if "loopback" in way and in_child(lambda: outcome(enter_loopback)) != "ok":
        pytest.skip("this machine lets us have no network of our own")
    told = outside.ask(way)
    wrong = {
        attempt.what: (answer, promised)
        for attempt, answer, promised in zip(DOOR_ATTEMPTS, told, answers_of(way), strict=True)
        if promised and answer not in promised
    }
    assert wrong == {}


def test_the_table_of_the_readme_is_what_was_tried() -> None:
    readme = (ROOT / "pods/README.md").read_text()
    assert door_table() in readme, "run: python tests/hostile/write_table.py"
