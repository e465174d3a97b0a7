"""Helpers for tests of the wire: joined connections, golden lines, strategies.

Owns the golden lines: `python tests/support/protocol_support.py` writes the files again
after a message has changed, and the difference is then read before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import jsonschema
import jsonschema.validators
import orjson
from attrs import frozen
from hypothesis import strategies as st

from pods_protocol import codec
from pods_protocol import pod_messages as pod
from pods_protocol.api import POD_API, Api
from pods_protocol.connection import (
    NEED_DATA,
    BadRequest,
    Connection,
    ConnectionClosed,
    ConnectionEvent,
    ErrorReceived,
    RequestReceived,
    ResultReceived,
)
from pods_protocol.errors import PodsError
from pods_protocol.shapes import (
    Anything,
    Array,
    Choice,
    Message,
    Nullable,
    Primitive,
    Shape,
    Table,
    fields_of,
)
from pods_protocol.supervisor_api import APIS
from protocol_examples import TOKEN as TOKEN
from protocol_examples import hello_result as hello_result
from protocol_exchanges import ERRORS, EXCHANGES, NOTIFICATIONS

HELLO = pod.Hello(token=TOKEN, protocol=1)
GOLDEN = Path(__file__).parents[1] / "protocol" / "golden"


class Judge(Protocol):
    """What tests use of a jsonschema validator, whose own hints leave its types open."""

    def is_valid(self, instance: object) -> bool: ...

    def validate(self, instance: object) -> None: ...


def judge_of(schema: dict[str, Any]) -> Judge:
    """What jsonschema makes of a schema, with the wire's idea of an integer."""
    return cast("Judge", _VALIDATOR(schema))


def _is_integer(_: object, value: object) -> bool:
    # JSON Schema calls 1.0 an integer; the wire does not (protocol/README.md, "Values").
    return isinstance(value, int) and not isinstance(value, bool)


_extend = cast("Callable[..., Any]", jsonschema.validators.extend)  # pyright: ignore[reportUnknownMemberType]  # it has no hints
_VALIDATOR = _extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def drain(connection: Connection) -> list[ConnectionEvent]:
    """Every event that the bytes so far make, without `NEED_DATA`."""
    events: list[ConnectionEvent] = []
    while (event := connection.next_event()) is not NEED_DATA:
        events.append(event)
        if isinstance(event, ConnectionClosed):
            break
    return events


def line(**members: Any) -> bytes:
    """A JSON object as a line of the wire, whatever it is."""
    return orjson.dumps(members) + b"\n"


def only_bad(events: list[ConnectionEvent]) -> BadRequest:
    """The one event there is: a request that was refused."""
    (event,) = events
    assert isinstance(event, BadRequest)
    return event


def only_error(events: list[ConnectionEvent]) -> ErrorReceived:
    """The one event there is: an error as an answer."""
    (event,) = events
    assert isinstance(event, ErrorReceived)
    return event


def told(connection: Connection, data: bytes) -> list[ConnectionEvent]:
    """What that end makes of these bytes."""
    connection.receive_data(data)
    return drain(connection)


class ConnectionPair:
    """A client and a server with no socket between them: what one sends, the other has."""

    def __init__(self, api: Api = POD_API, *, max_line_bytes: int | None = None) -> None:
        bounds = {} if max_line_bytes is None else {"max_line_bytes": max_line_bytes}
        self.api = api
        self.client = Connection("client", api, **bounds)
        self.server = Connection("server", api, **bounds)

    def ask(self, message: pod.Request[Any]) -> tuple[int, list[ConnectionEvent]]:
        """The request's id, and what the server makes of it."""
        request_id, line = self.client.send_request(message)
        self.server.receive_data(line)
        return request_id, drain(self.server)

    def answer(self, request_id: int | str, result: object) -> list[ConnectionEvent]:
        """What the client makes of a result."""
        self.client.receive_data(self.server.send_result(request_id, result))
        return drain(self.client)

    def refuse(self, request_id: int | str | None, error: PodsError) -> list[ConnectionEvent]:
        """What the client makes of an error."""
        self.client.receive_data(self.server.send_error(request_id, error))
        return drain(self.client)

    def say(self, method: str, params: object) -> list[ConnectionEvent]:
        """What the client makes of a notification."""
        self.client.receive_data(self.server.send_notification(method, params))
        return drain(self.client)

    def greet(self) -> ConnectionPair:
        """Say hello and have it answered; returns the pair."""
        request_id, events = self.ask(HELLO)
        assert [type(event) for event in events] == [RequestReceived]
        (answered,) = self.answer(request_id, hello_result(self.api))
        assert isinstance(answered, ResultReceived)
        return self


