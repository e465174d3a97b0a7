"""One socket: order, bounds, slow and broken peers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from pods.rpc import stream as stream_module
from pods.rpc.stream import UnixStream, connect_unix
from pods.rpc.unix import bind_unix
from pods_protocol.errors import NotConnected, PathTooLong
from process_support import WAIT_SECONDS


@pytest.fixture
def pair() -> Iterator[tuple[UnixStream, UnixStream]]:
    left, right = socket.socketpair(socket.AF_UNIX)
    yield UnixStream(left), UnixStream(right)
    left.close()
    right.close()


Pair = tuple[UnixStream, UnixStream]


async def test_what_is_sent_arrives_at_once(pair: Pair) -> None:
    left, right = pair
    assert left.send(b"hello\n")
    with trio.fail_after(WAIT_SECONDS):
        assert await right.receive() == b"hello\n"


async def test_what_the_kernel_does_not_take_waits_and_keeps_its_order(pair: Pair) -> None:
    left, right = pair
    big = bytes(range(256)) * 16384  # 4 MiB, far over a socket's buffer
    assert not left.send(big)
    assert not left.send(b"the end")
    received = bytearray()
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.run_writer)
            while len(received) < len(big) + 7:
                received += await right.receive()
            await left.drained()
            nursery.cancel_scope.cancel()
    assert bytes(received) == big + b"the end"
    assert left.pending_bytes == 0


async def test_a_peer_that_never_reads_is_cut_off_at_the_bound(pair: Pair) -> None:
    left, right = pair
    piece = b"x" * 1024 * 1024
    for _ in range(stream_module.MAX_OUTBOX_BYTES // len(piece) + 2):
        left.send(piece)
    assert left.broken
    assert left.pending_bytes == 0
    with trio.fail_after(WAIT_SECONDS):
        await left.drained()
        await left.run_writer()
        while await right.receive():
            pass  # what the kernel had taken, then the end
        assert await left.receive() == b""


async def test_a_waiter_for_space_goes_on_when_the_connection_breaks(pair: Pair) -> None:
    left, right = pair
    left.send(b"x" * 4 * 1024 * 1024)
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.drained)
            nursery.start_soon(left.run_writer)
            await trio.testing.wait_all_tasks_blocked()
            right.close()
    assert left.broken


async def test_closing_ends_every_task_that_waits_in_it(pair: Pair) -> None:
    left, _right = pair
    ends: list[bytes] = []

    async def read() -> None:
        ends.append(await left.receive())

    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(left.run_writer)
            await trio.testing.wait_all_tasks_blocked()
            left.close()
            left.close()
    assert ends == [b""]
    assert left.send(b"nobody hears it")
    assert await left.receive() == b""


async def test_closing_while_bytes_wait_lets_their_sender_go(pair: Pair) -> None:
    left, _right = pair
    left.send(b"x" * 4 * 1024 * 1024)
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.run_writer)
            nursery.start_soon(left.drained)
            await trio.testing.wait_all_tasks_blocked()
            left.close()


async def test_a_peer_that_sends_without_pause_lets_other_tasks_run(pair: Pair) -> None:
    left, right = pair
    for _ in range(stream_module.READS_BEFORE_CHECKPOINT * 2):
        left.send(b"y" * stream_module.RECEIVE_BYTES)
    ran: list[bool] = []

    async def bystander() -> None:
        ran.append(True)

    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.run_writer)
            nursery.start_soon(bystander)
            for _ in range(stream_module.READS_BEFORE_CHECKPOINT * 2):
                await right.receive()
            assert ran
            nursery.cancel_scope.cancel()


async def test_a_cancelled_reader_loses_nothing_that_came(pair: Pair) -> None:
    left, right = pair
    pieces = stream_module.READS_BEFORE_CHECKPOINT * 3
    for _ in range(pieces):
        left.send(b"y" * stream_module.BUSY_READ_BYTES)
    sent, received = pieces * stream_module.BUSY_READ_BYTES, 0
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.run_writer)
            while received < sent:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    while True:
                        received += len(await right.receive())
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert received == sent


async def test_the_other_side_reads_to_the_end_after_an_end_of_sending(pair: Pair) -> None:
    left, right = pair
    left.send(b"last words")
    left.end_of_sending()
    left.end_of_sending()
    with trio.fail_after(WAIT_SECONDS):
        assert await right.receive() == b"last words"
        assert await right.receive() == b""


async def test_connecting_to_nobody_says_what_is_missing(short_dir: str) -> None:
    with pytest.raises(NotConnected, match="no socket there"):
        await connect_unix(f"{short_dir}/none")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(f"{short_dir}/dead")
    bound.close()
    with pytest.raises(NotConnected, match="nobody listens"):
        await connect_unix(f"{short_dir}/dead")
    with pytest.raises(PathTooLong):
        await connect_unix(short_dir + "/" + "x" * 120)


async def test_a_full_backlog_is_waited_for(short_dir: str) -> None:
    path = f"{short_dir}/s"
    listener = bind_unix(path, backlog=0)
    streams: list[UnixStream] = []
    blocked = trio.Event()

    async def connect() -> None:
        streams.append(await connect_unix(path))

    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(connect)
            while len(streams) < 4:
                sock, _ = await trio.to_thread.run_sync(listener.accept)
                sock.close()
                await trio.lowlevel.checkpoint()
            blocked.set()
    for stream in streams:
        stream.close()
    listener.close()
    os.unlink(path)
