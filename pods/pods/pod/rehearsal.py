"""A pod's start without a socket or a process: done a few times before pods are forked.

Owns nothing that stays. The interpreter adapts code to what it does in its first runs, by writing
to the code's own memory; done here, the work and its page faults are not each pod's (220 of 1,550
faults before the first answer, Python 3.11). The event loop is run as well: to its end and without
a thread, so nothing of it is left when the first pod is forked. Called by the launcher's preload.
"""

from __future__ import annotations

import os
import shutil
import signal
from typing import Final

import trio

from pods.agents.loading import load_agent
from pods.journal.store import Journal
from pods.paths import JOURNAL_NAME
from pods.pod.main import hello_result, log
from pods.pod.server import PodServer
from pods.scope.confine import OwnPlaces, prepare
from pods_protocol.api import POD_API
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.connection import Connection, RequestReceived
from pods_protocol.pod_messages import Hello, Request, Subscribe, SubscribeResult
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import ScopeGrant, ScopeRule

ROUNDS: Final = 4
"""After these the interpreter has adapted what there is to adapt; each takes some 5 ms."""


def rehearse(directory: str) -> None:
    """Open a journal, take it over, answer a hello and a subscription; then forget it all.

    Args:
        directory: to work in; made here and removed.

    Raises:
        PodsError, OSError: the disk refuses.
    """
    spec = _spec(directory)
    for _ in range(ROUNDS):
        os.mkdir(directory, 0o700)
        try:
            _be_held(spec)
            with Journal.open(f"{directory}/{JOURNAL_NAME}") as journal:
                agent = load_agent(spec.agent, spec.options, cwd=spec.cwd)
                PodServer(spec, journal, agent, log).take_over()
            _converse(spec)
            trio.run(_loop)
        finally:
            shutil.rmtree(directory)


def _be_held(spec: PodSpec) -> None:
    """Everything of a confinement but to enter it."""
    here = spec.state_directory
    grant = ScopeGrant(allow=(ScopeRule(target=here, permission="write", recursive=True),))
    own = OwnPlaces(write=(here,), read=(here,))
    with prepare(grant, own, environ=os.environ, switches={}):
        pass


async def _loop() -> None:
    """The kinds of tasks and waits that a pod begins with."""
    over = trio.Event()

    async def listen(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM):
            task_status.started()
            await over.wait()

    async def wait() -> None:
        with trio.move_on_after(1):
            await over.wait()

    async with trio.open_nursery() as outer:
        await outer.start(listen)
        async with trio.open_nursery() as inner:
            inner.start_soon(wait)
            await trio.lowlevel.checkpoint()
            over.set()
        outer.cancel_scope.cancel()


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


def _spec(directory: str) -> PodSpec:
    return PodSpec(
        id="0" * 12,
        name="rehearsal",
        agent="shell",
        parent=None,
        cwd="/",
        grant=ScopeGrant(),
        python=None,
        call_back=False,
        supervisor="",
        supervisor_socket="",
        pod_socket="",
        keeper_socket="",
        state_directory=directory,
        runtime_directory=directory,
        token="",
        owner_digest="",
    )
