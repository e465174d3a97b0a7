"""The lines of ACP: a golden conversation whole and byte by byte, and what is wrong on the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agents.acp import peer as peer_module
from pods.agents.acp.peer import (
    INVALID_REQUEST,
    AcpPeer,
    Answered,
    Asked,
    Closed,
    PeerEvent,
    Refused,
    Stray,
    Told,
)

GOLDEN = Path(__file__).parent / "golden" / "conversation.jsonl"
"""A conversation of a client (`>`) with an agent (`<`), a line each."""


def conversation() -> list[tuple[str, bytes]]:
    lines = GOLDEN.read_bytes().splitlines(keepends=True)
    return [(line[:1].decode(), line[2:]) for line in lines]


def events_of(peer: AcpPeer) -> list[PeerEvent]:
    found: list[PeerEvent] = []
    while (event := peer.next_event()) is not None:
        found.append(event)
        if isinstance(event, Closed):
            break
    return found


def sent(peer: AcpPeer) -> list[Any]:
    return [json.loads(line) for line in peer.data_to_send().splitlines()]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_conversation_is_the_golden_one_whole_and_in_pieces(size: int) -> None:
    client, agent = AcpPeer(), AcpPeer()
    for side, line in conversation():
        speaking, hearing = (client, agent) if side == ">" else (agent, client)
        say(speaking, json.loads(line))
        data = speaking.data_to_send()
        assert data == line, "our lines are the golden ones"
        for start in range(0, len(data), size):
            hearing.receive_data(data[start : start + size])
        (event,) = events_of(hearing)
        check(event, json.loads(line))


def say(peer: AcpPeer, message: dict[str, Any]) -> None:
    if "method" in message and "id" in message:
        assert peer.request(message["method"], message["params"]) == message["id"]
    elif "method" in message:
        peer.notify(message["method"], message["params"])
    elif "result" in message:
        peer.answer(message["id"], message["result"])
    else:
        error = message["error"]
        peer.refuse(message["id"], error["code"], error["message"], error.get("data"))


def check(event: PeerEvent, message: dict[str, Any]) -> None:
    match event:
        case Asked():
            assert (event.request_id, event.method) == (message["id"], message["method"])
            assert event.params == message["params"]
        case Told():
            assert (event.method, event.params) == (message["method"], message["params"])
        case Answered():
            assert (event.request_id, event.result) == (message["id"], message["result"])
        case Refused():
            error = message["error"]
            assert (event.code, event.message, event.data) == (
                error["code"], error["message"], error.get("data"),
            )  # fmt: skip
        case _:
            raise AssertionError(event)


def test_a_line_that_means_nothing_is_told_and_what_follows_is_heard() -> None:
    peer = AcpPeer()
    asked = peer.request("x", {})
    peer.receive_data(
        b"debug: \xff\n[]\n7\n"
        + json.dumps({"id": 99, "result": {}}).encode()
        + b"\n"
        + json.dumps({"id": str(asked), "result": {}}).encode()
        + b"\n"
        + b'{"method": 1}\n{"method": "m", "params": []}\n'
        + b'{"method": "told"}\n'
        + b"y" * 300
        + b"\n"
    )
    *strays, told, long = events_of(peer)
    assert [type(one) for one in strays] == [Stray] * 7
    assert strays[0] == Stray("debug: \ufffd")
    assert told == Told("told", {})
    assert long == Stray("y" * 200 + "...")
    assert peer.open_requests == {asked}


def test_an_answer_that_is_no_object_is_an_empty_one_and_an_error_may_say_little() -> None:
    peer = AcpPeer()
    first, second, third = (peer.request("x", {}) for _ in range(3))
    peer.receive_data(b'{"id":1,"result":null}\n{"id":2,"error":7}\n{"id":3,"error":{}}\n')
    assert events_of(peer) == [
        Answered(first, {}),
        Refused(second, -32603, "it gave no reason", None),
        Refused(third, -32603, "it gave no reason", None),
    ]
    forgotten = peer.request("x", {})
    peer.forget(forgotten)
    peer.receive_data(b'{"id":4,"result":{}}\n')
    assert isinstance(events_of(peer)[0], Stray)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":null,"method":"m"}',
        b'{"id":1.5,"method":"m"}',
        b'{"id":"' + b"x" * 300 + b'","method":"m"}',
        b'{"id":1,"method":7}',
        b'{"id":1,"method":"m","params":7}',
    ],
)
def test_a_request_that_is_none_is_refused_unread(line: bytes) -> None:
    peer = AcpPeer()
    peer.receive_data(line + b"\n")
    assert events_of(peer) == []
    (refusal,) = sent(peer)
    assert refusal["error"]["code"] == INVALID_REQUEST


def test_a_request_is_answered_once_and_its_id_is_free_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_module, "MAX_OPEN_REQUESTS", 1)
    peer = AcpPeer()
    peer.receive_data(
        b'{"id":"a","method":"m"}\n{"id":"a","method":"m"}\n{"id":"b","method":"m"}\n'
    )
    (asked,) = events_of(peer)
    assert asked == Asked("a", "m", {})
    assert [one["id"] for one in sent(peer)] == [None, "b"]
    peer.answer("a", {"x": 1})
    peer.refuse("a", -1, "late")
    peer.answer("a", {})
    assert sent(peer) == [{"jsonrpc": "2.0", "id": "a", "result": {"x": 1}}]
    peer.receive_data(b'{"id":"a","method":"m"}\n')
    assert events_of(peer) == [Asked("a", "m", {})]


def test_the_end_says_whether_a_line_was_cut_and_too_long_a_line_is_the_end() -> None:
    for data, reason in ((b'{"method":"m"}\n', ""), (b'{"method"', "in the middle of a line")):
        peer = AcpPeer()
        peer.receive_data(data)
        peer.receive_data(b"")
        assert events_of(peer)[-1] == Closed(reason)
        assert peer.next_event() == Closed(reason), "it stays so"
    peer = AcpPeer(max_line_bytes=10)
    peer.receive_data(b"x" * 11)
    (closed,) = events_of(peer)
    assert isinstance(closed, Closed)
    assert "the cap is 10" in closed.reason


def test_half_a_character_goes_out_as_a_question_mark() -> None:
    peer = AcpPeer()
    peer.notify("m", {"path": "a\ud800b"})
    assert sent(peer)[0]["params"] == {"path": "a?b"}


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_bytes_are_ever_an_exception(pieces: list[bytes]) -> None:
    peer = AcpPeer()
    for piece in pieces:
        if piece:
            peer.receive_data(piece + b"\n")
            events_of(peer)
    peer.receive_data(b"")
    assert isinstance(events_of(peer)[-1], Closed)
