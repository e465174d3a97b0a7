"""Our own mistakes: what an end of a connection refuses to send."""

from __future__ import annotations

import pytest

from pods_protocol import pod_messages as pod
from pods_protocol.api import KEEPER_API, POD_API
from pods_protocol.connection import NEED_DATA, Connection, LocalProtocolError, RequestReceived
from pods_protocol.errors import InternalError, InvalidParams, TooLarge
from pods_protocol.events import Event
from protocol_support import HELLO, ConnectionPair, line, only_bad, only_error, told

EVENT = Event(seq=1, time=1.0, turn=None, type="text", data={"text": "a"})


def test_a_request_before_hello_is_a_bug_of_ours() -> None:
    client = Connection("client", POD_API)
    with pytest.raises(LocalProtocolError):
        client.send_request(pod.Ping())
    client.send_request(HELLO)
    with pytest.raises(LocalProtocolError):
        client.send_request(pod.Ping())
    with pytest.raises(LocalProtocolError):
        client.send_request(HELLO)


def test_a_request_of_another_socket_is_a_bug_of_ours() -> None:
    client = ConnectionPair(KEEPER_API).greet().client
    for message in (pod.Ping(), pod.GetStatus()):  # unknown there; another class's `status`
        with pytest.raises(LocalProtocolError):
            client.send_request(message)


def test_each_end_sends_only_what_is_its_own() -> None:
    pair = ConnectionPair().greet()
    with pytest.raises(LocalProtocolError):
        pair.server.send_request(pod.Ping())
    with pytest.raises(LocalProtocolError):
        pair.client.send_result(1, pod.Empty())
    with pytest.raises(LocalProtocolError):
        pair.client.send_error(None, InternalError("cannot"))
    with pytest.raises(LocalProtocolError):
        pair.client.send_notification("event", EVENT)


def test_a_request_is_answered_once_and_with_its_own_answer() -> None:
    pair = ConnectionPair().greet()
    request_id, _ = pair.ask(pod.Ping())
    with pytest.raises(LocalProtocolError):
        pair.server.send_result(request_id, pod.CancelResult(turn=None))
    pair.server.send_result(request_id, pod.Empty())
    with pytest.raises(LocalProtocolError):
        pair.server.send_result(request_id, pod.Empty())
    with pytest.raises(LocalProtocolError):
        pair.server.send_error(request_id, InternalError("cannot"))


def test_a_refused_request_has_no_result() -> None:
    server = ConnectionPair().greet().server
    only_bad(told(server, line(jsonrpc="2.0", id=5, method="stats")))
    with pytest.raises(LocalProtocolError):
        server.send_result(5, pod.Empty())


def test_a_notification_has_its_own_time_and_class() -> None:
    pair = ConnectionPair()
    with pytest.raises(LocalProtocolError):
        pair.server.send_notification("event", EVENT)
    pair.greet()
    with pytest.raises(LocalProtocolError):
        pair.server.send_notification("event", pod.Empty())
    with pytest.raises(LocalProtocolError):
        pair.server.send_notification("news", EVENT)


# --- too large to send ---


def test_a_request_over_the_cap_is_not_sent_and_uses_no_id() -> None:
    pair = ConnectionPair(max_line_bytes=400).greet()
    with pytest.raises(TooLarge) as refused:
        pair.client.send_request(pod.Run(input="x" * 400))
    assert refused.value.data["limit_bytes"] == 400
    with pytest.raises(InvalidParams):
        pair.client.send_request(pod.Run(input="\ud800"))
    assert pair.ask(pod.Ping())[0] == 2


def test_a_line_of_just_the_cap_passes_both_ends() -> None:
    pair = ConnectionPair(max_line_bytes=400).greet()
    spare = 400 - len(pair.client.send_request(pod.Run(input=""))[1][:-1])
    request_id, events = pair.ask(pod.Run(input="x" * spare))
    assert isinstance(events[0], RequestReceived)
    with pytest.raises(TooLarge):
        pair.client.send_request(pod.Run(input="x" * (spare + 1)))
    assert request_id == 3


def test_a_result_over_the_cap_may_be_answered_with_the_error_instead() -> None:
    pair = ConnectionPair(max_line_bytes=400).greet()
    request_id, _ = pair.ask(pod.Run(input="a"))
    with pytest.raises(TooLarge) as refused:
        pair.server.send_result(request_id, pod.RunResult(message_id="x" * 400, state="started"))
    error = only_error(pair.refuse(request_id, refused.value))
    assert isinstance(error.error, TooLarge)


def test_a_notification_over_the_cap_is_refused() -> None:
    pair = ConnectionPair(max_line_bytes=400).greet()
    big = Event(seq=1, time=1.0, turn=None, type="text", data={"text": "x" * 400})
    with pytest.raises(TooLarge):
        pair.server.send_notification("event", big)
    assert pair.client.next_event() is NEED_DATA
