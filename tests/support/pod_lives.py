"""A launcher whose pods lead simple lives: what `spec.options["do"]` says, and no pod runtime.

Run as a program by `process_support`; `PODS_TEST_*` variables set its bounds.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from pods_protocol.process_messages import PodSpec


def _serve(spec: PodSpec, listener: socket.socket) -> int:
    import gc
    import resource

    listener.setblocking(True)
    while True:
        sock, _ = listener.accept()
        with sock:
            told = {
                "pid": os.getpid(),
                "sid": os.getsid(0),
                "environ": dict(os.environ),
                "cwd": os.getcwd(),
                "gc": gc.isenabled(),
                "umask": os.umask(0o077),
                "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
                "core": resource.getrlimit(resource.RLIMIT_CORE),
                "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
                "sigint": signal.getsignal(signal.SIGINT) is signal.SIG_DFL,
            }
            with contextlib.suppress(BrokenPipeError):  # who only wanted to connect has gone
                sock.sendall(json.dumps(told).encode() + b"\n")


def _note(spec: PodSpec, name: str, text: str) -> None:
    # A pod that the kernel holds may write its journal's directory, and the rest only without.
    directory = spec.state_directory if spec.enforce == "off" else f"{spec.state_directory}/journal"
    temporary = f"{directory}/{name}.new"
    with open(temporary, "w") as file:
        file.write(text)
    os.rename(temporary, f"{directory}/{name}")


def _daemonise(spec: PodSpec, name: str) -> None:
    """Leave a descendant that did all it can to be forgotten: two forks, setsid, no environment."""
    between = os.fork()
    if between == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            _note(spec, name, str(os.getpid()))
            os.execve("/bin/sleep", ["sleep", "1000"], {})
        os._exit(0)
    # Who kills the pod next counts what is left of it: the daemon, and not sometimes this one too.
    os.waitpid(between, 0)


def _exit(spec: PodSpec, listener: socket.socket) -> int:
    return int(spec.options["code"])


def _raise(spec: PodSpec, listener: socket.socket) -> int:
    raise RuntimeError("this pod was told to fail")


def _die(spec: PodSpec, listener: socket.socket) -> int:
    os.kill(os.getpid(), int(spec.options["signal"]))
    signal.pause()
    return 0


def _leave_daemon(spec: PodSpec, listener: socket.socket) -> int:
    _daemonise(spec, "daemon")
    while not os.path.exists(f"{spec.state_directory}/daemon"):
        time.sleep(0.001)
    return 0


def _serve_with_daemon(spec: PodSpec, listener: socket.socket) -> int:
    _daemonise(spec, "daemon")
    return _serve(spec, listener)


def _disowned(spec: PodSpec, listener: socket.socket) -> int:
    """A shell that leaves a job in a session of its own and forgets it."""
    subprocess.run(["bash", "-c", "setsid sleep 1000 >/dev/null 2>&1 & disown"], check=True)
    return _serve(spec, listener)


def _ignore(spec: PodSpec, listener: socket.socket) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return _serve(spec, listener)


def _tree(spec: PodSpec, listener: socket.socket) -> int:
    """Three deep, each with a session of its own; all end at SIGTERM."""
    for level in range(3):
        if os.fork():
            break
        os.setsid()
        _note(spec, f"level{level}", str(os.getpid()))
    return _serve(spec, listener)


def _hydra(spec: PodSpec, listener: socket.socket) -> int:
    """Heads that fork, leave their session and exit, over and over, deaf to every signal."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for _ in range(int(spec.options["heads"])):
        if os.fork() == 0:
            while True:
                with contextlib.suppress(OSError):
                    if os.fork():
                        # Not `_exit`: a run that measures coverage would have each head write it.
                        os.kill(os.getpid(), signal.SIGKILL)
                    os.setsid()
    return _serve(spec, listener)


def _crowd(spec: PodSpec, listener: socket.socket) -> int:
    for _ in range(int(spec.options["size"])):
        if os.fork() == 0:
            signal.pause()
    return _serve(spec, listener)


def _attempts(spec: PodSpec, listener: socket.socket) -> int:
    from hostile_attempts import try_all
    from hostile_ground import Ground
    from hostile_ipc import Shared

    ground = Ground(
        name="",
        state=spec.state_directory,
        runtime=spec.runtime_directory,
        keeper=os.getppid(),
        shared=Shared(**spec.options["shared"]),
        **spec.options["ground"],
    )
    os.makedirs(f"{spec.state_directory}/journal", exist_ok=True)
    _note(spec, "answers", json.dumps(try_all(ground, abi=spec.options["abi"])))
    return 0


def _doors(spec: PodSpec, listener: socket.socket) -> int:
    from hostile_doors import DoorGround, try_doors

    told = try_doors(spec.options["way"], DoorGround(**spec.options["ground"]))
    os.makedirs(f"{spec.state_directory}/journal", exist_ok=True)
    _note(spec, "answers", json.dumps(told))
    return 0


LIVES: dict[str, Callable[[PodSpec, socket.socket], int]] = {
    "serve": _serve,
    "exit": _exit,
    "raise": _raise,
    "die": _die,
    "leave_daemon": _leave_daemon,
    "serve_with_daemon": _serve_with_daemon,
    "disowned": _disowned,
    "ignore": _ignore,
    "tree": _tree,
    "hydra": _hydra,
    "crowd": _crowd,
    "attempts": _attempts,
    "doors": _doors,
}


def _live(spec: PodSpec, listener: socket.socket, tells: socket.socket | None) -> int:
    return LIVES[spec.options["do"]](spec, listener)


def _launcher() -> int:
    from pods.launcher.main import main

    refusals = int(os.environ.get("PODS_TEST_FORK_REFUSALS", "0"))

    def fork() -> int:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.fork()

    return main(
        run_pod=_live,
        modules=("trio",),
        fork=fork,
        hello_seconds=float(os.environ.get("PODS_TEST_HELLO_SECONDS", "10")),
        idle_exit_seconds=float(os.environ.get("PODS_TEST_IDLE_SECONDS", "60")),
    )


if __name__ == "__main__":
    sys.exit(_launcher())
