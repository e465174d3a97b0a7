"""A pod's start without a loop, a socket or a process: done a few times before pods are forked.

Owns nothing that stays. The interpreter adapts code to what it does in its first runs, by writing
to the code's own memory; done here, the work and its page faults are not each pod's (180 of 1,550
faults before the first answer, Python 3.11). Before forks no event loop is run: a process that
forks never ran one. Called by the launcher before it forks; in each spare pod again, and there once
more within its loop, for what only a loop does.
"""

from __future__ import annotations

import os
import shutil
import socket
from functools import partial

import trio

from pods.agents.loading import load_agent
from pods.journal.store import Journal
from pods.paths import JOURNAL_NAME
from pods.pod.life import example_spec
from pods.pod.main import hello_result, log
from pods.pod.server import PodServer
from pods.rpc.server import Session, serve_connection
from pods.rpc.stream import UnixStream
from pods.scope.confine import OwnPlaces, prepare
from pods_protocol.api import POD_API
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.connection import Connection, RequestReceived
from pods_protocol.pod_messages import Hello, HelloResult, Request, Subscribe, SubscribeResult
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import ScopeGrant, ScopeRule


def rehearse(directory: str, *, forbidden: tuple[str, str]) -> None:
    """Open a journal, take it over, answer a hello and a subscription; then forget it all.

    Args:
        directory: to work in; made here and removed.
        forbidden: the roots of pods' own directories.

    Raises:
        PodsError, OSError: the disk refuses.
    """
    os.mkdir(directory, 0o700)
    try:
        spec = example_spec(directory)
        _be_held(spec, forbidden)
        with Journal.open(f"{directory}/{JOURNAL_NAME}") as journal:
            agent = load_agent(spec.agent, spec.options, cwd=spec.cwd)
            PodServer(spec, journal, agent, log).take_over()
        _converse(spec)
    finally:
        shutil.rmtree(directory)


async def rehearse_serving() -> None:
    """Serve one connection, of this process to itself; then forget it."""
    hello = hello_result(example_spec("/"))
    told = SubscribeResult(last_seq=0)

    def authenticate(session: Session, message: Hello) -> HelloResult:
        return hello

    def subscribe(session: Session, message: Subscribe) -> SubscribeResult:
        return told

    ours, theirs = socket.socketpair()
    client = UnixStream(ours)
    asking = Connection("client", POD_API)
    serve = partial(
        serve_connection,
        UnixStream(theirs),
        POD_API,
        authenticate=authenticate,
        handlers={Subscribe.METHOD: subscribe},
        log=log,
        settle=lambda: None,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        for request in (Hello(token="", protocol=PROTOCOL_VERSION), Subscribe()):
            _, line = asking.send_request(request)
            client.send(line)
            asking.receive_data(await client.receive())
            asking.next_event()
        client.close()


def _be_held(spec: PodSpec, forbidden: tuple[str, str]) -> None:
    """Everything of a confinement but to enter it."""
    here = os.path.realpath(spec.state_directory)  # a rule's target is canonical
    grant = ScopeGrant(allow=(ScopeRule(target=here, permission="write", recursive=True),))
    own = OwnPlaces(write=(here,), read=(here,), forbidden=forbidden)
    with prepare(grant, own, environ=os.environ, switches={}):
        pass


def _converse(spec: PodSpec) -> None:
    client, server = Connection("client", POD_API), Connection("server", POD_API)
    exchanges: tuple[tuple[Request[object], object], ...] = (
        (Hello(token=spec.token, protocol=PROTOCOL_VERSION), hello_result(spec)),
        (Subscribe(), SubscribeResult(last_seq=0)),
    )
    for request, result in exchanges:
        _, line = client.send_request(request)
        server.receive_data(line)
        received = server.next_event()
        assert isinstance(received, RequestReceived), "the client has just asked"
        client.receive_data(server.send_result(received.request_id, result))
        client.next_event()
