"""What MCP's server end says, without a descriptor: bytes in, events and bytes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods_tools.mcp import (
    HANDSHAKE_VERSIONS,
    MAX_ID_CHARACTERS,
    MAX_OPEN_CALLS,
    STATELESS_VERSIONS,
    VERSION_KEY,
    CallTool,
    CancelCall,
    Closed,
    McpEvent,
    McpServer,
)

GOLDEN = Path(__file__).parent / "golden"
TOOLS = [{"name": "Say", "description": "Say it.", "inputSchema": {"type": "object"}}]
STATELESS = {"_meta": {VERSION_KEY: STATELESS_VERSIONS[0]}}


def server() -> McpServer:
    return McpServer(TOOLS, version="0.0.0", instructions="Say things.")


def line(method: str, params: Any = None, **more: Any) -> bytes:
    message = {"jsonrpc": "2.0", "method": method, **more}
    if params is not None:
        message["params"] = params
    return json.dumps(message).encode() + b"\n"


def events(made: McpServer, data: bytes) -> list[McpEvent]:
    made.receive_data(data)
    found: list[McpEvent] = []
    while (event := made.next_event()) is not None:
        found.append(event)
        if isinstance(event, Closed):
            break
    return found


def sent(made: McpServer) -> list[Any]:
    return [json.loads(one) for one in made.data_to_send().splitlines()]


def ready() -> McpServer:
    made = server()
    params: dict[str, Any] = {"protocolVersion": HANDSHAKE_VERSIONS[0], "capabilities": {}}
    assert events(made, line("initialize", params, id=0)) == []
    made.data_to_send()
    return made


def refusal(made: McpServer, data: bytes) -> tuple[int, str]:
    assert events(made, data) == []
    (answer,) = sent(made)
    return answer["error"]["code"], answer["error"]["message"]


@pytest.mark.parametrize("era", ["initialize", "discover"])
def test_a_host_of_either_era_hears_the_golden_lines(era: str) -> None:
    made = server()
    golden = (GOLDEN / f"mcp_{era}.jsonl").read_bytes().splitlines(keepends=True)
    for asked, answered in zip(golden[::2], golden[1::2], strict=True):
        for event in events(made, asked.removeprefix(b"> ")):
            assert isinstance(event, CallTool)
            made.send_result(event.request_id, "said \ud83d", {"said": True}, is_error=False)
        assert made.data_to_send() == answered.removeprefix(b"< ")


@given(st.integers(1, 40))
def test_it_is_the_same_however_the_bytes_are_cut(size: int) -> None:
    asked = line("initialize", {"protocolVersion": "2024-11-05"}, id=1)
    asked += line("notifications/initialized")
    asked += line("tools/call", {"name": "Say", "arguments": {"x": 1}}, id="a")
    asked += line("notifications/cancelled", {"requestId": "a"})
    whole, cut = server(), server()
    pieces = [asked[at : at + size] for at in range(0, len(asked), size)]
    assert [one for piece in pieces for one in events(cut, piece)] == events(whole, asked)
    assert cut.data_to_send() == whole.data_to_send()


@pytest.mark.parametrize("version", HANDSHAKE_VERSIONS)
def test_a_revision_that_is_known_is_spoken(version: str) -> None:
    made = server()
    events(made, line("initialize", {"protocolVersion": version}, id=1))
    assert sent(made)[0]["result"]["protocolVersion"] == version


def test_a_handshake_of_an_unknown_revision_is_offered_the_newest() -> None:
    made = server()
    events(made, line("initialize", {"protocolVersion": "1999-01-01"}, id=1))
    assert sent(made)[0]["result"]["protocolVersion"] == HANDSHAKE_VERSIONS[0]


def test_an_unknown_revision_without_a_handshake_is_told_which_there_are() -> None:
    made = server()
    events(made, line("tools/list", {"_meta": {VERSION_KEY: "2030-01-01"}}, id=1))
    error = sent(made)[0]["error"]
    assert error["code"] == -32022
    assert error["data"] == {"supported": [*STATELESS_VERSIONS], "requested": "2030-01-01"}


def test_both_eras_are_served_on_one_connection_each_request_in_its_own() -> None:
    made = ready()
    events(made, line("tools/list", id=1) + line("tools/list", STATELESS, id=2))
    old, new = (answer["result"] for answer in sent(made))
    assert "resultType" not in old
    assert new["resultType"] == "complete"
    assert new["cacheScope"] == "private"
    assert old["tools"] == new["tools"] == TOOLS


def test_ping_is_answered_before_the_handshake_and_nothing_else_is() -> None:
    made = server()
    events(made, line("ping", id=1))
    assert sent(made)[0]["result"] == {}
    code, message = refusal(made, line("tools/list", id=2))
    assert code == -32600
    assert "send that first" in message


def test_a_result_has_text_and_data_and_an_error_keeps_its_data_off_the_schema() -> None:
    made = ready()
    events(made, line("tools/call", {"name": "Say"}, id=1))
    events(made, line("tools/call", {"name": "Say"}, id=2))
    assert made.open_calls == 2
    made.send_result(1, "well", {"a": 1}, is_error=False)
    made.send_result(2, "badly", {"code": "x"}, is_error=True)
    well, badly = (answer["result"] for answer in sent(made))
    assert well == {
        "content": [{"type": "text", "text": "well"}],
        "isError": False,
        "structuredContent": {"a": 1},
    }
    assert badly["isError"] is True
    assert "structuredContent" not in badly
    assert badly["_meta"] == {"pods/error": {"code": "x"}}


def test_a_cancelled_call_is_an_event_once_and_is_never_answered() -> None:
    made = ready()
    assert events(made, line("tools/call", {"name": "Say"}, id=7)) == [
        CallTool(7, "Say", {}, wants_progress=False)
    ]
    cancel = line("notifications/cancelled", {"requestId": 7, "reason": "enough"})
    assert events(made, cancel + cancel) == [CancelCall(7)]
    made.send_result(7, "late", {}, is_error=False)
    assert made.data_to_send() == b""


@pytest.mark.parametrize("params", [None, [], {"requestId": None}, {"requestId": 9}])
def test_a_cancellation_of_nothing_is_nothing(params: Any) -> None:
    made = ready()
    assert events(made, line("notifications/cancelled", params)) == []
    assert made.data_to_send() == b""


def test_progress_goes_to_the_call_that_asked_for_it() -> None:
    made = ready()
    asked = {"name": "Say", "_meta": {"progressToken": "t"}}
    (event,) = events(made, line("tools/call", asked, id=1))
    assert event == CallTool(1, "Say", {}, wants_progress=True)
    events(made, line("tools/call", {"name": "Say"}, id=2))
    made.send_progress(1, 3.0, "going")
    made.send_progress(2, 3.0, "going")
    made.send_progress(3, 3.0, "going")
    (told,) = sent(made)
    assert told["method"] == "notifications/progress"
    assert told["params"] == {"progressToken": "t", "progress": 3.0, "message": "going"}


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"{nonsense\n", -32700, "not JSON"),
        (b"[" * 100_000 + b"\n", -32700, "not JSON"),
        (b"7\n", -32600, "not an object"),
        (line("ping", id=None), -32600, "its id is neither"),
        (line("ping", id=True), -32600, "its id is neither"),
        (line("ping", id="x" * (MAX_ID_CHARACTERS + 1)), -32600, "its id is neither"),
        (b'{"id":1,"method":"ping"}\n', -32600, "jsonrpc"),
        (b'{"jsonrpc":"2.0","id":1,"method":5}\n', -32600, "a method"),
        (line("ping", [1], id=1), -32602, "must be an object"),
        (line("resources/list", id=1), -32601, "tools alone"),
        (line("initialize", {}, id=1), -32602, "protocolVersion"),
        (line("initialize", STATELESS, id=1), -32601, "tools alone"),
        (line("tools/list", {"cursor": "x"}, id=1), -32602, "one page"),
        (line("tools/call", {}, id=1), -32602, "which tool"),
        (line("tools/list", {"_meta": 3, "cursor": 1}, id=1), -32602, "one page"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_the_connection_goes_on(
    data: bytes, code: int, words: str
) -> None:
    made = ready()
    found, message = refusal(made, data)
    assert found == code
    assert words in message
    events(made, line("ping", id=2))
    assert sent(made)[0]["result"] == {}


def test_an_id_that_is_open_is_not_taken_again() -> None:
    made = ready()
    events(made, line("tools/call", {"name": "Say"}, id=1))
    assert refusal(made, line("ping", id=1))[0] == -32600


def test_answers_and_unknown_notifications_are_passed_over() -> None:
    made = ready()
    assert events(made, b'{"jsonrpc":"2.0","id":4,"result":{}}\n' + line("notifications/x")) == []
    assert made.data_to_send() == b""


def test_a_batch_is_taken_in_its_order() -> None:
    made = ready()
    batch = b"[" + line("ping", id=1).strip() + b"," + line("ping", id=2).strip() + b"]\n"
    assert events(made, batch) == []
    assert [answer["id"] for answer in sent(made)] == [1, 2]


def test_more_calls_than_it_holds_are_refused_until_some_have_returned() -> None:
    made = ready()
    for number in range(MAX_OPEN_CALLS):
        events(made, line("tools/call", {"name": "Say"}, id=number))
    assert "wait until some" in refusal(made, line("tools/call", {"name": "Say"}, id=99))[1]
    made.send_result(0, "", {}, is_error=False)
    assert len(events(made, line("tools/call", {"name": "Say"}, id=99))) == 1


def test_the_end_is_clean_after_a_whole_line_only() -> None:
    for data, clean in ((line("ping", id=1), True), (b'{"half', False)):
        made = server()
        events(made, data)
        assert events(made, b"") == [Closed(clean=clean)]
        assert made.next_event() == Closed(clean=clean)


def test_a_line_without_end_is_refused_and_ends_the_connection() -> None:
    made = McpServer(TOOLS, version="0", instructions="", max_line_bytes=64)
    assert events(made, b"x" * 65) == [Closed(clean=False)]
    assert sent(made)[0]["error"]["code"] == -32600
