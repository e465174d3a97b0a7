"""The anchor of following: a bare trio server that sends lines to all its connections, one by one.

`bench_follow` orders `READERS EVENTS LENGTH` over one of so many connections, and each gets so many
lines of that length and a last one. Run as a program it is that server.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import trio

LAST_LINE = b'{"type":"turn_ended"}\n'


async def serve(path: str, ready: int) -> None:
    """Serve on a Unix socket, for ever; a byte on `ready` once it listens."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    streams: list[trio.SocketStream] = []
    changed = trio.Condition()

    async def one(stream: trio.SocketStream) -> None:
        async with changed:
            streams.append(stream)
            changed.notify_all()
        try:
            while order := await stream.receive_some(64):
                readers, events, length = map(int, order.split())
                async with changed:
                    while len(streams) != readers:  # who was there before may not have left yet
                        await changed.wait()
                line = b"." * (length - 1) + b"\n"
                for _ in range(events):
                    for reader in streams:
                        await reader.send_all(line)
                for reader in streams:
                    await reader.send_all(LAST_LINE)
        finally:
            async with changed:
                streams.remove(stream)
                changed.notify_all()
            await stream.aclose()

    os.write(ready, b"r")
    sock = trio.socket.from_stdlib_socket(listener)
    await trio.serve_listeners(one, [trio.SocketListener(sock)])


@contextmanager
def flood_process(path: str) -> Generator[int]:
    """The server in a process of its own; its pid."""
    reader, writer = os.pipe()
    command = [sys.executable, __file__, path, str(writer)]
    process = subprocess.Popen(command, pass_fds=[writer])
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], int(sys.argv[2]))
