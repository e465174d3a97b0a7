"""One event, one line, both ways."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.journal.events import decode_event, encode_event, peek
from pods_protocol.errors import InvalidParams
from pods_protocol.events import Event

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)
EVENTS = st.builds(
    Event,
    seq=st.integers(1, 2**53),
    time=st.floats(0, 1e12),
    turn=st.none() | st.integers(1, 10**6),
    type=WORDS,
    data=st.dictionaries(WORDS, JSON, max_size=4),
)


@given(EVENTS)
def test_an_event_reads_back_as_it_was_and_its_head_is_seen_without_decoding(event: Event) -> None:
    line = encode_event(event)
    assert b"\n" not in line
    assert decode_event(line) == event
    assert peek(line) == (event.seq, event.type)


def test_fields_that_a_newer_version_added_are_passed_over() -> None:
    line = b'{"new":1,"seq":1,"time":2,"turn":null,"type":"text","data":{}}'
    assert decode_event(line) == Event(seq=1, time=2.0, turn=None, type="text", data={})
    assert peek(line) == (1, "text")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"[]",
        b"{}",
        b'{"seq":0,"time":1.0,"turn":null,"type":"a","data":{}}',
        b'{"seq":true,"time":1.0,"turn":null,"type":"a","data":{}}',
        b'{"seq":1,"time":"1","turn":null,"type":"a","data":{}}',
        b'{"seq":1,"time":1.0,"turn":"1","type":"a","data":{}}',
        b'{"seq":1,"time":1.0,"turn":null,"type":1,"data":{}}',
        b'{"seq":1,"time":1.0,"turn":null,"type":"a","data":[]}',
        b'{"seq":1,"time":1.0,"turn":null,"type":"a","data":{}',
    ],
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_event(line)
    with pytest.raises(ValueError, match=r".+"):
        peek(line)


@pytest.mark.parametrize("value", [2**64, "\udc80", {1: 2}, datetime.date(2026, 1, 1), object()])
def test_what_would_not_read_back_is_refused(value: object) -> None:
    with pytest.raises(InvalidParams):
        encode_event(Event(seq=1, time=1.0, turn=None, type="text", data={"value": value}))
