"""One end of a connection: what the peer may do, what it may not, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from pods_protocol import pod_messages as pod
from pods_protocol.api import POD_API, Api
from pods_protocol.connection import (
    MAX_ID_CHARACTERS,
    BadRequest,
    Connection,
    ConnectionClosed,
    ErrorReceived,
    LocalProtocolError,
    NotificationReceived,
    RequestReceived,
    ResultReceived,
)
from pods_protocol.errors import (
    AlreadyRunning,
    InternalError,
    InvalidParams,
    InvalidRequest,
    NotAuthorized,
    NotConnected,
    ParseError,
    TooLarge,
    UnknownMethod,
)
from pods_protocol.events import Event
from pods_protocol.states import State
from pods_protocol.supervisor_api import APIS
from protocol_support import (
    HELLO,
    ConnectionPair,
    drain,
    example_exchanges,
    hello_result,
    line,
    only_bad,
    only_error,
    told,
)

EVENT = Event(seq=1, time=1.0, turn=None, type="text", data={"text": "a"})


@pytest.mark.parametrize("api", APIS.values(), ids=lambda api: api.name)
def test_every_method_is_asked_and_answered(api: Api) -> None:
    pair = ConnectionPair(api).greet()
    for request, result in example_exchanges(api):
        if request.METHOD == "hello":
            continue
        request_id, events = pair.ask(request)
        assert events == [RequestReceived(request_id, request.METHOD, request)]
        assert pair.answer(request_id, result) == [ResultReceived(request_id, result)]


def test_hello_makes_both_ends_ready_once_it_is_answered() -> None:
    pair = ConnectionPair()
    assert (pair.client.state, pair.server.state) == (State.AWAITING_HELLO, State.AWAITING_HELLO)
    request_id, events = pair.ask(HELLO)
    assert events == [RequestReceived(1, "hello", HELLO)]
    assert (pair.client.state, pair.server.state) == (State.GREETING, State.GREETING)
    assert pair.answer(request_id, hello_result()) == [ResultReceived(1, hello_result())]
    assert (pair.client.state, pair.server.state) == (State.READY, State.READY)


def test_a_refused_hello_may_be_said_again() -> None:
    pair = ConnectionPair()
    request_id, _ = pair.ask(HELLO)
    refused = only_error(pair.refuse(request_id, NotAuthorized("cannot let you in: wrong token")))
    assert isinstance(refused.error, NotAuthorized)
    assert (pair.client.state, pair.server.state) == (State.AWAITING_HELLO, State.AWAITING_HELLO)
    pair.greet()


def test_answers_may_come_in_another_order() -> None:
    pair = ConnectionPair().greet()
    first, _ = pair.ask(pod.Ping())
    second, _ = pair.ask(pod.Cancel())
    assert pair.answer(second, pod.CancelResult(turn=3)) == [
        ResultReceived(second, pod.CancelResult(turn=3))
    ]
    assert pair.answer(first, pod.Empty()) == [ResultReceived(first, pod.Empty())]


def test_an_error_comes_out_as_the_class_that_went_in() -> None:
    pair = ConnectionPair().greet()
    request_id, _ = pair.ask(pod.Run(input="a"))
    said = AlreadyRunning("cannot run: busy", turn=3, message="in the data", self="too")
    received = only_error(pair.refuse(request_id, said))
    assert received.request_id == request_id
    assert type(received.error) is AlreadyRunning
    assert received.error.message == said.message
    assert received.error.data == said.data


def test_a_notification_arrives() -> None:
    pair = ConnectionPair().greet()
    assert pair.say("event", EVENT) == [NotificationReceived("event", EVENT)]


# --- what a client may get wrong ---


@pytest.mark.parametrize("method", ["status", "no_such_method"])
def test_nothing_is_told_before_hello(method: str) -> None:
    server = Connection("server", POD_API)
    bad = only_bad(told(server, line(jsonrpc="2.0", id=1, method=method)))
    assert isinstance(bad.error, InvalidRequest)
    assert "say hello first" in bad.error.message
    assert (bad.request_id, bad.fatal) == (1, False)
    assert b'"id":1' in server.send_error(1, bad.error)
    assert server.state is State.AWAITING_HELLO


def test_nothing_is_told_while_hello_is_not_answered() -> None:
    pair = ConnectionPair()
    pair.ask(HELLO)
    for method in ("status", "hello"):
        bad = only_bad(told(pair.server, line(jsonrpc="2.0", id=method, method=method)))
        assert isinstance(bad.error, InvalidRequest)
        assert "wait for its answer" in bad.error.message
        pair.server.send_error(method, bad.error)
    assert pair.server.state is State.GREETING


def test_hello_is_said_once() -> None:
    pair = ConnectionPair().greet()
    again = line(jsonrpc="2.0", id=9, method="hello", params={"token": "x", "protocol": 1})
    bad = only_bad(told(pair.server, again))
    assert isinstance(bad.error, InvalidRequest)
    assert "once" in bad.error.message


@pytest.mark.parametrize(
    ("members", "kind", "request_id"),
    [
        ({"jsonrpc": "2.0", "method": "status"}, InvalidRequest, None),
        ({"jsonrpc": "2.0", "id": None, "method": "status"}, InvalidRequest, None),
        ({"jsonrpc": "2.0", "id": True, "method": "status"}, InvalidRequest, None),
        ({"jsonrpc": "2.0", "id": 1.5, "method": "status"}, InvalidRequest, None),
        ({"jsonrpc": "2.0", "id": [1], "method": "status"}, InvalidRequest, None),
        (
            {"jsonrpc": "2.0", "id": "x" * (MAX_ID_CHARACTERS + 1), "method": "status"},
            InvalidRequest,
            None,
        ),
        ({"id": 5, "method": "status"}, InvalidRequest, 5),
        ({"jsonrpc": 2.0, "id": 5, "method": "status"}, InvalidRequest, 5),
        ({"jsonrpc": "2.0", "id": 5}, InvalidRequest, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": 7}, InvalidRequest, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "status", "param": {}}, InvalidRequest, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "stats"}, UnknownMethod, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "zzzzzz"}, UnknownMethod, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "\x00{x}" * 999}, UnknownMethod, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "run"}, InvalidParams, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "run", "params": None}, InvalidParams, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "run", "params": ["a"]}, InvalidParams, 5),
        ({"jsonrpc": "2.0", "id": 5, "method": "status", "params": []}, InvalidParams, 5),
    ],
)
def test_a_wrong_request_is_refused_and_the_connection_goes_on(
    members: dict[str, Any], kind: type[Exception], request_id: int | None
) -> None:
    pair = ConnectionPair().greet()
    bad = only_bad(told(pair.server, line(**members)))
    assert type(bad.error) is kind
    assert (bad.request_id, bad.fatal) == (request_id, False)
    assert len(bad.error.message) < 600
    pair.server.send_error(request_id, bad.error)
    assert len(told(pair.server, line(jsonrpc="2.0", id=5, method="status"))) == 1
    assert pair.server.state is State.READY


def test_the_nearest_method_and_member_are_named() -> None:
    server = ConnectionPair().greet().server
    bad = only_bad(told(server, line(jsonrpc="2.0", id=5, method="stats")))
    assert bad.error.data == {"method": "stats", "nearest": "status"}
    bad = only_bad(told(server, line(jsonrpc="2.0", id=6, method="status", param={})))
    assert bad.error.data == {"nearest": "params"}


@pytest.mark.parametrize("garbage", [b"{\n", b"[]\n", b"\xff\n", b'{"jsonrpc"\n'])
def test_a_server_goes_on_after_a_line_that_is_no_request(garbage: bytes) -> None:
    server = ConnectionPair().greet().server
    first, second = told(server, garbage + line(jsonrpc="2.0", id=5, method="status"))
    assert isinstance(first, BadRequest)
    assert isinstance(first.error, ParseError)
    assert (first.request_id, first.fatal) == (None, False)
    assert isinstance(second, RequestReceived)


def test_an_id_in_use_is_refused_and_the_first_request_stands() -> None:
    pair = ConnectionPair().greet()
    request = line(jsonrpc="2.0", id="a", method="status")
    (taken,) = told(pair.server, request)
    assert isinstance(taken, RequestReceived)
    bad = only_bad(told(pair.server, request))
    assert bad.request_id is None  # an answer under this id would be taken for the first one's
    assert bad.error.data == {"id": "a"}
    pair.server.send_error("a", bad.error)
    assert isinstance(told(pair.server, request)[0], RequestReceived)


def test_an_over_long_line_ends_the_connection_as_soon_as_it_is_too_long() -> None:
    server = ConnectionPair(max_line_bytes=400).greet().server
    bad, closed = told(server, b"x" * 401)
    assert isinstance(bad, BadRequest)
    assert isinstance(bad.error, TooLarge)
    assert (bad.request_id, bad.fatal) == (None, True)
    assert closed == ConnectionClosed(clean=False)
    assert server.state is State.FAILED
    assert b'"too_large"' in server.send_error(None, bad.error)
    assert told(server, b"\n" + line(jsonrpc="2.0", id=5, method="status")) == [closed]


# --- what a server may get wrong ---


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"jsonrpc":"2.0","id":99,"result":{}}\n',
        b'{"jsonrpc":"2.0","result":{}}\n',
        b'{"jsonrpc":"2.0","id":[],"result":{}}\n',
        b'{"jsonrpc":"2.0","id":2}\n',
        b'{"jsonrpc":"2.0","id":2,"error":"no"}\n',
        b'{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"m"}}\n',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}\n',
        b'{"jsonrpc":"2.0","method":"event","params":{"seq":"1"}}\n',
        b'{"jsonrpc":"2.0","method":"event"}\n',
        b"x" * 2000,
    ],
)
def test_a_client_gives_up_on_a_server_that_makes_no_sense(said: bytes) -> None:
    pair = ConnectionPair(max_line_bytes=1000).greet()
    pair.client.send_request(pod.GetStatus())
    error, closed = told(pair.client, said + line(jsonrpc="2.0", id=2, result={}))
    assert isinstance(error, ErrorReceived)
    assert error.request_id is None
    assert closed == ConnectionClosed(clean=False)
    assert pair.client.state is State.FAILED


def test_a_notification_before_hello_is_answered_makes_no_sense() -> None:
    pair = ConnectionPair()
    pair.ask(HELLO)
    said = line(jsonrpc="2.0", method="event", params={})
    assert only_error(told(pair.client, said)[:1]).request_id is None


def test_an_answer_that_cannot_be_read_fails_its_request_alone() -> None:
    pair = ConnectionPair().greet()
    pair.client.send_request(pod.GetStatus())
    error = only_error(told(pair.client, line(jsonrpc="2.0", id=2, result={"state": "odd"})))
    assert error.request_id == 2
    assert isinstance(error.error, InvalidParams)
    assert pair.client.state is State.READY


def test_an_answer_to_hello_that_cannot_be_read_is_no_welcome() -> None:
    client = Connection("client", POD_API)
    client.send_request(HELLO)
    assert only_error(told(client, line(jsonrpc="2.0", id=1, result={}))).request_id == 1
    assert client.state is State.AWAITING_HELLO


@pytest.mark.parametrize("method", ["news", None, 5, []])
def test_an_unknown_notification_is_passed_over(method: object) -> None:
    client = ConnectionPair().greet().client
    assert told(client, line(jsonrpc="2.0", method=method, params=5)) == []


def test_an_error_of_an_unknown_code_is_still_an_error() -> None:
    pair = ConnectionPair().greet()
    pair.client.send_request(pod.GetStatus())
    wire = {"code": -32099, "message": "cannot: new", "data": {"code": "brand_new", "a": 1}}
    error = only_error(told(pair.client, line(jsonrpc="2.0", id=2, error=wire)))
    assert error.error.data == {"a": 1, "remote_code": "brand_new"}


# --- the end ---


def test_the_end_after_a_whole_line_is_clean_and_what_was_asked_is_answered() -> None:
    pair = ConnectionPair().greet()
    request_id, asked = pair.client.send_request(pod.Ping())
    pair.server.receive_data(asked)
    pair.server.receive_data(b"")
    assert drain(pair.server) == [
        RequestReceived(request_id, "ping", pod.Ping()),
        ConnectionClosed(clean=True),
    ]
    assert pair.server.state is State.CLOSED
    assert pair.server.next_event() == ConnectionClosed(clean=True)
    assert pair.answer(request_id, pod.Empty()) == [ResultReceived(request_id, pod.Empty())]
    assert pair.say("event", EVENT) == [NotificationReceived("event", EVENT)]


def test_the_end_in_the_middle_of_a_line_is_not_clean() -> None:
    server = ConnectionPair().greet().server
    server.receive_data(b'{"jsonrpc":"2.0","id":5,"method":"ping"}')
    server.receive_data(b"")
    assert drain(server) == [ConnectionClosed(clean=False)]
    assert server.state is State.FAILED


def test_a_request_after_the_end_says_that_the_connection_is_gone() -> None:
    client = ConnectionPair().greet().client
    client.receive_data(b"")
    assert drain(client) == [ConnectionClosed(clean=True)]
    with pytest.raises(NotConnected):
        client.send_request(pod.Ping())


def test_bytes_after_the_end_are_a_bug_of_ours() -> None:
    server = Connection("server", POD_API)
    server.receive_data(b"")
    server.receive_data(b"")
    with pytest.raises(LocalProtocolError):
        server.receive_data(b"a")


def test_after_a_failed_write_nothing_may_be_sent() -> None:
    pair = ConnectionPair().greet()
    request_id, _ = pair.ask(pod.Ping())
    pair.server.send_failed()
    pair.server.send_failed()
    assert pair.server.state is State.BROKEN
    assert drain(pair.server) == [ConnectionClosed(clean=False)]
    with pytest.raises(LocalProtocolError):
        pair.server.send_result(request_id, pod.Empty())
    with pytest.raises(LocalProtocolError):
        pair.server.send_error(request_id, InternalError("cannot"))
    with pytest.raises(LocalProtocolError):
        pair.server.send_notification("event", EVENT)
    pair.client.send_failed()
    with pytest.raises(NotConnected):
        pair.client.send_request(pod.Ping())
