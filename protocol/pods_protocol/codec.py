"""Messages to and from JSON, and the JSON-RPC lines around them.

Owns the one place where attrs classes meet JSON. The way in is strict: nothing is coerced, an
unknown field of a request is refused by name, and a refusal says where the fault is and what is
near. Knows nothing of sockets or of the order of messages (`connection` does). Every room calls
`to_json` and `from_json`; the lines are for `connection` and for whatever sends events.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, cast

import orjson

from pods_protocol.api import Api
from pods_protocol.errors import InternalError, InvalidParams, ParseError, PodsError, error_to_wire
from pods_protocol.faults import find_fault, quote
from pods_protocol.hooks import Refused, make_lenient_converter, make_strict_converter
from pods_protocol.pod_messages import Request
from pods_protocol.shapes import shape_of

T = TypeVar("T")

LOADED_BEFORE_ORJSON: Final = (dataclasses, datetime, enum, json, uuid)
"""What orjson loads in its own initialisation: a Ctrl-C that comes in there is a crash of the
interpreter, and where they are loaded already no Python runs in which it could."""

MAX_ERROR_BYTES: Final = 64 * 1024
"""One error line. An error is a sentence and a few facts; past this its facts are left out and its
sentence is cut, so that refusing a request can never itself be too large."""

MAX_ERROR_MESSAGE_CHARACTERS: Final = 4096
"""What is kept of the sentence then; six bytes for the worst character stay below the cap."""

_EVENT_HEAD: Final = b'{"jsonrpc":"2.0","method":"event","params":'

_STRICT: Final = make_strict_converter()
_LENIENT: Final = make_lenient_converter()
_strict_hooks: dict[Any, Callable[[Any, Any], Any]] = {}
_lenient_hooks: dict[Any, Callable[[Any, Any], Any]] = {}
_writers: dict[Any, Callable[[Any], Any]] = {}


def to_json(value: object) -> Any:
    """A message as JSON-ready dicts, lists and plain values; every field is written.

    Raises:
        InvalidParams: a number in it is not finite.
    """
    try:
        return _writer(type(value))(value)
    except Refused as error:
        raise _cannot_write(InvalidParams, type(value), error) from None


def from_json(kind: type[T], data: object) -> T:
    """The message that JSON stands for; nothing is coerced and nothing unknown is let through.

    Args:
        kind: the message's class.
        data: JSON as Python has it, for example from `orjson.loads`.

    Raises:
        InvalidParams: it is no such message; `data` has `path` and, where one is near, `nearest`.
    """
    hook = _strict_hooks.get(kind)
    if hook is None:
        hook = _strict_hooks[kind] = _STRICT.get_structure_hook(kind)
    try:
        return cast("T", hook(data, kind))
    except Exception:
        # Whatever the hooks raise, the verdict is the same; the search below finds the words.
        raise _refusal(kind, data, strict=True) from None


def from_json_lenient(kind: type[T], data: object) -> T:
    """As `from_json`, with unknown fields passed over: what a newer peer says to an older one.

    Raises:
        InvalidParams: a field is missing or of the wrong type.
    """
    hook = _lenient_hooks.get(kind)
    if hook is None:
        hook = _lenient_hooks[kind] = _LENIENT.get_structure_hook(kind)
    try:
        return cast("T", hook(data, kind))
    except Exception:
        raise _refusal(kind, data, strict=False) from None


def decode_line(line: bytes) -> dict[str, Any]:
    """The JSON object in a line.

    Raises:
        ParseError: it is not UTF-8, not JSON (too deep is that too), or not an object.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ParseError(
            f"cannot read a line: {error.msg} at byte {error.pos}; send one JSON object a line, "
            "in UTF-8",
            position=error.pos,
        ) from None
    if type(value) is not dict:
        raise ParseError(
            "cannot read a line: it is JSON but no object; send one request object a line (there "
            "are no batches)"
        )
    return cast("dict[str, Any]", value)


