"""What ours is measured against, in the same run: fresh interpreters, a preloaded fork server,
a bare trio echo. Run as a program it is the echo, or who asks it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import fork_server
import trio
import worker


async def echo(path: str, announce: Callable[[], object], synced: str | None = None) -> None:
    """Serve a trio echo of whole reads on a Unix socket, for ever; `announce` once it listens.

    With `synced`, a file, what was read is appended there and on the disk before it goes back.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = None if synced is None else os.open(synced, flags, 0o600)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)

    async def one(stream: trio.SocketStream) -> None:
        async with stream:
            while data := await stream.receive_some(262144):
                if file is not None:
                    os.write(file, data)
                    os.fdatasync(file)
                await stream.send_all(data)

    announce()
    sock = trio.socket.from_stdlib_socket(listener)
    await trio.serve_listeners(one, [trio.SocketListener(sock)])


class FreshInterpreters:
    """One new Python each, importing trio, attrs and cattrs (`worker.py`).

    Args:
        directory: for sockets.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._count = 0

    def run(self, number: int) -> float:
        """Start `number` and end them; seconds from the first start to the last one's answer."""
        start = time.perf_counter()
        self._count += number
        paths = [f"{self._directory}/F{self._count - index}" for index in range(number)]
        reader, writer = os.pipe()
        processes = [
            subprocess.Popen(
                [sys.executable, worker.__file__, path, str(writer)],
                pass_fds=[writer],
                env=plain_environ(),
            )
            for path in paths
        ]
        seen = 0
        while seen < number:
            seen += len(os.read(reader, number))
        for path in paths:
            worker.ask(path)
        os.close(reader)
        os.close(writer)
        seconds = time.perf_counter() - start
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        return seconds


class PreloadedForkServer:
    """multiprocessing's fork server with the same preloaded, in a program of its own.

    Args:
        directory: for sockets.
    """

    def __init__(self, directory: str) -> None:
        own = f"{directory}/fork-server"
        os.mkdir(own)
        command = [sys.executable, fork_server.__file__, own]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=plain_environ(),
            text=True,
            bufsize=1,
        )
        self.run(1)  # the server comes up with the first worker

    def run(self, number: int) -> float:
        """Start `number` and end them; seconds from the first start to the last one's answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{number}\n")
        return float(self._process.stdout.readline())

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        """End it, and its server with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def plain_environ() -> dict[str, str]:
    """Without what makes every import compile anew on a machine of ours."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@contextmanager
def echo_process(path: str, synced: str | None = None) -> Generator[int]:
    """A trio echo in a process of its own; its pid. `synced` as in `echo`."""
    reader, writer = os.pipe()
    arguments = [path, str(writer), *([] if synced is None else [synced])]
    process = subprocess.Popen([sys.executable, __file__, *arguments], pass_fds=[writer])
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def greet_all(path: str, number: int) -> None:
    """Connect so often at once, each time with one line answered."""

    async def greet() -> None:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b"hello\n")
            assert await stream.receive_some(64) == b"hello\n"

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(greet)


def reconnect_seconds(path: str, number: int) -> float:
    """A fresh interpreter that connects to the echo at `path` so often: from its start to its end.

    The least that a supervisor does which comes after another: it has asked everybody.
    """
    start = time.perf_counter()
    command = [sys.executable, __file__, "--reconnect", path, str(number)]
    subprocess.run(command, env=plain_environ(), check=True)
    return time.perf_counter() - start


if __name__ == "__main__" and sys.argv[1] == "--reconnect":
    trio.run(greet_all, sys.argv[2], int(sys.argv[3]))
elif __name__ == "__main__":
    served, ready = sys.argv[1], int(sys.argv[2])
    to_sync = sys.argv[3] if len(sys.argv) > 3 else None
    trio.run(echo, served, lambda: os.write(ready, b"r"), to_sync)
