"""A model endpoint that speaks by a script: for tests of agents, on the loopback interface alone.

Owns the sockets: HTTP/1.1 in threads of its own, so that it serves agents in this process and in
others alike. What is said is `model_script`'s, in which words `model_answers`'s. All four dialects
are served at one address; whatever comes before `/messages`, `/chat/completions`, `/responses` or
`/models/NAME:generateContent` in a path does not matter. Any key is taken, and recorded.

    with ModelEndpoint([{"text": "hello"}]) as endpoint:
        ...  # an agent that is told endpoint.url
        assert endpoint.requests[0].asked.users == ("hi",)

As a command: `python tests/support/model_endpoint.py --script FILE [--port N] [--record FILE]`
prints its address and serves until it is ended; FILE is the script as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, TypeAlias, cast

from attrs import frozen

from model_answers import write_answer, write_error, write_failure, write_stream
from model_requests import Json, dialect_of, read_request
from model_script import Answer, Asked, ModelScript

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Of one request: more than any context window takes."""

WAIT_SECONDS: Final = 30.0
"""For a request that a test waits for."""


Script: TypeAlias = Sequence[Mapping[str, Any]]


@frozen(kw_only=True)
class Recorded:
    """One request, and what it was answered; `asked` is None where it asked for no words."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Json
    asked: Asked | None = None
    answer: Answer | None = None

    def as_json(self) -> Json:
        """The request as a line of a record."""
        answer = self.answer
        return {
            "method": self.method,
            "path": self.path,
            "headers": dict(self.headers),
            "body": self.body,
            "answered": None if answer is None else answer.kind,
            "text": None if answer is None else answer.text,
            "calls": [] if answer is None else [call.tool.name for call in answer.calls],
        }


class ModelEndpoint:
    """A scripted model at an address; use it with `with`.

    Args:
        script: see `model_script`; a function makes it when the first model is asked, for a script
            that has to know what is there by then.
        port: of 127.0.0.1; 0 is a free one.
        on_request: called with each request, in the thread that serves it.

    Attributes:
        requests: what came so far, oldest first, also what no model was asked.
    """

    def __init__(
        self,
        script: Script | Callable[[], Script],
        *,
        port: int = 0,
        on_request: Callable[[Recorded], None] | None = None,
    ) -> None:
        self.requests: list[Recorded] = []
        self._make = script
        self._made: ModelScript | None = None
        self._changed = threading.Condition()
        self._on_request = on_request
        self._connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._server.serve_until_stopped, name="model endpoint"
        )

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def _script(self) -> ModelScript:
        if self._made is None:
            self._made = ModelScript.of(self._make() if callable(self._make) else self._make)
        return self._made

    @property
    def problems(self) -> list[str]:
        """What did not go by the script so far."""
        with self._changed:
            return list(self._script.problems)

    @property
    def left(self) -> int:
        """Steps of the script that are still to come."""
        with self._changed:
            return self._script.left

    @property
    def asked(self) -> list[Asked]:
        """The requests that used up steps of the script, oldest first."""
        with self._changed:
            return [
                one.asked
                for one in self.requests
                if one.asked is not None and one.answer is not None and one.answer.kind == "step"
            ]

    def wait_for(self, count: int, seconds: float = WAIT_SECONDS) -> None:
        """Block until so many steps were asked for; AssertionError when the time is over."""
        with self._changed:
            come = self._changed.wait_for(lambda: len(self.asked) >= count, seconds)
        assert come, f"{len(self.asked)} of {count} requests came within {seconds} s"

    def __enter__(self) -> ModelEndpoint:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop_accepting()
        self._thread.join(WAIT_SECONDS)
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def serve(self) -> None:
        """Serve in this thread, until it is interrupted."""
        self._server.serve_until_stopped()

    # For the handlers ----------------------------------------------------------------------------

    def connected(self, connection: socket.socket) -> None:
        """A caller has come."""
        with self._changed:
            self._connections.add(connection)

    def disconnected(self, connection: socket.socket) -> None:
        """A caller has gone."""
        with self._changed:
            self._connections.discard(connection)

    def take(self, method: str, path: str, headers: Mapping[str, str], body: Json) -> Recorded:
        """Record a request and decide on its answer."""
        dialect = dialect_of(path) if method == "POST" else None
        with self._changed:
            asked = None if dialect is None else read_request(dialect, path, body)
            answer = None if asked is None else self._script.answer(asked)
            recorded = Recorded(
                method=method, path=path, headers=headers, body=body, asked=asked, answer=answer
            )
            self.requests.append(recorded)
            self._changed.notify_all()
        if self._on_request is not None:
            self._on_request(recorded)
        return recorded


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # they end when their connections do, and are joined
    block_on_close = True

    def __init__(self, address: tuple[str, int], endpoint: ModelEndpoint) -> None:
        self.endpoint = endpoint
        super().__init__(address, _Handler)

    def serve_until_stopped(self) -> None:
        """Accept until `stop_accepting`: `serve_forever` would look for its end by the clock."""
        while True:
            try:
                connection, address = self.get_request()
            except OSError:
                return
            # Here, and not in its thread: who stops us hangs up on all that were accepted.
            self.endpoint.connected(connection)
            self.process_request(connection, address)

    def stop_accepting(self) -> None:
        """Wakes the accept with an error."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up in the middle is no error: agents are cancelled."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # each small event would wait for an acknowledgement

    @property
    def endpoint(self) -> ModelEndpoint:
        """Whose script it is."""
        return cast("_Server", self.server).endpoint

    def finish(self) -> None:
        self.endpoint.disconnected(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's
        """Say nothing: the record has it."""

    def do_HEAD(self) -> None:
        """Agents look whether somebody is there."""
        self._take({})
        self._whole(200, {})

    def do_GET(self) -> None:
        """Lists of models: there are none by name, every name is taken."""
        self._take({})
        self._whole(200, {"object": "list", "data": [], "models": []})

    def do_POST(self) -> None:
        """The model."""
        recorded = self._take(self._body())
        asked, answer = recorded.asked, recorded.answer
        if asked is None or answer is None:
            counts = {"input_tokens": 1, "totalTokens": 1}
            known = "count" in self.path.lower()
            self._whole(200 if known else 404, counts if known else write_error(None, 404))
        elif answer.error is not None:
            retry = {} if answer.retry_after is None else {"retry-after": f"{answer.retry_after:g}"}
            self._whole(answer.error, write_error(asked.dialect, answer.error, answer.words), retry)
        elif asked.stream:
            self._stream(asked, answer)
        elif answer.ending == "hold":
            self.rfile.read(1)
        else:
            self._whole(200, write_answer(asked, answer), cut=answer.ending != "whole")

    def _take(self, body: Json) -> Recorded:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return self.endpoint.take(self.command, self.path, headers, body)

    def _body(self) -> Json:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(min(int(self.headers.get("content-length", 0)), MAX_BODY_BYTES))
        try:
            body: object = json.loads(data or b"{}")
        except ValueError:
            body = None
        return (
            cast("Json", body)
            if isinstance(body, dict)
            else {"unreadable": data.decode("utf-8", "replace")}
        )

    def _whole(
        self,
        status: int,
        body: Json,
        headers: Mapping[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    def _stream(self, asked: Asked, answer: Answer) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        events = write_stream(asked, answer)
        if answer.ending != "whole":
            # Up to the middle of what is said, however few events that takes.
            events = events[: max(len(events) // 2, 1)]
        for event in events:
            self._chunk(event)
        match answer.ending:
            case "whole":
                self._chunk(b"")
            case "fail":
                self._chunk(write_failure(asked.dialect, answer.words))
                self._chunk(b"")
            case "cut":
                self.close_connection = True
            case "hold":
                self.rfile.read(1)  # returns when the caller, or the endpoint, has hung up
                self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def main(words: Sequence[str]) -> None:
    """Serve a script from a file."""
    parser = argparse.ArgumentParser(description="A model endpoint that speaks by a script.")
    parser.add_argument("--script", required=True, help="JSON: see tests/support/model_script.py")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; default: a free one")
    parser.add_argument("--record", help="write each request there, a line each")
    given = parser.parse_args(words)
    with open(given.script) as file:
        script = json.load(file)
    with contextlib.ExitStack() as stack:
        record = stack.enter_context(open(given.record, "a")) if given.record else None

        def write(recorded: Recorded) -> None:
            if record is not None:
                record.write(f"{json.dumps(recorded.as_json())}\n")
                record.flush()

        endpoint = ModelEndpoint(script, port=given.port, on_request=write)
        print(endpoint.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            endpoint.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
