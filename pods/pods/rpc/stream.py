"""One connected Unix socket on trio: reads by one task, writes by anybody, in order and bounded.

Owns a standard-library socket and the bytes that wait to go out. A write goes straight to the
kernel where nothing waits before it (BASELINES.md section 2: six times the throughput of a writer
task per subscriber); what the kernel does not take waits here for the one writer task. trio's own
SocketStream cannot do that: its `send_all` is a trip to the scheduler and refuses a second writer.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Final

import trio

from pods.paths import check_socket_path
from pods.rpc.unix import (
    check_owner,
    connect_failed,
    peer_credentials,
    peer_process,
    require_unix_sockets,
)

RECEIVE_BYTES: Final = 64 * 1024
"""One read: a whole line of the usual sizes. There is one buffer of it, so it may be large."""

MAX_OUTBOX_BYTES: Final = 8 * 1024 * 1024
"""Bytes that may wait for one peer: eight answers of the largest size. A peer that is further
behind does not read at all, and is cut off."""

BUSY_READ_BYTES: Final = 4096
"""A read of this much or more is mostly followed by another, so that one is tried at once. After a
smaller one the kernel is asked to tell of more: between a request and the next there is nothing."""

READS_BEFORE_CHECKPOINT: Final = 16
"""A peer that sends without a pause lets other tasks run after this many reads in a row."""

CONNECT_RETRY_SECONDS: Final = 0.002
"""A listener with a full backlog gives the kernel nothing to wait on: it is asked again
after this."""

WRITE_PIECE_BYTES: Final = 256 * 1024
"""The writer task offers this much at a time, so that what comes behind can be appended."""


class _Own(threading.local):
    """This thread's buffer: the kernel fills it while other threads run.

    To ask a socket for so many bytes makes an object of that size and cuts it down to the few that
    came, for each read: five times the time, and holes in the process's memory that the next one
    does not fit into (3 KB more for every pod that a supervisor ever had).
    """

    def __init__(self) -> None:
        self.received = memoryview(bytearray(RECEIVE_BYTES))


_own: Final = _Own()


class UnixStream:
    """A connection.

    Args:
        sock: connected; made non-blocking and owned from here on.
    """

    __slots__ = (
        "_closed", "_empty", "_listening", "_pending", "_quiet", "_reads", "_send", "_socket",
        "_wake", "broken",
    )  # fmt: skip

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._send = sock.send
        self._pending = bytearray()
        self._wake: trio.Event | None = None
        self._empty: trio.Event | None = None
        self._listening: trio.CancelScope | None = None
        self._reads = 0
        self._quiet = False
        self._closed = False
        self.broken = False

    def peer(self) -> tuple[int, int]:
        """`(pid, uid)` of the other side."""
        return peer_credentials(self._socket)

    def peer_process(self) -> int | None:
        """A pidfd of who connected, for the caller to close; None where the kernel tells none."""
        return peer_process(self._socket)

    async def receive(self) -> bytes:
        """The next bytes; `b""` at the end, also where the connection broke or was closed here."""
        sock = self._socket
        while not self._closed:
            if self._quiet:
                self._quiet = False
                self._reads = 0
                try:
                    await trio.lowlevel.wait_readable(sock)
                except trio.ClosedResourceError:
                    return b""
            elif self._reads >= READS_BEFORE_CHECKPOINT:
                self._reads = 0
                await trio.lowlevel.checkpoint()  # before the read: what was read is not lost
            try:
                received = _own.received
                data = received[: sock.recv_into(received)].tobytes()
            except BlockingIOError:
                self._quiet = True
            except OSError:
                self.broken = True
                return b""
            else:
                self._reads += 1
                self._quiet = len(data) < BUSY_READ_BYTES
                return data
        return b""

    def send(self, data: bytes) -> bool:
        """Write now what the kernel takes now, keep the rest for `run_writer`.

        Returns:
            True where nothing waits: all of it is with the kernel, or nobody is there to read it.
        """
        if self.broken or self._closed:
            return True
        if self._pending:
            self._keep(data)
            return False
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return True
        if sent == len(data):
            return True
        self._keep(memoryview(data)[sent:])
        return False

    def _keep(self, data: bytes | memoryview) -> None:
        if len(self._pending) + len(data) > MAX_OUTBOX_BYTES:
            self._break()
            return
        self._pending += data
        if self._wake is not None:
            self._wake.set()

    def _break(self) -> None:
        """Give the connection up: the reader sees its end, whoever waits to write goes on."""
        self.broken = True
        self._pending.clear()
        with contextlib.suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._wake is not None:
            self._wake.set()
        if self._empty is not None:
            self._empty.set()

    @property
    def pending_bytes(self) -> int:
        """How much the kernel has not taken yet."""
        return len(self._pending)

    async def drained(self) -> None:
        """Wait until nothing waits to go out, or the connection is broken or closed."""
        while self._pending and not self.broken and not self._closed:
            if self._empty is None or self._empty.is_set():
                self._empty = trio.Event()
            await self._empty.wait()

    async def run_writer(self) -> None:
        """Send what waits; ends when the connection is broken or closed."""
        while not self.broken and not self._closed:
            if not self._pending:
                if self._empty is not None:
                    self._empty.set()
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            try:
                await trio.lowlevel.wait_writable(self._socket)
                sent = self._socket.send(self._pending[:WRITE_PIECE_BYTES])
            except BlockingIOError:
                continue
            except trio.ClosedResourceError:
                return
            except OSError:
                self._break()
                return
            del self._pending[:sent]

    async def peer_gone(self) -> None:
        """Wait until the other side has closed both ways, or the connection is broken or closed.

        Reading cannot tell: it ends already when the other side closes one way and still listens.
        """
        if self.broken or self._closed:
            return
        # The kernel tells of a hang-up whatever is asked for, here nothing; trio has no such wait,
        # but it can wait for a set of descriptors as for any other.
        with select.epoll(1) as hangup, trio.CancelScope() as self._listening:
            hangup.register(self._socket, 0)
            await trio.lowlevel.wait_readable(hangup.fileno())

    def end_of_sending(self) -> None:
        """Tell the other side that nothing more comes; it sees the end once it has read all."""
        with contextlib.suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close; idempotent. Tasks that wait in here go on."""
        if self._closed:
            return
        self._closed = True
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        if self._listening is not None:
            self._listening.cancel()
        if self._wake is not None:
            self._wake.set()
        if self._empty is not None:
            self._empty.set()


async def connect_unix(path: str) -> UnixStream:
    """Connect to the socket at `path`; the caller's cancel scope is the deadline.

    Raises:
        NotConnected: nobody is there.
        NotAuthorized: another user listens there.
        PathTooLong: over the kernel's bound.
        CapacityReached: no descriptor is left to connect with.
    """
    require_unix_sockets()
    check_socket_path(path)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise connect_failed(path, error) from error
    try:
        sock.setblocking(False)
        await trio.lowlevel.checkpoint_if_cancelled()
        while not _connect_once(sock, path):  # noqa: ASYNC110 - nothing to wait on, see above
            await trio.sleep(CONNECT_RETRY_SECONDS)
        check_owner(sock, path)
    except BaseException:
        sock.close()
        raise
    return UnixStream(sock)


def _connect_once(sock: socket.socket, path: str) -> bool:
    """Whether it is connected; False where the listener's backlog is full."""
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    except OSError as error:
        raise connect_failed(path, error) from error
    return True
