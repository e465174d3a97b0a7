"""The standard-library client against a server of plain JSON lines."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from client_support import TOKEN, FakeServer, HangUp, Json, Peer, always, event
from pods.client import plain
from pods.client.plain import PlainClient
from pods.client.plain_connect import read_token
from pods_protocol.bounds import MAX_LINE_BYTES
from pods_protocol.errors import (
    InvalidParams,
    NotAuthorized,
    NotConnected,
    ParseError,
    PodsError,
    TimedOut,
    TooLarge,
    UnknownPod,
)
from supervisor_support import WAIT_SECONDS


@pytest.fixture
def server(short_dir: str) -> Iterator[FakeServer]:
    made = FakeServer(f"{short_dir}/s")
    yield made
    made.close()


def connect(server: FakeServer, timeout: float = WAIT_SECONDS) -> PlainClient:
    return PlainClient(server.path, TOKEN, timeout=timeout)


def test_hello_comes_first_and_its_answer_is_kept(server: FakeServer) -> None:
    with connect(server) as client:
        assert client.hello["server"] == "supervisor"
    assert server.requests[0] == ("hello", {"token": TOKEN, "protocol": 1, "client": "pods"})


def test_an_answer_comes_as_it_was_sent(server: FakeServer) -> None:
    server.answers["list"] = always({"pods": ["ä", {"deep": [1, 2]}]})
    with connect(server) as client:
        assert client.call("list", {"ended": True}) == {"pods": ["ä", {"deep": [1, 2]}]}
    assert server.params_of("list") == [{"ended": True}]


def test_a_refusal_is_raised_with_its_class_and_data(server: FakeServer) -> None:
    server.answers["stop"] = always(UnknownPod("cannot stop x: no such pod", pod="x"))
    with connect(server) as client:
        with pytest.raises(UnknownPod, match="no such pod") as caught:
            client.call("stop", {"pod": "x"})
        assert caught.value.data["pod"] == "x"


def test_a_wrong_token_is_refused_and_the_connection_is_closed(server: FakeServer) -> None:
    with pytest.raises(NotAuthorized):
        PlainClient(server.path, "wrong", timeout=WAIT_SECONDS)


def test_the_token_is_in_no_repr(server: FakeServer) -> None:
    with connect(server) as client:
        assert TOKEN not in repr(client)


def test_nobody_there_is_not_connected(short_dir: str) -> None:
    with pytest.raises(NotConnected, match="No such file"):
        PlainClient(f"{short_dir}/none", TOKEN, timeout=WAIT_SECONDS)


def test_a_path_that_no_socket_can_have_is_not_connected() -> None:
    with pytest.raises(NotConnected, match="too long"):
        PlainClient("/tmp/" + "x" * 200, TOKEN, timeout=WAIT_SECONDS)


def test_a_server_that_says_nothing_times_out(short_dir: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short_dir}/mute")
        listener.listen()
        with pytest.raises(TimedOut):
            PlainClient(f"{short_dir}/mute", TOKEN, timeout=0.05)


def test_a_listener_that_takes_nobody_times_out(short_dir: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(f"{short_dir}/full")
        listener.listen(0)
        first.connect(f"{short_dir}/full")
        with pytest.raises(TimedOut):
            PlainClient(f"{short_dir}/full", TOKEN, timeout=0.05)


def test_a_server_that_hangs_up_is_not_connected(server: FakeServer) -> None:
    server.answers["list"] = always(HangUp())
    with connect(server) as client, pytest.raises(NotConnected, match="hung up"):
        client.call("list", {})


def test_a_closed_client_is_not_connected_and_closing_again_is_nothing(server: FakeServer) -> None:
    client = connect(server)
    client.close()
    client.close()
    with pytest.raises(NotConnected):
        client.call("list", {})
    with pytest.raises(NotConnected):
        client.fileno()


def test_a_request_over_the_line_cap_is_refused_here(server: FakeServer) -> None:
    with connect(server) as client, pytest.raises(TooLarge) as caught:
        client.call("run", {"input": "x" * MAX_LINE_BYTES})
    assert caught.value.data["limit_bytes"] == MAX_LINE_BYTES
    assert server.params_of("run") == []


def test_text_that_is_no_unicode_is_refused_here(server: FakeServer) -> None:
    with connect(server) as client, pytest.raises(InvalidParams, match="not valid Unicode"):
        client.call("run", {"input": "a\udcff"})


def test_many_requests_of_one_kind_are_answered_in_their_order(server: FakeServer) -> None:
    def stop(_peer: Peer, params: Json) -> Json:
        if params["pod"] == "p7":
            raise UnknownPod("cannot stop p7: no such pod")
        return {"pod": params["pod"]}

    server.answers["stop"] = stop
    batch = [{"pod": f"p{number}"} for number in range(3 * plain.PIPELINED_REQUESTS)]
    with connect(server) as client:
        outcomes = client.call_many("stop", batch)
    assert isinstance(outcomes[7], UnknownPod)
    named = [None if isinstance(one, PodsError) else one["pod"] for one in outcomes]
    assert named == [None if one["pod"] == "p7" else one["pod"] for one in batch]


def test_events_that_come_before_an_answer_are_kept_for_the_reader(server: FakeServer) -> None:
    def subscribe(peer: Peer, _params: Json) -> Json:
        peer.event(event(5, "text", text="early"))
        return {"last_seq": 5}

    def late(peer: Peer, _params: Json) -> None:
        peer.event(event(6, "text", text="late"))
        raise HangUp

    server.answers["subscribe"] = subscribe
    server.answers["after subscribe"] = late
    with connect(server) as client:
        assert client.subscribe(4, ["text"]) == 5
        assert [one["seq"] for one in client.events(timeout=WAIT_SECONDS)] == [5, 6]
    assert server.params_of("subscribe") == [{"since": 4, "kinds": ["text"]}]


def test_waiting_for_events_has_a_deadline(server: FakeServer) -> None:
    server.answers["subscribe"] = always({"last_seq": 0})
    with connect(server) as client:
        client.subscribe()
        with pytest.raises(TimedOut):
            next(client.events(timeout=0.05))


def test_taking_events_gives_what_has_come_and_then_says_that_it_is_over(
    server: FakeServer,
) -> None:
    def poke(peer: Peer, _params: Json) -> Json:
        peer.event(event(1, "text", text="x"))
        return {}

    server.answers["subscribe"] = always({"last_seq": 0})
    with connect(server) as client:
        client.subscribe()
        server.answers["poke"] = poke
        client.call("poke", {})
        server.hang_up()
        assert [one["seq"] for one in client.take_events()] == [1]
        with pytest.raises(NotConnected):
            client.take_events()


def test_too_many_events_before_an_answer_end_the_connection(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "MAX_HELD_EVENTS", 3)

    def flood(peer: Peer, _params: Json) -> Json:
        for seq in range(1, 6):
            peer.event(event(seq, "text", text="x"))
        return {}

    server.answers["poke"] = flood
    with connect(server) as client, pytest.raises(TooLarge):
        client.call("poke", {})


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1, 2]\n", b"\xff\xfe\n"])
def test_what_is_no_answer_is_a_parse_error(short_dir: str, line: bytes) -> None:
    with speaking(f"{short_dir}/odd", line), pytest.raises(ParseError, match="no pods server"):
        PlainClient(f"{short_dir}/odd", TOKEN, timeout=WAIT_SECONDS)


def test_an_endless_line_is_cut_off(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "MAX_ANSWER_BYTES", 1000)
    with speaking(f"{short_dir}/odd", b"x" * 5000), pytest.raises(TooLarge):
        PlainClient(f"{short_dir}/odd", TOKEN, timeout=WAIT_SECONDS)


def test_an_error_about_the_connection_itself_is_raised(short_dir: str) -> None:
    line = json.dumps({"id": None, "error": {"code": -32700, "message": "cannot parse that"}})
    with (
        speaking(f"{short_dir}/odd", line.encode() + b"\n"),
        pytest.raises(PodsError, match="cannot parse that"),
    ):
        PlainClient(f"{short_dir}/odd", TOKEN, timeout=WAIT_SECONDS)


def test_an_answer_in_single_bytes_is_put_together(short_dir: str) -> None:
    hello = json.dumps({"id": 1, "result": {"server": "pod"}}).encode() + b"\n"
    with (
        speaking(f"{short_dir}/slow", *(bytes([byte]) for byte in hello)),
        PlainClient(f"{short_dir}/slow", TOKEN, timeout=WAIT_SECONDS) as client,
    ):
        assert client.hello == {"server": "pod"}


def test_a_token_is_read_without_its_newline(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "token")
    with open(path, "w") as file:
        file.write("secret\n")
    assert read_token(path) == "secret"


def test_a_missing_token_means_that_nobody_serves(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(NotConnected):
        read_token(os.path.join(tmp_path, "none"))


def test_a_token_that_may_not_be_read_is_not_ours(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(NotAuthorized, match=f"the token {tmp_path}: Is a directory; only its"):
        read_token(str(tmp_path))  # a directory: not even root reads that


class speaking:
    """A server that takes one connection and says these bytes, whatever it hears."""

    def __init__(self, path: str, *pieces: bytes) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._pieces = pieces
        self._thread = threading.Thread(target=self._speak)

    def _speak(self) -> None:
        peer, _ = self._listener.accept()
        with peer:
            peer.recv(65536)
            for piece in self._pieces:
                peer.sendall(piece)
            peer.recv(65536)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        self._thread.join()
        self._listener.close()
