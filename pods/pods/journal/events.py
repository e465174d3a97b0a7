"""One event as one line of a journal, both ways.

Owns the line: JSON with `seq` first and `type` before `data`, so that a reader finds its place and
filters by kind without decoding. Pure. `store` writes lines, `reader` and `feed` read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson

from pods_protocol.bounds import MAX_LINE_BYTES
from pods_protocol.errors import InvalidParams, TooLarge
from pods_protocol.events import Event, checked_event

JOURNAL_FORMAT: Final = 1
"""The only format so far: files called `<first seq, 20 digits>.jsonl`. A later one gets another
ending (`.v2.jsonl`), so that an older reader refuses it instead of seeing an empty journal."""

MAX_EVENT_BYTES: Final = MAX_LINE_BYTES - 16 * 1024
"""One encoded event: what fits a line of the socket as a notification or as the only event of a
`read`, with room for the envelope and for a parent that wraps it as a `child_event`."""

_OPTIONS: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
"""What is not plain JSON is refused: it would read back as something else."""

_HEAD: Final = re.compile(
    rb'\{"seq":([1-9]\d*),"time":[-+.eE\d]+,"turn":(?:\d+|null),"type":"([^"\\]*)","data":\{'
)


def encode_event(event: Event) -> bytes:
    """The event as a journal line, without its newline.

    Raises:
        InvalidParams: its data cannot be JSON (half a surrogate pair, a number over 64 bits, a key
            that is no string, too deep).
        TooLarge: over `MAX_EVENT_BYTES`.
    """
    return encode_parts(event.seq, event.time, event.turn, event.type, event.data)


def encode_parts(seq: int, time: float, turn: int | None, kind: str, data: dict[str, Any]) -> bytes:
    """As `encode_event`, from the parts of an event.

    Raises:
        InvalidParams: as there.
        TooLarge: as there.
    """
    try:
        line = orjson.dumps(
            {"seq": seq, "time": time, "turn": turn, "type": kind, "data": data}, option=_OPTIONS
        )
    except TypeError as error:
        raise InvalidParams(
            f"cannot journal a `{kind}` event: {error}; give plain JSON values",
            path="data",
        ) from None
    if len(line) > MAX_EVENT_BYTES:
        raise TooLarge(
            f"cannot journal a `{kind}` event of {len(line)} bytes: the limit is "
            f"{MAX_EVENT_BYTES}; write it to a file inside the scope and name that",
            limit_bytes=MAX_EVENT_BYTES,
            size_bytes=len(line),
        )
    return line


def decode_event(line: bytes) -> Event:
    """The event in a journal line; fields that a newer version added are passed over.

    Raises:
        ValueError: it is no event.
    """
    value: Any = orjson.loads(line)
    if type(value) is not dict:
        raise ValueError("a journal line is a JSON object")
    given = cast("dict[str, Any]", value)
    try:
        seq, time, turn = given["seq"], given["time"], given["turn"]
        kind, data = given["type"], given["data"]
    except KeyError as error:
        raise ValueError(f"the field {error} is missing") from None
    if (
        type(seq) is not int
        or seq < 1
        or type(time) not in (float, int)
        or (turn is not None and type(turn) is not int)
        or type(kind) is not str
        or type(data) is not dict
    ):
        raise ValueError("a field has the wrong type")
    return checked_event(seq, float(time), turn, kind, cast("dict[str, Any]", data))


def peek(line: bytes) -> tuple[int, str]:
    """Seq and kind of a line, without decoding its data where the line is as we write it.

    Raises:
        ValueError: it is no event.
    """
    found = _HEAD.match(line)
    if found is not None and line.endswith(b"}}"):
        return int(found[1]), found[2].decode()
    event = decode_event(line)
    return event.seq, event.type


def word_of(data: Mapping[str, Any], name: str) -> str:
    """A field of an event's data as text; empty where it is missing or something else."""
    value = data.get(name)
    return value if isinstance(value, str) else ""
