"""multiprocessing's fork server with everything preloaded: `fork_server.py DIRECTORY`.

A program of its own, since each of the server's children runs the main module of the program that
asked for it (`multiprocessing.spawn`), and ours would be a benchmark of some hundred modules. This
one imports nothing that is not preloaded, which is as fast as it gets: a main module that imports
`statistics` and `tempfile` costs each child 4 ms.

Each line of its input is a number of workers; each line of its output the seconds from the first
one's start until the last one has answered a `hello`.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess

import trio
import worker


def fork_main(path: str, ready_path: str) -> None:
    """A child: readiness by a datagram."""
    notice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notice.connect(ready_path)
    trio.run(worker.serve, path, lambda: notice.send(b"r"))


class ForkServer:
    """Workers by multiprocessing's fork server, started and ended together.

    Args:
        directory: for sockets.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._count = 0
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        # By file, not by sys.path: the preload fails silently otherwise (cpython #117378).
        self._context.set_forkserver_preload(["trio", "attrs", "cattrs", "worker"])
        os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))

    def paths(self, number: int) -> list[str]:
        """Fresh socket paths."""
        self._count += number
        return [f"{self._directory}/{self._count - index}" for index in range(number)]

    def run(self, number: int) -> float:
        """Start `number` and end them; seconds from the first start to the last one's answer."""
        start = time.perf_counter()
        paths = self.paths(number)
        ready_path = self.paths(1)[0]
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(ready_path)
        processes: list[ForkServerProcess] = []
        for path in paths:
            process = self._context.Process(target=fork_main, args=(path, ready_path))
            process.start()
            processes.append(process)
        for _ in paths:
            ready.recv(16)
        for path in paths:
            worker.ask(path)
        seconds = time.perf_counter() - start
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        ready.close()
        return seconds


def serve() -> None:
    """Measure as often as asked, until the input ends."""
    server = ForkServer(sys.argv[1])
    for line in sys.stdin:
        print(server.run(int(line)), flush=True)


if __name__ == "__main__":
    serve()
