"""What ours is measured against, in the same run: fresh interpreters, a preloaded fork server,
a bare trio echo. Run as a program it is one of the workers."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess

import trio

for _name in ("attrs", "cattrs"):
    # What a pod imports, so that a worker here carries the same.
    importlib.import_module(_name)


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


def ask(path: str) -> None:
    """Connect and get one line answered."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"hello\n")
        assert client.recv(64) == b"hello\n"


class Workers:
    """Workers started and ended together; `start` returns when each has answered."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._count = 0

    def paths(self, number: int) -> list[str]:
        """Fresh socket paths."""
        self._count += number
        kind = type(self).__name__[0]
        return [f"{self._directory}/{kind}{self._count - index}" for index in range(number)]


class FreshInterpreters(Workers):
    """One new Python each, importing trio, attrs and cattrs."""

    def run(self, number: int) -> float:
        """Start `number` and end them; seconds from the first start to the last one's answer."""
        start = time.perf_counter()
        paths = self.paths(number)
        reader, writer = os.pipe()
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, path, str(writer)], pass_fds=[writer], env=environ
            )
            for path in paths
        ]
        self.answered(number, reader, writer, paths)
        seconds = time.perf_counter() - start
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        return seconds

    def answered(self, number: int, reader: int, writer: int, paths: list[str]) -> None:
        """Wait for readiness of each and one answer from each."""
        seen = 0
        while seen < number:
            seen += len(os.read(reader, number))
        for path in paths:
            ask(path)
        os.close(reader)
        os.close(writer)


def fork_main(path: str, ready_path: str) -> None:
    """A fork server's child: readiness by a datagram."""
    notice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notice.connect(ready_path)
    trio.run(echo, path, lambda: notice.send(b"r"))


@contextmanager
def without_main() -> Generator[None]:
    """Hide the main module, which every child of a fork server would import again otherwise."""
    main = sys.modules["__main__"]
    spec, file = main.__spec__, getattr(main, "__file__", None)
    main.__spec__ = None
    if file is not None:
        del main.__file__
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


class PreloadedForkServer(Workers):
    """multiprocessing's fork server with the same imports preloaded."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        # By file, not by sys.path: the preload fails silently otherwise (cpython #117378).
        self._context.set_forkserver_preload(["trio", "attrs", "cattrs", "anchors"])
        os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
        self.run(1)

    def run(self, number: int) -> float:
        """Start `number` and end them; seconds from the first start to the last one's answer."""
        start = time.perf_counter()
        paths = self.paths(number)
        ready_path = self.paths(1)[0] + ".r"
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(ready_path)
        processes: list[ForkServerProcess] = []
        with without_main():
            for path in paths:
                process = self._context.Process(target=fork_main, args=(path, ready_path))
                process.start()
                processes.append(process)
        for _ in paths:
            ready.recv(16)
        for path in paths:
            ask(path)
        seconds = time.perf_counter() - start
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        ready.close()
        return seconds


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
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    command = [sys.executable, __file__, "--reconnect", path, str(number)]
    subprocess.run(command, env=environ, check=True)
    return time.perf_counter() - start


if __name__ == "__main__" and sys.argv[1] == "--reconnect":
    trio.run(greet_all, sys.argv[2], int(sys.argv[3]))
elif __name__ == "__main__":
    served, ready = sys.argv[1], int(sys.argv[2])
    to_sync = sys.argv[3] if len(sys.argv) > 3 else None
    trio.run(echo, served, lambda: os.write(ready, b"r"), to_sync)
