"""One committed line for each message: what is written, and what is read from it, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from pods_protocol import schema
from pods_protocol.codec import decode_line, from_json, from_json_lenient, to_json
from pods_protocol.connection import (
    Connection,
    ConnectionEvent,
    ErrorReceived,
    NotificationReceived,
    RequestReceived,
    ResultReceived,
)
from pods_protocol.pod_messages import Hello
from pods_protocol.supervisor_api import APIS
from protocol_support import (
    GOLDEN,
    TOKEN,
    ConnectionPair,
    Golden,
    drain,
    golden_lines,
    hello_result,
    judge_of,
)

LINES = list(golden_lines())
SCHEMAS = schema.files()
EACH = pytest.mark.parametrize("golden", LINES, ids=lambda golden: golden.name)


def test_every_method_and_notification_has_its_lines() -> None:
    have = {golden.name for golden in LINES}
    for api in APIS.values():
        for method in api.methods:
            assert {f"{api.name}.{method}.request", f"{api.name}.{method}.result"} <= have
        for method in api.notifications:
            assert f"{api.name}.{method}.notification" in have


def test_no_golden_file_is_left_over() -> None:
    assert set(GOLDEN.glob("*")) == {golden.path for golden in LINES}


@EACH
def test_the_line_is_written_as_committed(golden: Golden) -> None:
    assert golden.line == golden.path.read_bytes(), (
        "the wire has changed; if that is meant: python tests/support/protocol_support.py"
    )


def reader(golden: Golden) -> Connection:
    """The end that reads the line, at the point of the conversation where the line comes."""
    pair = ConnectionPair(golden.api)
    if golden.kind == "request":
        if golden.method != "hello":
            pair.greet()
        return pair.server
    if golden.method == "hello":
        pair.client.send_request(Hello(token=TOKEN, protocol=1))
        pair.client._next_id = 7  # pyright: ignore[reportPrivateUsage]  # answers carry 7
        method = pair.client._open.pop(1)  # pyright: ignore[reportPrivateUsage]  # as above
        pair.client._open[7] = method  # pyright: ignore[reportPrivateUsage]  # as above
        return pair.client
    pair.greet()
    if golden.kind != "notification":
        asked = next(
            line
            for line in LINES
            if line.api is golden.api
            and line.kind == "request"
            and line.method == (golden.method or "status")
        )
        for _ in range(6):  # the seventh request, hello counted, has the golden lines' id
            pair.client.send_request(asked.content)
    return pair.client


def expected(golden: Golden) -> list[tuple[Any, ...]]:
    match golden.kind:
        case "request":
            return [("request", golden.request_id, golden.method, golden.content)]
        case "result":
            return [("result", golden.request_id, golden.content)]
        case "notification":
            return [("notification", golden.method, golden.content)]
        case "error":
            error = golden.content
            return [("error", golden.request_id, type(error), error.message, error.data)]


def seen(events: list[ConnectionEvent]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for event in events:
        match event:
            case RequestReceived():
                found.append(("request", event.request_id, event.method, event.message))
            case ResultReceived():
                found.append(("result", event.request_id, event.result))
            case NotificationReceived():
                found.append(("notification", event.method, event.params))
            case ErrorReceived():
                error = event.error
                found.append(("error", event.request_id, type(error), error.message, error.data))
            case _:
                found.append((event,))
    return found


def without_the_end(events: list[ConnectionEvent], golden: Golden) -> list[ConnectionEvent]:
    # An error without an id ends the connection for the client, which is said once more.
    return events[:1] if golden.request_id is None and golden.kind == "error" else events


@EACH
def test_the_committed_line_is_read_whole(golden: Golden) -> None:
    connection = reader(golden)
    connection.receive_data(golden.path.read_bytes())
    assert seen(without_the_end(drain(connection), golden)) == expected(golden)


@EACH
def test_the_committed_line_is_read_byte_by_byte(golden: Golden) -> None:
    connection = reader(golden)
    events: list[ConnectionEvent] = []
    line = golden.path.read_bytes()
    for position in range(len(line)):
        assert not events
        connection.receive_data(line[position : position + 1])
        events += drain(connection)
    assert seen(without_the_end(events, golden)) == expected(golden)


@EACH
def test_the_committed_line_fits_the_schemas(golden: Golden) -> None:
    line = decode_line(golden.path.read_bytes())
    judge_of(SCHEMAS["envelope.json"]).validate(line)
    content = SCHEMAS[f"{golden.api.name}.json"]
    if golden.kind == "request":
        judge_of(content).validate(line)
    elif golden.kind == "result":
        judge_of({**content["x-results"][golden.method], "$defs": content["$defs"]}).validate(
            line["result"]
        )
    elif golden.kind == "notification":
        judge_of({**content["x-notifications"][golden.method], "$defs": content["$defs"]}).validate(
            line["params"]
        )


@EACH
def test_structured_and_back_is_the_same(golden: Golden) -> None:
    if golden.kind != "error":
        content: object = golden.content
        kind = type(content)
        assert from_json(kind, to_json(golden.content)) == golden.content
        assert from_json_lenient(kind, to_json(golden.content)) == golden.content


def test_what_is_said_in_hello_stays_out_of_logs() -> None:
    assert TOKEN not in repr([golden.content for golden in LINES if golden.kind != "error"])
    assert hello_result().server == "pod"
