"""Real launchers for tests of launcher and keeper (pods: `pod_lives`), and a blocking client."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TypeVar

import pod_lives
from pods.paths import SupervisorPlaces, places_from
from pods.rpc.unix import ensure_private_directory, write_private_file
from pods_protocol.api import KEEPER_API, LAUNCHER_API, Api
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.connection import (
    NEED_DATA,
    Connection,
    ConnectionClosed,
    ErrorReceived,
    NotificationReceived,
    ResultReceived,
)
from pods_protocol.pod_messages import Hello, HelloResult, Request
from pods_protocol.process_messages import (
    KeeperEnded,
    KillKeeper,
    LaunchPod,
    LaunchPodResult,
    ListKeepers,
    PodSpec,
    ShutdownLauncher,
)
from pods_protocol.values import Limits, ScopeGrant

R = TypeVar("R")

WAIT_SECONDS = 30.0
"""Every wait in these tests; the machine is shared, and a fault shows as a named failure."""

NAME = "test"
TOKEN = "the-token-of-the-owner"


class PeerClosed(Exception):
    """The server ended the connection."""


class BlockingClient:
    """One connection that says hello and asks; notifications are kept."""

    def __init__(self, path: str, api: Api, token: str = TOKEN) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_SECONDS)
        self.connection = Connection("client", api)
        self.notifications: list[Any] = []
        try:
            self.sock.connect(path)
            self.hello: HelloResult = self.ask(Hello(token=token, protocol=PROTOCOL_VERSION))
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def ask(self, message: Request[R]) -> R:
        """Ask and wait for the answer; raises the error that comes instead."""
        request_id, line = self.connection.send_request(message)
        self.sock.sendall(line)
        while True:
            event = self._next()
            if isinstance(event, ResultReceived) and event.request_id == request_id:
                result: R = event.result
                return result
            if isinstance(event, ErrorReceived):
                raise event.error

    def wait_notification(self) -> Any:
        """The next notification."""
        while not self.notifications:
            self._next()
        return self.notifications.pop(0)

    def wait_end(self) -> None:
        """Wait until the server closes the connection."""
        with contextlib.suppress(PeerClosed):
            while True:
                self._next()

    def _next(self) -> Any:
        while True:
            event = self.connection.next_event()
            if event is NEED_DATA:
                try:
                    data = self.sock.recv(65536)
                except ConnectionResetError:
                    data = b""
                self.connection.receive_data(data)
                continue
            if isinstance(event, ConnectionClosed):
                raise PeerClosed
            if isinstance(event, NotificationReceived):
                self.notifications.append(event.params)
            return event


class RunningLauncher:
    """A launcher in a process of its own, with directories of its own."""

    def __init__(self, environ: dict[str, str], *, command: list[str] | None = None) -> None:
        self.environ = environ
        self.places: SupervisorPlaces = places_from(environ, os.getuid()).supervisor(NAME)
        ensure_private_directory(self.places.places.runtime)
        ensure_private_directory(self.places.runtime)
        ensure_private_directory(self.places.state)
        write_private_file(self.places.owner_token, TOKEN.encode())
        self._ids = itertools.count(1)
        reader, writer = os.pipe()
        self.process = subprocess.Popen(
            [
                *(command or [sys.executable, "-P", pod_lives.__file__]),
                "--name", NAME, "--ready-fd", str(writer), "--log", self.places.log,
            ],
            env=environ,
            pass_fds=(writer,),
            start_new_session=True,
        )  # fmt: skip
        os.close(writer)
        try:
            with open(reader, "rb", buffering=0) as pipe:
                assert select.select([pipe], [], [], WAIT_SECONDS)[0], "the launcher says nothing"
                assert pipe.read(64) == b"ready\n", self.log()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """What the launcher wrote."""
        with contextlib.suppress(FileNotFoundError), open(self.places.log) as file:
            return file.read()
        return ""

    def connect(self, token: str = TOKEN) -> BlockingClient:
        return BlockingClient(self.places.launcher_socket, LAUNCHER_API, token)

    def connect_keeper(self, spec: PodSpec, token: str = TOKEN) -> BlockingClient:
        return BlockingClient(spec.keeper_socket, KEEPER_API, token)

    def spec(self, do: str = "serve", **changes: Any) -> PodSpec:
        """A spec whose pod does `do`; every one has an id of its own."""
        pod_id = f"{next(self._ids):012x}"
        values: dict[str, Any] = {
            "id": pod_id,
            "name": f"pod{pod_id[-3:]}",
            "agent": "test",
            "options": {"do": do, **changes.pop("options", {})},
            "parent": None,
            "cwd": "/",
            "limits": Limits(),
            "grant": ScopeGrant(),
            "python": None,
            "call_back": False,
            "supervisor": NAME,
            "supervisor_socket": self.places.socket,
            "pod_socket": self.places.pod_socket(pod_id),
            "keeper_socket": self.places.keeper_socket(pod_id),
            "state_directory": self.places.places.pod_state(pod_id),
            "runtime_directory": self.places.pod_runtime(pod_id),
            "token": "the-token-of-the-pod",
            "owner_digest": hashlib.sha256(TOKEN.encode()).hexdigest(),
        }
        return PodSpec(**{**values, **changes})

    def launch(self, client: BlockingClient, spec: PodSpec) -> LaunchPodResult:
        return client.ask(LaunchPod(spec=spec))

    def close(self) -> None:
        """End it politely; one that does not end is killed, and the test fails."""
        if self.process.poll() is None:
            with contextlib.suppress(OSError, PeerClosed), self.connect() as client:
                client.ask(ShutdownLauncher())
        try:
            self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextlib.contextmanager
def running_launcher(environ: dict[str, str], **extra: str) -> Generator[RunningLauncher]:
    """A launcher for one test; what its pods did not end is killed through their keepers."""
    launcher = RunningLauncher({**environ, **extra})
    try:
        yield launcher
    finally:
        end_keepers(launcher)
        launcher.close()


def end_keepers(launcher: RunningLauncher) -> None:
    """Kill the keepers that live, and wait until the launcher says that nothing is left."""
    if launcher.process.poll() is not None:
        return
    with contextlib.suppress(FileNotFoundError, PeerClosed), launcher.connect() as client:
        living = client.ask(ListKeepers()).keepers
        for pid in living.values():
            with contextlib.suppress(Exception):
                client.ask(KillKeeper(pid=pid))
        wait_for(lambda: not client.ask(ListKeepers()).keepers, "the keepers do not end")


def ended(client: BlockingClient, spec: PodSpec) -> KeeperEnded:
    """Wait for the end of a pod's keeper."""
    while True:
        end: KeeperEnded = client.wait_notification()
        if end.id == spec.id:
            return end


def wait_for(condition: Callable[[], object], why: str) -> None:
    """Wait for what nobody announces (`/proc`); bounded, and short between two looks."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.002)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def state_of(pid: int) -> str:
    """The letter of a process's state."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def descriptors_of(pid: int) -> dict[int, str]:
    """Descriptor -> what it is, of any process."""
    found: dict[int, str] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def ask_pod(spec: PodSpec) -> dict[str, Any]:
    """What a pod that serves says of itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(WAIT_SECONDS)
        sock.connect(spec.pod_socket)
        with sock.makefile("rb") as file:
            told: dict[str, Any] = json.loads(file.readline())
            return told
