"""`pods mcp` behind HTTP, for programs of others that try servers over HTTP alone.

Owns the translation: each MCP session is one `pods mcp` with its two pipes, and a request is one
line. Of Streamable HTTP it has what a client must find: a session id with the first answer, 202 for
notifications, 405 for the stream that a server need not have, 403 for a host or an origin of
elsewhere. Listens on the loopback interface. Used by `tests/interop`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Generator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast
from urllib.parse import urlsplit

SESSION: Final = "mcp-session-id"
HERE: Final = ("127.0.0.1", "localhost")
ANSWER_SECONDS: Final = 50.0
"""As long as a tool may take."""


class _Session:
    """One server's pipes; answers go to who asked, whatever order they come in."""

    def __init__(self, argv: Sequence[str], environ: dict[str, str], cwd: str) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, cwd=cwd
        )
        self._answers: dict[Any, Any] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="pods mcp")
        self._thread.start()

    def ask(self, message: Any) -> Any:
        """The answer to a request; None for a notification."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()
        if "id" not in message:
            return None
        with self._changed:
            came = self._changed.wait_for(lambda: message["id"] in self._answers, ANSWER_SECONDS)
            assert came, message
            return self._answers.pop(message["id"])

    def close(self) -> None:
        """Hang up and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(ANSWER_SECONDS)
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._changed:
                self._answers[answer.get("id")] = answer
                self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = False  # clients keep connections open; they end with the client

    def __init__(self, argv: Sequence[str], environ: dict[str, str], cwd: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._start = (argv, environ, cwd)
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def session(self, name: str | None) -> tuple[str, _Session]:
        """The session of that name, or a new one."""
        with self._lock:
            if name not in self._sessions:
                name = f"session-{len(self._sessions)}"
                self._sessions[name] = _Session(*self._start)
            assert name is not None
            return name, self._sessions[name]

    def end_sessions(self) -> None:
        """Hang all of them up."""
        for session in self._sessions.values():
            session.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's
        """Say nothing."""

    def do_GET(self) -> None:
        """A stream of what the server says unasked: there is none."""
        self._answer(405)

    def do_DELETE(self) -> None:
        """The end of a session: it ends with us."""
        self._answer(200)

    def do_POST(self) -> None:
        """One message."""
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        origin = self.headers.get("origin")
        hosts = [self.headers.get("host", "").rpartition(":")[0]]
        hosts += [] if origin is None else [urlsplit(origin).hostname or ""]
        if not all(host in HERE for host in hosts):
            self._answer(403)
            return
        name, session = cast("_Server", self.server).session(self.headers.get(SESSION))
        answer = session.ask(json.loads(data))
        self._answer(202 if answer is None else 200, answer, **{SESSION: name})

    def _answer(self, code: int, message: Any = None, **headers: str) -> None:
        data = b"" if message is None else json.dumps(message).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def served_over_http(argv: Sequence[str], environ: dict[str, str], cwd: str) -> Generator[str]:
    """Serve a command that speaks MCP on its standard streams; the address."""
    server = _Server(argv, environ, cwd)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.end_sessions()
