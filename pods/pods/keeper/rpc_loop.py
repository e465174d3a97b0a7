"""A small server of JSON-RPC lines on one `poll`: one thread, no event loop library, never blocked.

Owns a listening socket's clients from accept to close: who they are, the hello deadline, bounded
buffers both ways. A client that misbehaves loses its connection and nothing else; one that does not
read is not waited for (BASELINES.md 7.1). Knows no method's meaning: plain functions are passed in.
Used by the keeper and the launcher, which must stay as small and as dull as they can.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import os
import select
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from pods.descriptors import OVERLOAD, is_out_of_descriptors, no_descriptors
from pods.rpc.unix import no_hello, peer_credentials
from pods_protocol.api import Api
from pods_protocol.bounds import HELLO_SECONDS, PROTOCOL_VERSION
from pods_protocol.connection import (
    NEED_DATA,
    BadRequest,
    Connection,
    ConnectionClosed,
    RequestReceived,
)
from pods_protocol.errors import (
    InternalError,
    NotAuthorized,
    PodsError,
    TooLarge,
    UnsupportedProtocol,
)
from pods_protocol.pod_messages import Hello, HelloResult
from pods_protocol.states import State

MAX_CONNECTIONS: Final = 32
"""Clients of one socket at once. One supervisor uses one; the rest is for its successor and for
strangers of the same user, who get no further than hello."""

MAX_OUTBOX_BYTES: Final = 1024 * 1024
"""What may wait for one client. Its requests are not read while its answers wait, so only
notifications grow it: 1 MiB is ten thousand of them, after which nobody reads there."""

READ_BYTES: Final = 64 * 1024
"""Taken from a socket at once."""

EVENTS_PER_TURN: Final = 8
"""Requests of one client in a row; a launch takes milliseconds, and others wait meanwhile."""

ACCEPTS_PER_TURN: Final = 16
"""Connections taken in a row, for the same reason."""

ACCEPT_PAUSE_SECONDS: Final = 0.1
"""After the system ran out of descriptors: time for others to close some."""

FAREWELL_SECONDS: Final = 1.0
"""Time for the last answer to leave before a connection is closed on its peer."""

Handler = Callable[[Any], object]
Log = Callable[[str], None]


def digest_of(token: str) -> str:
    """The hex SHA-256 of a token: enough to recognise it, useless to somebody who finds it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class HasFileno(Protocol):
    """Something that a `poll` can wait for."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...


class Client:
    """One connection; `deadline` is when it is dropped, in the clock of `time.monotonic`."""

    __slots__ = ("connection", "deadline", "ending", "greeted", "outbox", "sock", "uid")

    def __init__(
        self, sock: socket.socket, connection: Connection, uid: int, deadline: float
    ) -> None:
        self.sock = sock
        self.connection = connection
        self.uid = uid
        self.deadline: float | None = deadline
        self.outbox = bytearray()
        self.ending = False
        self.greeted = False


class RpcLoop:
    """The server; its owner calls `turn` until it has had enough, then `close`.

    Args:
        listener: bound and listening; made non-blocking, closed by `close`.
        api: the methods of this kind of socket.
        owner_digest: hex SHA-256 of the token that commands here.
        identity: the answer to a good hello.
        handlers: wire name -> what answers it, at once.
        log: takes the traceback of a handler's bug.
        greeted: is told each client after its hello was answered.
        hello_seconds: how long a client may take to say hello.
    """

    def __init__(
        self,
        listener: socket.socket,
        api: Api,
        *,
        owner_digest: str,
        identity: HelloResult,
        handlers: Mapping[str, Handler],
        log: Log,
        greeted: Callable[[Client], None] | None = None,
        hello_seconds: float = HELLO_SECONDS,
    ) -> None:
        self._listener = listener
        self._api = api
        self._owner_digest = owner_digest
        self._identity = identity
        self._handlers = handlers
        self._log = log
        self._greeted = greeted
        self._hello_seconds = hello_seconds
        self._clients: dict[int, Client] = {}
        self._unfinished: set[Client] = set()
        self._accept_again: float | None = None
        # Not `selectors`: to make one costs a forked keeper a hundred copied pages, and a few dozen
        # descriptors are no less quickly looked through than asked for one by one.
        self._poll = select.poll()
        self._watched: dict[int, Client | Callable[[], None]] = {}
        listener.setblocking(False)
        self._watch(listener, self._accept)

    @property
    def clients(self) -> int:
        """How many are connected, greeted or not."""
        return len(self._clients)

    @property
    def unsent(self) -> bool:
        """Whether something waits for a client to read."""
        return any(client.outbox for client in self._clients.values())

    def watch(self, readable: HasFileno, callback: Callable[[], None]) -> None:
        """Call back in a turn in which it can be read, or has an error or an end to tell."""
        self._watch(readable, callback)

    def forget(self, readable: HasFileno) -> None:
        """Watch no longer what `watch` was given."""
        self._unwatch(readable)

    def _watch(self, readable: HasFileno, who: Client | Callable[[], None]) -> None:
        self._poll.register(readable, select.POLLIN)
        self._watched[readable.fileno()] = who

    def _unwatch(self, readable: HasFileno) -> None:
        self._poll.unregister(readable)
        del self._watched[readable.fileno()]

    def turn(self, deadline: float | None = None) -> bool:
        """Wait until something happens, and deal with it; returns whether there was anything.

        Args:
            deadline: of the owner, in the clock of `time.monotonic`; the turn ends then.
        """
        told = self._poll.poll(self._wait(deadline))
        ready = [(self._watched[descriptor], event) for descriptor, event in told]
        # What the owner watches comes first: a client that has just been served may stand before a
        # signal that came while it was, and the client's next request is asked after the signal.
        ready.sort(key=lambda one: isinstance(one[0], Client))
        for who, event in ready:
            if not isinstance(who, Client):
                who()
            elif who.sock.fileno() >= 0:  # it may have been dropped by the one before it
                self._serve(who, event)
        if self._unfinished:
            for client in tuple(self._unfinished):
                self._process(client)
        self._expire()
        return bool(ready or self._unfinished)

    def notify(self, method: str, params: object) -> None:
        """Tell every client that has said hello."""
        for client in tuple(self._clients.values()):
            self.notify_one(client, method, params)

    def notify_one(self, client: Client, method: str, params: object) -> None:
        """Tell one client, if it has said hello and still listens."""
        if client.greeted and not client.ending and client.connection.state is State.READY:
            self._send(client, client.connection.send_notification(method, params))

    def close(self) -> None:
        """Close every socket of this server; the listener's path is its owner's to unlink."""
        for client in tuple(self._clients.values()):
            self._drop(client)
        self._listener.close()

    def _wait(self, deadline: float | None) -> int | None:
        """Milliseconds until something is due, never too few; None is for ever."""
        if self._unfinished:
            return 0
        deadlines = [client.deadline for client in self._clients.values()]
        deadlines += (deadline, self._accept_again)
        known = [moment for moment in deadlines if moment is not None]
        return max(0, math.ceil((min(known) - time.monotonic()) * 1000)) if known else None

    def _expire(self) -> None:
        now = time.monotonic()
        for client in tuple(self._clients.values()):
            if client.deadline is None or client.deadline > now:
                continue
            if client.greeted or client.ending:
                self._drop(client)
            else:
                error = no_hello(self._hello_seconds)
                self._send(client, client.connection.send_error(None, error))
                self._end(client)
        if self._accept_again is not None and self._accept_again <= now:
            self._accept_again = None
            self._watch(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in OVERLOAD:
                    raise
                # The listener stays readable: without the pause this would be a busy loop.
                self._unwatch(self._listener)
                self._accept_again = time.monotonic() + ACCEPT_PAUSE_SECONDS
                return
            if len(self._clients) >= MAX_CONNECTIONS:
                sock.close()
                continue
            sock.setblocking(False)
            client = Client(
                sock,
                Connection("server", self._api),
                peer_credentials(sock)[1],
                time.monotonic() + self._hello_seconds,
            )
            self._clients[sock.fileno()] = client
            self._watch(sock, client)

    def _serve(self, client: Client, event: int) -> None:
        # An error or the other end's going is told whatever was asked for: both find out. To write
        # where nothing waits would drop who has asked and gone, with what it had asked.
        if event & ~select.POLLIN and client.outbox:
            self._flush(client)
        if event & ~select.POLLOUT and not client.outbox and client.sock.fileno() >= 0:
            try:
                data = client.sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self._drop(client)
                return
            client.connection.receive_data(data)
            self._process(client)

    def _process(self, client: Client) -> None:
        self._unfinished.discard(client)
        for _ in range(EVENTS_PER_TURN):
            if client.outbox or client.ending or client.sock.fileno() < 0:
                return  # its answers wait: `_flush` goes on with its requests
            event = client.connection.next_event()
            if event is NEED_DATA:
                return
            if isinstance(event, RequestReceived):
                self._answer(client, event)
            elif isinstance(event, BadRequest):
                self._send(client, client.connection.send_error(event.request_id, event.error))
                if event.fatal:
                    self._end(client)
            elif isinstance(event, ConnectionClosed):
                self._end(client)
        self._unfinished.add(client)

    def _answer(self, client: Client, event: RequestReceived) -> None:
        connection = client.connection
        try:
            if event.method == Hello.METHOD:
                result: object = self._judge(client, event.message)
            else:
                result = self._handlers[event.method](event.message)
            line = connection.send_result(event.request_id, result)
        except (TooLarge, InternalError) as error:
            self._send(client, connection.send_error(event.request_id, error))
        except PodsError as error:
            self._send(client, connection.send_error(event.request_id, error))
            if event.method == Hello.METHOD:
                self._end(client)
        except Exception as error:
            self._send(
                client, connection.send_error(event.request_id, self._bug(event.method, error))
            )
        else:
            self._send(client, line)
            if event.method == Hello.METHOD:
                client.greeted = True
                client.deadline = None
                if self._greeted is not None:
                    self._greeted(client)

    def _judge(self, client: Client, hello: Hello) -> HelloResult:
        if client.uid != os.geteuid():
            raise NotAuthorized(
                f"cannot serve user {client.uid}: this socket belongs to user {os.geteuid()}; run "
                "pods as the user who owns it"
            )
        if hello.protocol != PROTOCOL_VERSION:
            raise UnsupportedProtocol(
                f"cannot speak protocol {hello.protocol}: this side speaks {PROTOCOL_VERSION}; "
                "install the same version of agent-pods on both sides",
                offered=hello.protocol,
                supported=[PROTOCOL_VERSION],
            )
        if not hmac.compare_digest(digest_of(hello.token), self._owner_digest):
            raise NotAuthorized(
                f"cannot command this {self._api.name}: the token is not its supervisor's; ask the "
                "supervisor instead"
            )
        return self._identity

    def _bug(self, method: str, error: Exception) -> PodsError:
        if is_out_of_descriptors(error):
            return no_descriptors(f"answer `{method}`", error)
        self._log(f"a bug in `{method}`:\n{traceback.format_exc()}")
        return InternalError(
            f"cannot answer `{method}`: a bug of pods; the log of its process has the details, "
            "please report it",
            method=method,
        )

    def _send(self, client: Client, data: bytes) -> None:
        if client.sock.fileno() < 0:
            return
        if client.outbox:
            client.outbox += data
        else:
            try:
                sent = client.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(client)
                return
            if sent == len(data):
                return
            client.outbox += data[sent:]
            self._poll.modify(client.sock, select.POLLOUT)
        if len(client.outbox) > MAX_OUTBOX_BYTES:
            self._drop(client)

    def _flush(self, client: Client) -> None:
        try:
            sent = client.sock.send(client.outbox)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        del client.outbox[:sent]
        if client.outbox:
            return
        if client.ending:
            self._drop(client)
            return
        self._poll.modify(client.sock, select.POLLIN)
        self._process(client)

    def _end(self, client: Client) -> None:
        """Close a connection once what waits has left, or soon."""
        if not client.outbox:
            self._drop(client)
            return
        client.ending = True
        client.deadline = time.monotonic() + FAREWELL_SECONDS

    def _drop(self, client: Client) -> None:
        descriptor = client.sock.fileno()
        if descriptor < 0:
            return
        self._unfinished.discard(client)
        del self._clients[descriptor]
        self._unwatch(client.sock)
        with contextlib.suppress(OSError):
            client.sock.close()