@frozen(kw_only=True)
class Golden:
    """One line of the wire as it is committed.

    Attributes:
        name: of its file.
        api: whose socket.
        kind: what sort of line.
        method: its method; empty for an error.
        content: the message or the error.
        request_id: where the line has one.
        line: newline included.
    """

    name: str
    api: Api
    kind: Literal["request", "result", "error", "notification"]
    method: str
    content: Any
    request_id: int | None
    line: bytes

    @property
    def path(self) -> Path:
        return GOLDEN / f"{self.name}.json"


def golden_lines() -> Iterator[Golden]:
    """Every golden line as the code makes it now."""
    for name, exchanges in EXCHANGES.items():
        api = APIS[name]
        for request, result in exchanges:
            method = request.METHOD
            yield Golden(
                name=f"{name}.{method}.request",
                api=api,
                kind="request",
                method=method,
                content=request,
                request_id=7,
                line=codec.encode_request(7, request),
            )
            yield Golden(
                name=f"{name}.{method}.result",
                api=api,
                kind="result",
                method=method,
                content=result,
                request_id=7,
                line=codec.encode_result(7, result),
            )
        for method, params in NOTIFICATIONS[name]:
            yield Golden(
                name=f"{name}.{method}.notification",
                api=api,
                kind="notification",
                method=method,
                content=params,
                request_id=None,
                line=codec.encode_notification(method, params),
            )
    for code, request_id, error in ERRORS:
        yield Golden(
            name=f"error.{code}",
            api=POD_API,
            kind="error",
            method="",
            content=error,
            request_id=request_id,
            line=codec.encode_error(request_id, error),
        )


def example_exchanges(api: Api) -> list[tuple[pod.Request[Any], Any]]:
    """A request and an answer of every method."""
    return list(EXCHANGES[api.name])


def message_classes() -> list[type[Any]]:
    """Every class that stands at the top of a request's params, a result or a notification."""
    found: dict[type[Any], None] = {}
    for api in APIS.values():
        for method in api.methods.values():
            found[method.request] = found[method.result] = None
        for cls in api.notifications.values():
            found[cls] = None
    return list(found)


# --- strategies ---

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=8)  # hypothesis makes no surrogates in UTF-8 text by itself
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def json_of(shape: Shape) -> st.SearchStrategy[Any]:
    """JSON that has the shape."""
    match shape:
        case Anything():
            return JSON
        case Primitive(kind):
            made: dict[type, st.SearchStrategy[Any]] = {
                str: TEXT,
                int: INT64,
                float: FINITE | INT64,
                bool: st.booleans(),
            }
            return made[kind]
        case Choice(words):
            return st.sampled_from(words)
        case Array(item):
            return st.lists(json_of(item), max_size=2)
        case Table(value):
            return st.dictionaries(TEXT, json_of(value), max_size=2)
        case Nullable(inner):
            return st.none() | json_of(inner)
        case Message(cls):
            fields = fields_of(cls)
            return st.fixed_dictionaries(
                {field.name: json_of(field.shape) for field in fields if field.required},
                optional={
                    field.name: json_of(field.shape) for field in fields if not field.required
                },
            )


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """The same JSON with one place changed: replaced, removed, added or misnamed."""
    if isinstance(value, dict):
        return draw(_mutated_object(cast("dict[str, Any]", value)))
    if isinstance(value, list) and value and draw(st.booleans()):
        items: list[Any] = [*cast("Iterable[Any]", value)]
        index = draw(st.integers(0, len(items) - 1))
        items[index] = draw(mutated(items[index]))
        return items
    return draw(JSON)


@st.composite
def _mutated_object(draw: st.DrawFn, value: dict[str, Any]) -> Any:
    table = dict(value)
    if not table:
        return draw(st.dictionaries(TEXT, JSON, min_size=1, max_size=1) | JSON)
    name = draw(st.sampled_from(sorted(table)))
    match draw(st.sampled_from(["inside", "inside", "add", "remove", "rename", "replace"])):
        case "inside":
            table[name] = draw(mutated(table[name]))
        case "add":
            table[draw(TEXT)] = draw(JSON)
        case "remove":
            del table[name]
        case "rename":
            table[name + "s"] = table.pop(name)
        case _:
            return draw(JSON)
    return table


def write_golden() -> None:
    """Write every golden file, and remove those of messages that are no more."""
    GOLDEN.mkdir(exist_ok=True)
    made = {golden.path: golden.line for golden in golden_lines()}
    for stale in set(GOLDEN.glob("*.json")) - set(made):
        stale.unlink()
    for path, line in made.items():
        path.write_bytes(line)


if __name__ == "__main__":
    write_golden()
