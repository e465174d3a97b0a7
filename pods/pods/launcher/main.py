"""How a launcher comes up: arguments, session, log, preload, socket, one line that it is ready.

Owns that order. The loop is `loop.Launcher`. Called by `__main__`; tests call `main` with a pod's
life of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pods.keeper.environ import inherited_environ
from pods.keeper.rpc_loop import digest_of
from pods.keeper.spare import SpareLife
from pods.keeper.system import (
    LAUNCHER_NAME,
    become_subreaper,
    plain_fork,
    redirect_standard_streams,
    reset_signals,
    set_process_name,
)
from pods.launcher.delegation import take_delegation
from pods.launcher.huge_pages import collapse
from pods.launcher.immortal import make_immortal
from pods.launcher.loop import IDLE_EXIT_SECONDS, Launcher
from pods.launcher.preload import PRELOAD, freeze, preload
from pods.paths import SupervisorPlaces, places_from
from pods.pod.life import RunPod
from pods.rpc.unix import bind_unix, ensure_private_directory
from pods.scope.baseline import baseline
from pods.scope.confine import extra_places, switches_from
from pods_protocol.bounds import HELLO_SECONDS
from pods_protocol.errors import ExitCode, PodsError, StartFailed

READY_LINE: Final = b"ready\n"

REHEARSALS: Final = 4
"""After these the interpreter has adapted what there is to adapt; each takes some 6 ms."""

MAX_TOKEN_BYTES: Final = 4096
"""A token has some forty characters; a bigger file is not one."""


def main(
    arguments: Sequence[str] | None = None,
    *,
    run_pod: RunPod | None = None,
    modules: tuple[str, ...] = PRELOAD,
    fork: Callable[[], int] = plain_fork,
    hello_seconds: float = HELLO_SECONDS,
    idle_exit_seconds: float = IDLE_EXIT_SECONDS,
) -> int:
    """Be a launcher until it ends; returns the process's exit code.

    Args:
        arguments: of the command line; None takes `sys.argv`.
        run_pod: a pod's life in the forked image; None is the real one.
        modules: what to import before the first fork.
        fork, hello_seconds, idle_exit_seconds: as in `Launcher`.
    """
    options = _parse(arguments)
    if options.log is not None:
        log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        redirect_standard_streams(log)
        os.close(log)
    if options.open_files is not None:
        _lower_open_files(options.open_files)
    try:
        places = places_from(os.environ, os.getuid()).supervisor(options.name)
        _become_daemon()
        switches = switches_from(os.environ)
        _forget_strange_variables()
        digest = digest_of(_read_token(places.owner_token))
        ensure_private_directory(places.runtime)
        extra = extra_places(switches, (places.places.state, places.places.runtime))
        written = [path for path, permission in extra if permission == "write"]
        delegation = take_delegation(places, _log, written)
        forbidden = (places.places.state, places.places.runtime)
        # What all pods get besides their scopes is found here once, and every fork has the answer.
        baseline(os.environ, python=None, forbidden=forbidden)
        preload(modules)
        # A pod's life that is not the real one needs no rehearsal of the real one, and no spares.
        life = _real_life(places.runtime, forbidden) if run_pod is None else None
        if life is not None:
            _rehearse(life)
        held = freeze()
        listener = _listen(places)
    except PodsError as error:
        _log(error.message)
        return ExitCode.FAILED
    launcher = Launcher(
        options.name,
        listener,
        digest,
        _log,
        forbidden=forbidden,
        switches=switches,
        run_pod=run_pod,
        spare_life=life,
        fork=fork,
        hello_seconds=hello_seconds,
        idle_exit_seconds=idle_exit_seconds,
        delegation=delegation,
    )
    try:
        if options.ready_fd is not None:
            # A supervisor that has gone meanwhile is no reason to fail: another may come.
            with contextlib.suppress(OSError):
                os.write(options.ready_fd, READY_LINE)
            os.close(options.ready_fd)
        launcher.run()
    finally:
        # Before the end of file: who sees that may bind here next, and its socket must stay.
        with contextlib.suppress(OSError):
            os.unlink(places.launcher_socket)
        launcher.close()
        del held
    return ExitCode.OK


def _real_life(scratch: str, forbidden: tuple[str, str]) -> SpareLife:
    """How real pods live. Imported here: `preload` has said which module cannot be."""
    from pods.pod.main import run_spare_pod
    from pods.pod.rehearsal import rehearse

    return SpareLife(
        run=run_spare_pod,
        rehearse=partial(rehearse, forbidden=forbidden),
        settle=_settle,
        scratch=scratch,
    )


def _settle() -> object:
    """Ready this memory to be shared: what is written to all of it comes before where it lies."""
    make_immortal(sys.modules.values())
    return collapse()


def _rehearse(life: SpareLife) -> None:
    """Go through a pod's start; where the disk refuses, pods only start a little slower."""
    try:
        for _ in range(REHEARSALS):
            life.rehearse(f"{life.scratch}/rehearsal-{os.getpid()}")
    except Exception as error:
        # Also a bug of ours: real pods tell of it better, and each for itself.
        _log(f"a pod's start could not be rehearsed: {error}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -P -m pods.launcher", description="Fork pods for one supervisor."
    )
    parser.add_argument("--name", required=True, help="the supervisor's name")
    parser.add_argument("--ready-fd", type=int, help="a descriptor that gets one line when ready")
    parser.add_argument("--log", help="a file for what goes wrong; else standard error")
    parser.add_argument(
        "--open-files",
        type=int,
        metavar="N",
        help="the soft limit on them, for pods too",
    )
    return parser.parse_args(arguments)


def _lower_open_files(number: int) -> None:
    """Take back what the supervisor raised for itself, before any pod inherits it."""
    _, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    if ceiling == resource.RLIM_INFINITY or number <= ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, ceiling))


def _become_daemon() -> None:
    reset_signals(keep_ignored=(signal.SIGPIPE, signal.SIGXFSZ))
    if os.getsid(0) != os.getpid():
        # Refused to the leader of a process group: a shell's job, whose terminal stays its own.
        with contextlib.suppress(PermissionError):
            os.setsid()
    os.chdir("/")  # keep no directory from being unmounted or removed
    become_subreaper()
    set_process_name(LAUNCHER_NAME)


def _forget_strange_variables() -> None:
    """Keep of the environment what pods inherit, once and for all of them."""
    kept = inherited_environ(os.environ)
    for name in os.environ.keys() - kept.keys():
        del os.environ[name]
    os.environ.update(kept)


def _read_token(path: str) -> str:
    """Read the supervisor's token; only its digest is kept, because every pod gets our memory."""
    try:
        with open(path, "rb") as file:
            token = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartFailed(
            f"cannot start the launcher: no token in {path}: {error}; a supervisor writes it "
            "before it starts one",
            step="token",
            detail=str(error),
        ) from error
    if not token:
        raise StartFailed(
            f"cannot start the launcher: {path} is empty; a supervisor writes its token there",
            step="token",
            detail="empty",
        )
    return token


def _listen(places: SupervisorPlaces) -> socket.socket:
    """Listen at the launcher's socket; one that a killed launcher left is taken away first."""
    path = places.launcher_socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except FileNotFoundError:
            pass
        else:
            raise StartFailed(
                f"cannot start the launcher: one listens at {path} already; use that one",
                step="bind",
                detail=path,
            )
    return bind_unix(path)


def _log(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # The disk may be full and the log's other end gone: neither may end the launcher.
    with contextlib.suppress(OSError):
        print(f"{stamp} launcher {os.getpid()}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its log
