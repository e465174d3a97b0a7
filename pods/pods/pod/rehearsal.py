"""A pod's start without a loop, a socket or a process: done once before pods are forked.

Owns nothing that stays. The interpreter adapts code to what it does as it first runs, by writing to
the code's own memory; done here, the work and its page faults are not each pod's (130 of 1,450
faults and 1.5 of 10 ms of CPU before the first answer, Python 3.11 on a busy machine). No event
loop is run: a process that forks never ran one. Called by the launcher's preload.
"""

from __future__ import annotations

import os
import shutil

from pods.agents.loading import load_agent
from pods.journal.store import Journal
from pods.paths import JOURNAL_NAME
from pods.pod.main import hello_result, log
from pods.pod.server import PodServer
from pods_protocol.api import POD_API
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.connection import Connection, RequestReceived
from pods_protocol.pod_messages import Hello, Request, Subscribe, SubscribeResult
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import ScopeGrant


def rehearse(directory: str) -> None:
    """Open a journal, take it over, answer a hello and a subscription; then forget it all.

    Args:
        directory: to work in; made here and removed.

    Raises:
        PodsError, OSError: the disk refuses.
    """
    os.mkdir(directory, 0o700)
    try:
        spec = _spec(directory)
        with Journal.open(f"{directory}/{JOURNAL_NAME}") as journal:
            agent = load_agent(spec.agent, spec.options, cwd=spec.cwd)
            PodServer(spec, journal, agent, log).take_over()
        _converse(spec)
    finally:
        shutil.rmtree(directory)


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
