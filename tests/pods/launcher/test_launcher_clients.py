"""What a launcher does with clients that misbehave: they lose their connection, nothing else."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from pods_protocol.api import LAUNCHER_API
from pods_protocol.bounds import MAX_LINE_BYTES, PROTOCOL_VERSION
from pods_protocol.codec import encode_request
from pods_protocol.errors import NotAuthorized, UnsupportedProtocol
from pods_protocol.pod_messages import Hello, Ping
from pods_protocol.process_messages import ListKeepers
from process_support import (
    WAIT_SECONDS,
    BlockingClient,
    RunningLauncher,
    ask_pod,
    descriptors_of,
    running_launcher,
    wait_for,
)


def raw_connection(launcher: RunningLauncher) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(WAIT_SECONDS)
    sock.connect(launcher.places.launcher_socket)
    return sock


def read_all(sock: socket.socket) -> bytes:
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    return data


def test_a_wrong_token_is_refused_and_the_connection_ends(launcher: RunningLauncher) -> None:
    with pytest.raises(NotAuthorized):
        launcher.connect(token="somebody-else")
    with raw_connection(launcher) as sock:
        sock.sendall(encode_request(1, Hello(token="no", protocol=PROTOCOL_VERSION)))
        assert b"not_authorized" in read_all(sock)


def test_another_protocol_is_refused(launcher: RunningLauncher) -> None:
    with raw_connection(launcher) as sock:
        sock.sendall(encode_request(1, Hello(token="no", protocol=99)))
        assert UnsupportedProtocol.CODE.encode() in read_all(sock)


def test_nothing_is_answered_before_hello(launcher: RunningLauncher) -> None:
    with raw_connection(launcher) as sock:
        sock.sendall(encode_request(1, ListKeepers()))
        assert b"say hello first" in sock.recv(4096)


@pytest.mark.parametrize("noise", [b"\xff\xfe\n", b"{}\n", b"[[[[\n", b"null\n", b'{"id":1}\n'])
def test_noise_is_answered_with_errors_and_others_are_served(
    launcher: RunningLauncher, client: BlockingClient, noise: bytes
) -> None:
    with raw_connection(launcher) as sock:
        sock.sendall(noise * 50)
        assert b'"error"' in sock.recv(4096)
        assert client.ask(Ping()) is not None


def test_a_line_over_the_cap_ends_the_connection(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    with raw_connection(launcher) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(b"x" * (MAX_LINE_BYTES + 2))
        read_all(sock)
    assert client.ask(Ping()) is not None


def test_a_client_that_never_reads_three_hundred_answers_blocks_nobody(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    with launcher.connect() as deaf:
        lines = [deaf.connection.send_request(ListKeepers())[1] for _ in range(1000)]
        deaf.sock.sendall(b"".join(lines))
        spec = launcher.spec()
        launcher.launch(client, spec)
        assert ask_pod(spec)["pid"]
    # What it had sent is not answered after it went.
    client.ask(Ping())


def test_a_deaf_client_gets_all_its_answers_in_order_when_it_reads_at_last(
    launcher: RunningLauncher,
) -> None:
    with launcher.connect() as slow:
        lines = [slow.connection.send_request(Ping())[1] for _ in range(2000)]
        slow.sock.sendall(b"".join(lines[:1000]))
        slow.sock.sendall(b"".join(lines[1000:]))
        data = b""
        while data.count(b'"result"') < 2000 or not data.endswith(b"\n"):
            data += slow.sock.recv(65536)
    # Beside the answers the launcher tells of keepers that ended meanwhile.
    answers = [line for line in data.splitlines() if b'"method"' not in line]
    ids = [int(line.partition(b'"id":')[2].partition(b",")[0]) for line in answers]
    assert ids == list(range(2, 2002))


def test_who_says_nothing_is_let_go_at_the_hello_deadline(pods_environ: dict[str, str]) -> None:
    with (
        running_launcher(pods_environ, PODS_TEST_HELLO_SECONDS="0.1") as running,
        running.connect() as greeted,
        raw_connection(running) as silent,
    ):
        refusal = json.loads(read_all(silent))
        assert (refusal["id"], refusal["error"]["data"]["code"]) == (None, "timed_out")
        assert greeted.ask(Ping()) is not None


def test_more_connections_than_the_bound_are_closed_and_the_others_work(
    launcher: RunningLauncher, client: BlockingClient
) -> None:
    before = len(descriptors_of(launcher.pid))
    crowd = [raw_connection(launcher) for _ in range(80)]
    try:
        assert client.ask(Ping()) is not None
        assert len(descriptors_of(launcher.pid)) <= before + 32
    finally:
        for sock in crowd:
            sock.close()
    wait_for(lambda: len(descriptors_of(launcher.pid)) <= before, "descriptors are kept")
    with BlockingClient(launcher.places.launcher_socket, LAUNCHER_API) as again:
        again.ask(Ping())
