"""The pod's process: opens what the server needs, serves, ends.

Owns the order of the start and the exit code: 0 after a stop that was asked for, 1 where the pod
could not start (whoever says hello is told why). Called by the keeper in the forked child, or by
`python -m pods.pod FD` under another interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import hmac
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from types import FrameType
from typing import Any, Final, cast

import orjson
import trio

from pods.agents.loading import load_agent
from pods.journal.retention import Retention
from pods.journal.store import Journal
from pods.paths import JOURNAL_NAME
from pods.pod.children import write_token_file
from pods.pod.life import TakeSpec
from pods.pod.server import PodServer
from pods.rpc.server import Session, check_token, serve_connection, serve_unix
from pods.rpc.stream import UnixStream
from pods.rpc.welcome import welcome
from pods_protocol.api import POD_API
from pods_protocol.bounds import HELLO_SECONDS, SECRET_PREFIX
from pods_protocol.codec import from_json
from pods_protocol.errors import NotAuthorized, PodsError
from pods_protocol.pod_messages import Hello, HelloResult
from pods_protocol.process_messages import PodSettings, PodSpec

MAX_SPEC_BYTES: Final = 4 * 1024 * 1024
"""The line that hands a spec over: a launch request fits the wire's cap, with room."""

EXIT_OK: Final = 0
EXIT_CANNOT_START: Final = 1
EXIT_USAGE: Final = 2


def run_pod(spec: PodSpec, listener: socket.socket, tells: socket.socket | None = None) -> int:
    """Live as this pod until it is told to end.

    Args:
        spec: what to be.
        listener: the pod's own socket, listening; closed here.
        tells: where it tells its keeper of its turns, if that is to know.

    Returns:
        The process's exit code.
    """
    return trio.run(live, spec, listener, tells)


def run_spare_pod(take: TakeSpec) -> int:
    """Live as the pod that `take` names once somebody wants it; the loop runs by then.

    Args:
        take: waits for the spec; it blocks, and no other task is there to be held up.
    """

    async def be_named() -> int:
        taken = take()
        if isinstance(taken, int):
            return taken
        gc.enable()
        return await live(*taken)

    return trio.run(be_named)


async def live(spec: PodSpec, listener: socket.socket, tells: socket.socket | None) -> int:
    """Live as this pod in a loop that runs; arguments and result as those of `run_pod`."""
    try:
        journal = Journal.open(
            f"{spec.state_directory}/{JOURNAL_NAME}", retention=_retention(spec.settings)
        )
    except PodsError as error:
        return await _refuse(spec, listener, error)
    with closing(listener), journal:
        try:
            secrets = secrets_of(spec)
            if secrets:
                from pods.pod.secrecy import keep_memory_private  # most pods have none

                keep_memory_private()
            agent = load_agent(spec.agent, spec.options, cwd=spec.cwd, secrets=secrets)
            if spec.call_back:
                write_token_file(spec)
            server = PodServer(spec, journal, agent, log, tells)
            commands = server.take_over()
        except PodsError as error:
            _note_failure(spec, journal, error)
            return await _refuse(spec, listener, error)

        async def serve(nursery: trio.Nursery) -> None:
            _heed_sigterm(server)
            await nursery.start(serve_pod, spec, listener, server)

        await server.live(serve, commands)
    return EXIT_OK


def secrets_of(spec: PodSpec) -> dict[str, str]:
    """What of `env` is for the agent alone."""
    return {
        name.removeprefix(SECRET_PREFIX): value
        for name, value in spec.env.items()
        if name.startswith(SECRET_PREFIX)
    }


def _retention(settings: PodSettings) -> Retention:
    return Retention(
        max_bytes=settings.journal_max_bytes, max_age_seconds=settings.journal_max_age_seconds
    )


def log(line: str) -> None:
    """Write a line to standard error, which is the pod's `stderr.log`."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of a pod is its standard error


def _heed_sigterm(server: PodServer) -> None:
    """Have the pod end where SIGTERM asks for it.

    By hand, as a task with a signal receiver costs each pod 80 copied pages; the process ends with
    its loop, so nothing is put back.
    """
    token = trio.lowlevel.current_trio_token()

    def told(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(server.shut_down_now)

    signal.signal(signal.SIGTERM, told)


async def serve_pod(
    spec: PodSpec,
    listener: socket.socket,
    server: PodServer,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the pod's socket until cancelled."""
    hello = welcome("pod", spec.name, spec.id)

    async def serve_one(stream: UnixStream) -> None:
        joined: list[Session] = []

        def authenticate(session: Session, message: Hello) -> HelloResult:
            is_supervisor = _check(spec, message)
            server.requests.greet(session, message.client, is_supervisor=is_supervisor)
            joined.append(session)
            return hello

        try:
            await serve_connection(
                stream,
                POD_API,
                authenticate=authenticate,
                handlers=server.requests.handlers,
                log=log,
                settle=server.settle,
            )
        finally:
            for session in joined:
                server.requests.forget(session)

    await serve_unix(listener, serve_one, log=log, task_status=task_status)


def _check(spec: PodSpec, message: Hello) -> bool:
    """Refuse a wrong token; whether the right one is the supervisor's own."""
    if check_token(message.token, spec.token):
        return False
    given = hashlib.sha256(message.token.encode("utf-8", "surrogatepass")).hexdigest()
    if not hmac.compare_digest(given, spec.owner_digest):
        raise NotAuthorized(
            f"cannot command pod {spec.name}: the token is not this pod's; ask the supervisor for "
            "the pod's connection"
        )
    return True


def _note_failure(spec: PodSpec, journal: Journal, error: PodsError) -> None:
    """Leave the reason in the journal, for those who come when the process is gone.

    One that is started once more may be tried again: its end is for the supervisor to write.
    """
    if spec.revival is not None:
        return
    try:
        journal.append("stopped", {"reason": "failed", "message": error.message}, durable=True)
    except PodsError as second:
        log(second.message)


async def _refuse(spec: PodSpec, listener: socket.socket, error: PodsError) -> int:
    """Answer the first hello with the reason, then end."""
    log(error.message)
    told = trio.Event()

    def authenticate(_: Session, message: Hello) -> HelloResult:
        _check(spec, message)
        told.set()
        raise error

    async def serve_one(stream: UnixStream) -> None:
        await serve_connection(stream, POD_API, authenticate=authenticate, handlers={}, log=log)

    with closing(listener), trio.move_on_after(HELLO_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_unix, listener, serve_one, log=log))
            await told.wait()
            nursery.cancel_scope.cancel()
    return EXIT_CANNOT_START


def main(arguments: Sequence[str]) -> int:
    """Take the spec and the listener over from the keeper, then be the pod."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        log("usage: python -P -m pods.pod FD (the keeper starts this; use `pods spawn`)")
        return EXIT_USAGE
    try:
        with open(int(arguments[0]), "rb") as file:
            line = file.read(MAX_SPEC_BYTES)
        handed: Any = orjson.loads(line)
        spec = from_json(PodSpec, handed["spec"])
        descriptor = cast("int", handed["listener_fd"])
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
        tells = _telling_socket(handed.get("tells_fd"))
    except (OSError, ValueError, KeyError, TypeError, PodsError) as error:
        # Not the line itself: it holds the pod's token.
        log(f"cannot start a pod: descriptor {arguments[0]} holds no spec ({type(error).__name__})")
        return EXIT_USAGE
    return run_pod(spec, listener, tells)


def _telling_socket(descriptor: int | None) -> socket.socket | None:
    if descriptor is None:
        return None
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)
