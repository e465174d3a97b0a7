"""The least that a pod is: trio, attrs and cattrs, answering a `hello` in JSON lines.

BASELINES.md calls it T. What starts it is measured beside us: a fresh interpreter (this file as a
program: `worker.py SOCKET READY_FD`), or a fork of one that has imported it (`fork_server.py`).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

import trio
from attrs import frozen
from cattrs.preconf.orjson import make_converter

CONVERTER = make_converter()

MAX_READ_BYTES = 65536


@frozen
class Hello:
    """What is asked."""

    protocol: int
    token: str
    client: str


@frozen
class HelloResult:
    """What is answered."""

    protocol: int
    name: str
    pid: int


async def serve(path: str, announce: Callable[[], object]) -> None:
    """Answer every line on a Unix socket, for ever; `announce` once it listens."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)

    async def one(stream: trio.SocketStream) -> None:
        buffer = bytearray()
        async with stream:
            while data := await stream.receive_some(MAX_READ_BYTES):
                buffer += data
                *lines, rest = buffer.split(b"\n")
                buffer = rest
                for line in lines:
                    asked = CONVERTER.loads(bytes(line), Hello)
                    answer = HelloResult(asked.protocol, asked.client, os.getpid())
                    await stream.send_all(CONVERTER.dumps(answer) + b"\n")

    announce()
    sock = trio.socket.from_stdlib_socket(listener)
    await trio.serve_listeners(one, [trio.SocketListener(sock)])


def ask(path: str) -> None:
    """Connect, say hello and get the answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(CONVERTER.dumps(Hello(1, "a" * 64, "bench")) + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += client.recv(4096)
        assert CONVERTER.loads(answer, HelloResult).name == "bench"


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], lambda: os.write(int(sys.argv[2]), b"r"))
