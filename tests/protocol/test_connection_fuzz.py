"""Invariant: whatever bytes come, `next_event` gives its events and never raises."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from pods_protocol import pod_messages as pod
from pods_protocol.api import POD_API, Api
from pods_protocol.connection import (
    BadRequest,
    Connection,
    ConnectionClosed,
    ConnectionEvent,
    ErrorReceived,
    NotificationReceived,
    RequestReceived,
    ResultReceived,
)
from pods_protocol.errors import PodsError
from pods_protocol.shapes import shape_of
from pods_protocol.states import State
from pods_protocol.supervisor_api import APIS
from protocol_support import (
    JSON,
    ConnectionPair,
    drain,
    example_exchanges,
    json_of,
    mutated,
)

SERVER_EVENTS = (RequestReceived, BadRequest, ConnectionClosed)
CLIENT_EVENTS = (ResultReceived, ErrorReceived, NotificationReceived, ConnectionClosed)
API = st.sampled_from(list(APIS.values()))


def conversation(api: Api) -> tuple[bytes, bytes]:
    """All that a client says, and all that a server answers to it."""
    pair = ConnectionPair(api)
    asked = answered = b""
    for request, result in example_exchanges(api):
        request_id, line = pair.client.send_request(request)
        asked += line
        pair.server.receive_data(line)
        drain(pair.server)
        line = pair.server.send_result(request_id, result)
        answered += line
        pair.client.receive_data(line)
        drain(pair.client)
    return asked, answered


SAID = {name: conversation(api) for name, api in APIS.items()}


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut at some places, which are taken modulo its length."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:stop] for start, stop in pairwise(places)]


def server_in_order(api: Api, chunks: list[bytes]) -> list[ConnectionEvent]:
    """What a server makes of chunks, when it answers each request before it reads on."""
    server = Connection("server", api)
    answers = {request.METHOD: result for request, result in example_exchanges(api)}
    seen: list[ConnectionEvent] = []
    for chunk in [*chunks, b""]:
        server.receive_data(chunk)
        while isinstance(event := server.next_event(), RequestReceived):
            server.send_result(event.request_id, answers[event.method])
            seen.append(event)
        seen += [event] if isinstance(event, SERVER_EVENTS) else []
    return seen


def client_in_order(api: Api, chunks: list[bytes]) -> list[ConnectionEvent]:
    client = Connection("client", api)
    # Ask everything as hello and as soon as hello is answered, so that answers find their asker.
    client.send_request(example_exchanges(api)[0][0])
    seen: list[ConnectionEvent] = []
    for chunk in [*chunks, b""]:
        client.receive_data(chunk)
        while isinstance(event := client.next_event(), CLIENT_EVENTS):
            seen.append(event)
            if isinstance(event, ConnectionClosed):
                break
            if len(seen) == 1:
                for request, _ in example_exchanges(api)[1:]:
                    client.send_request(request)
    return seen


@settings(max_examples=60, deadline=None)
@given(API, st.lists(st.integers(min_value=0), max_size=40))
def test_any_chunking_of_a_conversation_gives_the_same_events(api: Api, cuts: list[int]) -> None:
    asked, answered = SAID[api.name]
    assert server_in_order(api, pieces(asked, cuts)) == server_in_order(api, [asked])
    assert client_in_order(api, pieces(answered, cuts)) == client_in_order(api, [answered])


def test_a_conversation_byte_by_byte_gives_the_same_events() -> None:
    for name, (asked, answered) in SAID.items():
        api = APIS[name]
        server = server_in_order(api, [asked])
        client = client_in_order(api, [answered])
        assert len(server) == len(client) == len(api.methods) + 1
        assert server[-1] == client[-1] == ConnectionClosed(clean=True)
        assert server_in_order(api, pieces(asked, list(range(len(asked))))) == server
        assert client_in_order(api, pieces(answered, list(range(len(answered))))) == client


def feed_server(server: Connection, data: bytes) -> None:
    """Feed, and answer all that comes as a server does; anything it raises fails the test."""
    server.receive_data(data)
    for event in drain(server):
        assert isinstance(event, SERVER_EVENTS)
        if isinstance(event, BadRequest):
            server.send_error(event.request_id, event.error)
        elif isinstance(event, RequestReceived):
            server.send_error(event.request_id, PodsError("cannot"))


def feed_client(client: Connection, data: bytes) -> None:
    client.receive_data(data)
    for event in drain(client):
        assert isinstance(event, CLIENT_EVENTS)


NOISE = st.lists(
    st.binary(min_size=1, max_size=40)
    | st.sampled_from(
        [
            b"\n",
            b'{"jsonrpc":"2.0",',
            b'"id":1,',
            b'"method":"event",',
            b'"params":{}}\n',
            b'"result":{}}\n',
            b'"error":{}}\n',
            b'{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":5,"data":{"code":[]}}}\n',
            b'{"jsonrpc":"2.0","id":3,"error":{"data":{"code":"busy","message":"x","self":1}}}\n',
        ]
    ),
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(NOISE, st.booleans())
def test_noise_is_never_an_exception(noise: list[bytes], ready: bool) -> None:
    pair = ConnectionPair(max_line_bytes=500)
    if ready:
        pair.greet()
        pair.client.send_request(pod.Ping())
        pair.client.send_request(pod.GetStatus())
    for data in [*noise, b""]:
        feed_server(pair.server, data)
        feed_client(pair.client, data)
    assert pair.server.state in (State.CLOSED, State.FAILED)
    assert pair.client.state in (State.CLOSED, State.FAILED)


ENVELOPE = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers(1, 4) | JSON,
        "method": st.sampled_from([*POD_API.methods, "event"]) | JSON,
        "params": JSON,
        "result": JSON,
        "error": JSON | st.fixed_dictionaries({"data": JSON}),
    },
)


@settings(max_examples=80, deadline=None)
@given(st.lists(ENVELOPE, max_size=6), st.booleans())
def test_json_of_any_kind_is_never_an_exception(lines: list[Any], ready: bool) -> None:
    pair = ConnectionPair()
    if ready:
        pair.greet()
        pair.client.send_request(pod.Ping())
        pair.client.send_request(pod.GetStatus())
    for value in lines:
        data = orjson.dumps(value) + b"\n"
        feed_server(pair.server, data)
        feed_client(pair.client, data)


METHODS = st.sampled_from([(api, name) for api in APIS.values() for name in api.methods])


@settings(max_examples=80, deadline=None)
@given(METHODS, st.data())
def test_a_mutated_request_is_taken_or_refused(
    method: tuple[Api, str], data: st.DataObject
) -> None:
    api, name = method
    server = ConnectionPair(api).greet().server
    params = data.draw(json_of(shape_of(api.methods[name].request)).flatmap(mutated))
    request = {"jsonrpc": "2.0", "id": 9, "method": name, "params": params}
    server.receive_data(orjson.dumps(request) + b"\n")
    (event,) = drain(server)
    assert isinstance(event, RequestReceived | BadRequest)
    assert event.request_id == 9
    if isinstance(event, BadRequest):
        assert event.error.message.startswith("cannot ")
        assert len(event.error.message) < 1000
    assert server.state is State.READY