def encode_request(request_id: int | str, message: Request[Any]) -> bytes:
    """A request as one line, newline included.

    Raises:
        InvalidParams: a value in it cannot be JSON: a number that is not finite or over 64 bits,
            half a surrogate pair, an object nested too deeply.
    """
    kind = type(message)
    try:
        return orjson.dumps(
            {
                "jsonrpc": "2.0",
                "id": request_id,
                "method": message.METHOD,
                "params": _writer(kind)(message),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
    except (Refused, orjson.JSONEncodeError) as error:
        raise _cannot_write(InvalidParams, kind, error) from None


def encode_result(request_id: int | str, result: object) -> bytes:
    """The answer to a request as one line, newline included.

    Raises:
        InternalError: a value in it cannot be JSON, which is a fault of the side that answers.
    """
    kind = type(result)
    try:
        return orjson.dumps(
            {"jsonrpc": "2.0", "id": request_id, "result": _writer(kind)(result)},
            option=orjson.OPT_APPEND_NEWLINE,
        )
    except Exception as error:
        # A value of a wrong class is a bug of the caller; the peer still gets a typed answer.
        raise _cannot_write(InternalError, kind, error) from error


def encode_error(request_id: int | str | None, error: PodsError) -> bytes:
    """A refusal as one line of at most `MAX_ERROR_BYTES`, newline included; it never fails.

    What JSON cannot hold goes as text; facts that make the line too long are left out.
    """
    wire = error_to_wire(error)
    envelope = {"jsonrpc": "2.0", "id": request_id, "error": wire}
    try:
        line = orjson.dumps(envelope, default=_as_text, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        line = None
    if line is not None and len(line) <= MAX_ERROR_BYTES:
        return line
    wire["message"] = _clean(error.message)
    wire["data"] = {"code": error.CODE, "retryable": error.RETRYABLE, "data_left_out": True}
    return orjson.dumps(envelope, option=orjson.OPT_APPEND_NEWLINE)


def encode_notification(method: str, params: object) -> bytes:
    """Something said unasked, as one line, newline included.

    Raises:
        InternalError: a value in it cannot be JSON.
    """
    kind = type(params)
    try:
        return orjson.dumps(
            {"jsonrpc": "2.0", "method": method, "params": _writer(kind)(params)},
            option=orjson.OPT_APPEND_NEWLINE,
        )
    except Exception as error:
        # A value of a wrong class is a bug of the caller; the peer still gets a typed answer.
        raise _cannot_write(InternalError, kind, error) from error


def encode_event_notification(event_json: bytes) -> bytes:
    """An `event` notification around a journal's line, which is trusted and not decoded.

    Args:
        event_json: the JSON of one `Event`, without a newline.
    """
    return b"%b%b}\n" % (_EVENT_HEAD, event_json)


def warm(
    served: Iterable[Api], *, handed: Iterable[type[Any]] = (), recorded: Iterable[type[Any]] = ()
) -> None:
    """Generate the code for what a server of these sockets reads and writes.

    The launcher calls it before it forks, so that pods share it instead of each making its own.
    What only the other side of these sockets needs is made where it is first used.

    Args:
        served: the sockets.
        handed: what is written by one of these processes and read, strictly, by another.
        recorded: what is written to a file, and read from it as a newer version may have left it.
    """
    for api in served:
        for method in api.methods.values():
            _strict_hooks[method.request] = _STRICT.get_structure_hook(method.request)
            _writer(method.result)
        for kind in api.notifications.values():
            _writer(kind)
    for kind in handed:
        _strict_hooks[kind] = _STRICT.get_structure_hook(kind)
        _writer(kind)
    for kind in recorded:
        _lenient_hooks[kind] = _LENIENT.get_structure_hook(kind)
        _writer(kind)


def _writer(kind: type[Any]) -> Callable[[Any], Any]:
    writer = _writers.get(kind)
    if writer is None:
        writer = _writers[kind] = _STRICT.get_unstructure_hook(kind)
    return writer


def _name(kind: type[Any]) -> str:
    method = getattr(kind, "METHOD", None)
    return kind.__name__ if method is None else str(method)


def _refusal(kind: type[Any], data: object, *, strict: bool) -> InvalidParams:
    fault = find_fault(shape_of(kind), data, strict=strict)
    if fault is None:
        return InvalidParams(
            f"cannot read `{_name(kind)}`: a value in it is out of range; send ordinary numbers",
            path="",
        )
    message = f"cannot read `{_name(kind)}`: {fault.describe()}"
    if fault.nearest is None:
        return InvalidParams(message, path=fault.path)
    return InvalidParams(message, path=fault.path, nearest=fault.nearest)


def _cannot_write(raised: type[PodsError], kind: type[Any], error: Exception) -> PodsError:
    return raised(
        f"cannot write `{_name(kind)}` as JSON: {error}; send finite numbers of at most 64 bits, "
        "whole Unicode text, and objects that are not nested deeply"
    )


def _as_text(value: object) -> object:
    # Reached for what orjson does not know: a path object, an exception, a set.
    return quote(str(value))


def _clean(text: str) -> str:
    cut = text[:MAX_ERROR_MESSAGE_CHARACTERS]
    return cut.encode("utf-8", "replace").decode("utf-8")
