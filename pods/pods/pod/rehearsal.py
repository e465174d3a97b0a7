"""A pod's first moments, lived through a few times before pods are forked.

Owns nothing that stays. The interpreter adapts code to what it does in its first runs, by writing
to the code's own memory, and remembers what it has looked up; done here, the work and its page
faults are not each pod's (a tenth of what one takes to its first answer). The loop in which it
lives is over before anything is forked: nobody may fork inside one (BASELINES.md 7.3). Called by
the launcher before its first pod, while it has one thread; and in each spare pod again, for the
pages that this writes to.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import socket
from typing import Final

import trio
from attrs import evolve

from pods.journal.fold import STATE_KINDS
from pods.pod.life import example_spec
from pods.pod.main import live
from pods.rpc.stream import UnixStream
from pods.scope.confine import OwnPlaces, prepare
from pods_protocol.api import POD_API
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.connection import (
    NEED_DATA,
    Connection,
    ConnectionClosed,
    ErrorReceived,
    ResultReceived,
)
from pods_protocol.errors import PodsError, StartFailed
from pods_protocol.pod_messages import GetStatus, Hello, Request, Subscribe
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import ScopeGrant, ScopeRule

REHEARSAL_SECONDS: Final = 5.0
"""A life of a few milliseconds that takes this long is given up: a launcher has to come up."""


def rehearse(directory: str, *, forbidden: tuple[str, str]) -> None:
    """Be held, live, answer what a supervisor asks; then forget it all.

    Args:
        directory: to work in; made here and removed.
        forbidden: the roots of pods' own directories.

    Raises:
        PodsError, OSError: the disk refuses, or there is no answer.
    """
    owner_token = secrets.token_hex(16)
    spec = evolve(
        example_spec(directory),
        token=secrets.token_hex(16),
        owner_digest=hashlib.sha256(owner_token.encode()).hexdigest(),
    )
    os.mkdir(directory, 0o700)
    # A pod hears of SIGTERM by a handler: one that comes meanwhile is for who rehearses.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _be_held(spec, forbidden)
        trio.run(_live, spec, owner_token)
    finally:
        signal.signal(signal.SIGTERM, handler)
        try:
            shutil.rmtree(directory)
        finally:
            # Last: one that came meanwhile may end this process at once.
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _be_held(spec: PodSpec, forbidden: tuple[str, str]) -> None:
    """Everything of a confinement but to enter it."""
    here = os.path.realpath(spec.state_directory)  # a rule's target is canonical
    grant = ScopeGrant(allow=(ScopeRule(target=here, permission="write", recursive=True),))
    own = OwnPlaces(write=(here,), read=(here,), forbidden=forbidden)
    with prepare(grant, own, environ=os.environ, switches={}):
        pass


async def _live(spec: PodSpec, owner_token: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # the system finds an address, which is no file; nobody is told of it
        listener.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect(listener.getsockname())
        stream = UnixStream(client)
        failures: list[Exception] = []
        with trio.move_on_after(REHEARSAL_SECONDS) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(live, spec, listener, None)
                try:
                    await _ask(stream, owner_token)
                except PodsError as error:
                    failures.append(error)  # not raised here: a nursery would wrap it
                # Not by `shutdown`: what a pod says last is synced, and nobody waits for a disk.
                nursery.cancel_scope.cancel()
        stream.close()
        if patience.cancelled_caught:
            raise _failed(f"it takes over {REHEARSAL_SECONDS:g} s")
        if failures:
            raise failures[0]


async def _ask(stream: UnixStream, owner_token: str) -> None:
    """What a supervisor asks at a pod's start.

    By hand: `RpcClient` would be in every pod's image for this, and few pods are parents.
    """
    connection = Connection("client", POD_API)
    requests: tuple[Request[object], ...] = (
        Hello(token=owner_token, protocol=PROTOCOL_VERSION, client="supervisor"),
        Subscribe(kinds=tuple(sorted(STATE_KINDS))),
        GetStatus(),
    )
    for request in requests:
        request_id, line = connection.send_request(request)
        stream.send(line)
        answered = False
        while not answered:
            connection.receive_data(await stream.receive())
            while not answered and (event := connection.next_event()) is not NEED_DATA:
                match event:
                    case ResultReceived():
                        answered = event.request_id == request_id
                    case ErrorReceived():
                        raise event.error
                    case ConnectionClosed():
                        raise _failed("it ended")
                    case _:
                        pass  # a notification


def _failed(why: str) -> StartFailed:
    return StartFailed(f"cannot rehearse a pod's start: {why}", step="rehearsal", detail=why)
