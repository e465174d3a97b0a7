"""A small supervisor and pod for the tests of client and command line.

A thread per connection on a real Unix socket, plain JSON lines, answers from a dictionary: no code
of ours but the error table, so that a fault in our framing cannot cancel itself out.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from pods.client.address import find_address
from pods_protocol.errors import NotAuthorized, PodsError, UnknownMethod, error_to_wire

Json = dict[str, Any]
Answer = Callable[["Peer", Json], Any]

TOKEN = "t" * 64
NOBODY = 1 << 30
"""No process has this pid."""


class Peer:
    """One connection as the server sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()

    def send(self, message: Json) -> None:
        """Send one line."""
        with self._lock:
            self.sock.sendall(json.dumps(message).encode() + b"\n")

    def event(self, *events: Json) -> None:
        """Send event notifications, all in one piece."""
        lines = [json.dumps({"jsonrpc": "2.0", "method": "event", "params": one}) for one in events]
        with self._lock:
            self.sock.sendall("".join(line + "\n" for line in lines).encode())


class HangUp(Exception):
    """Raised by an answer: close the connection without one."""


class FakeServer:
    """Serves `answers` at `path` and notes every request in `requests`."""

    def __init__(self, path: str, *, server: str = "supervisor", name: str = "default") -> None:
        self.path = path
        self.requests: list[tuple[str, Json]] = []
        self.answers: dict[str, Answer] = {}
        self._hello = {
            "protocol": 1,
            "server": server,
            "version": "0",
            "name": name,
            "id": "0123456789ab",
            "pid": NOBODY,
        }
        self._peers: list[Peer] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def params_of(self, method: str) -> list[Json]:
        """The fields of each request of that method."""
        return [params for name, params in self.requests if name == method]

    def hang_up(self) -> None:
        """Close every connection that is open now."""
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop serving; every thread has ended on return."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()  # first: now `hang_up` knows every peer that will ever be
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(sock)
            self._peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        with peer.sock, contextlib.suppress(OSError, HangUp):
            for line in peer.sock.makefile("rb"):
                request: Json = json.loads(line)
                method, params = request["method"], request["params"]
                self.requests.append((method, params))
                peer.send({"jsonrpc": "2.0", "id": request["id"], **self._answer(peer, request)})
                after = self.answers.get(f"after {method}")
                if after is not None:
                    after(peer, params)

    def _answer(self, peer: Peer, request: Json) -> Json:
        method, params = request["method"], request["params"]
        try:
            if method == "hello":
                if params["token"] != TOKEN:
                    raise NotAuthorized("cannot say hello: a wrong token; ask the owner")
                return {"result": self._hello}
            if method not in self.answers:
                raise UnknownMethod(f"cannot answer {method}: no such method", method=method)
            return {"result": self.answers[method](peer, params)}
        except PodsError as error:
            return {"error": error_to_wire(error)}


def always(answer: Any) -> Answer:
    """Answers the same whatever is asked; an exception is raised."""

    def give(_peer: Peer, _params: Json) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return give


def event(seq: int, kind: str, *, turn: int | None = 1, **data: Any) -> Json:
    """One event as it goes over the wire."""
    return {"seq": seq, "time": 1000.0 + seq, "turn": turn, "type": kind, "data": data}


def pod_info(name: str = "api", **changes: Any) -> Json:
    """A row of `list`."""
    row: Json = {
        "id": f"id{name}"[:12].ljust(12, "0"),
        "name": name,
        "agent": "shell",
        "state": "idle",
        "parent": None,
        "parent_id": None,
        "depth": 1,
        "children": 0,
        "description": "",
        "cwd": "/src",
        "scope": {
            "allow": [{"target": f"/src/{name}", "permission": "write", "recursive": True}],
            "deny": [],
            "delegable": [],
        },
        "enforcement": {"backend": "landlock", "summary": "landlock", "gaps": [], "reason": ""},
        "turn": None,
        "turn_started": None,
        "queue_length": 0,
        "waiting_for": None,
        "last_turn": None,
        "last_seq": 4,
        "unread": 0,
        "pid": 4711,
        "created": 1000.0,
        "ended": None,
        "exit": None,
        "on_parent_exit": "keep",
        "memory_bytes": 5_500_000,
        "journal": "/state/journal",
    }
    return {**row, **changes}


def capacity() -> Json:
    """The room that is left."""
    return {
        "depth": 0,
        "depth_limit": 3,
        "children": 1,
        "children_limit": 8,
        "pods": 1,
        "pods_limit": 1000,
    }


def spawned(world: World, **changes: Any) -> Json:
    """An answer to `spawn` by that world's pod."""
    answer: Json = {
        "pod": pod_info(),
        "socket": world.pod.path,
        "token": TOKEN,
        "message": None,
        "enforcement": pod_info()["enforcement"],
        "capacity": capacity(),
    }
    return {**answer, **changes}


def read_page(events: list[Json], *, pod: str = "api", **changes: Any) -> Json:
    """An answer to `read`."""
    last = events[-1]["seq"] if events else 0
    page: Json = {
        "pod": pod,
        "id": "idapi0000000",
        "events": events,
        "next": last,
        "last_seq": last,
        "truncated": False,
        "state": "idle",
        "last_turn": None,
    }
    return {**page, **changes}


def stop_result(pod: str = "api", **changes: Any) -> Json:
    """An answer to `stop`."""
    answer: Json = {
        "pod": pod,
        "previous_state": "idle",
        "state": "stopped",
        "step": "shutdown",
        "stopped_descendants": [],
        "released": [{"target": f"/src/{pod}", "permission": "write", "recursive": True}],
        "seconds": 0.1,
    }
    return {**answer, **changes}


def pod_status(**changes: Any) -> Json:
    """An answer to a pod's `status`."""
    status: Json = {
        "state": "idle",
        "turn": None,
        "turn_started": None,
        "queue": [],
        "questions": [],
        "last_seq": 4,
        "last_turn": None,
    }
    return {**status, **changes}


class World:
    """A fake supervisor where the command line looks for one, and a fake pod `api`."""

    def __init__(self, directory: str) -> None:
        self.environ = {
            "PODS_RUNTIME_DIR": f"{directory}/r",
            "PODS_STATE_DIR": f"{directory}/s",
        }
        address = find_address(self.environ)
        Path(address.socket).parent.mkdir(parents=True, mode=0o700)
        Path(address.token_file).write_text(TOKEN + "\n")
        self.supervisor = FakeServer(address.socket)
        self.pod = FakeServer(f"{directory}/pod.sock", server="pod", name="api")
        self.supervisor.answers["connect"] = always(
            {"id": "idapi0000000", "name": "api", "socket": self.pod.path, "token": TOKEN}
        )
        self.pod.answers["status"] = always(pod_status())

    def close(self) -> None:
        """Stop both."""
        self.supervisor.close()
        self.pod.close()


@contextlib.contextmanager
def world(directory: str, monkeypatch: pytest.MonkeyPatch) -> Generator[World, None, None]:
    """A world that this process's environment points at."""
    made = World(directory)
    try:
        for name in ("PODS_SOCKET", "PODS_TOKEN_FILE", "PODS_SUPERVISOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in made.environ.items():
            monkeypatch.setenv(name, value)
        yield made
    finally:
        made.close()
