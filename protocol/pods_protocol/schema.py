"""JSON Schemas (draft 2020-12) of everything that goes over a socket, made from the classes.

Owns the files in `schema/`, which are committed for those who write a pod in another language;
`python -m pods_protocol.schema` writes them again and a test compares. Requests are closed: an
unknown field is a fault. Answers, notifications and events are open: a reader passes over what it
does not know. Nothing at run time reads the files, the codec's hooks say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, NotRequired, TypeAlias, assert_never, get_args, get_origin, get_type_hints

import attrs

from pods_protocol import codec
from pods_protocol.api import Api
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.connection import MAX_ID_CHARACTERS
from pods_protocol.descriptions import describe
from pods_protocol.events import EVENT_KINDS, Event
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
    shape_of,
)
from pods_protocol.supervisor_api import APIS

DIRECTORY = Path(__file__).with_name("schema")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Json: TypeAlias = dict[str, Any]

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def message_schema(cls: type[Any], *, strict: bool) -> Json:
    """One class by itself, with what it refers to under `$defs`."""
    definitions = _Definitions()
    reference = definitions.refer(cls, strict=strict)
    return {"$schema": DIALECT, **reference, "$defs": definitions.as_json()}


def files() -> dict[str, Json]:
    """Every schema file: name -> content."""
    made = {f"{api.name}.json": _api_schema(api) for api in APIS.values()}
    made["events.json"] = _events_schema()
    made["envelope.json"] = _envelope_schema()
    return made


def render(content: Json) -> str:
    """A file's text."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write(directory: Path = DIRECTORY) -> None:
    """Write every file, and remove files of messages that are no more."""
    directory.mkdir(exist_ok=True)
    made = files()
    for stale in set(directory.glob("*.json")) - {directory / name for name in made}:
        stale.unlink()
    for name, content in made.items():
        (directory / name).write_text(render(content), encoding="utf-8")


class _Definitions:
    """Collects the classes that schemas refer to, each once for requests and once for answers."""

    def __init__(self) -> None:
        self._made: dict[str, Json] = {}

    def refer(self, cls: type[Any], *, strict: bool) -> Json:
        name = cls.__name__ if strict else f"answers.{cls.__name__}"
        if name not in self._made:
            self._made[name] = {}  # a place, so that the order is that of first mention
            self._made[name] = self._define(cls, strict=strict)
        return {"$ref": f"#/$defs/{name}"}

    def as_json(self) -> Json:
        return self._made

    def shape(self, shape: Shape, *, strict: bool) -> Json:
        match shape:
            case Anything():
                return {}
            case Primitive(kind):
                return {"type": _TYPES[kind]}
            case Choice(words):
                return {"enum": list(words)}
            case Array(item):
                return {"type": "array", "items": self.shape(item, strict=strict)}
            case Table(value):
                return {"type": "object", "additionalProperties": self.shape(value, strict=strict)}
            case Nullable(inner):
                return {"anyOf": [self.shape(inner, strict=strict), {"type": "null"}]}
            case Message(cls):
                return self.refer(cls, strict=strict)
            case _:  # pragma: no cover
                assert_never(shape)

    def _define(self, cls: type[Any], *, strict: bool) -> Json:
        description = describe(cls)
        defaults = defaults_of(cls)
        properties: Json = {}
        for field in fields_of(cls):
            content = self.shape(field.shape, strict=strict)
            if field.name in description.attributes:
                content["description"] = description.attributes[field.name]
            if field.name in defaults:
                content["default"] = defaults[field.name]
            properties[field.name] = content
        return _object(
            description.text,
            properties,
            required=[field.name for field in fields_of(cls) if field.required],
            closed=strict,
        )

    def typed_dict(self, cls: type) -> Json:
        properties: Json = {}
        required: list[str] = []
        for name, hint in get_type_hints(cls, include_extras=True).items():
            if get_origin(hint) is NotRequired:
                properties[name] = self.shape(shape_of(get_args(hint)[0]), strict=False)
            else:
                properties[name] = self.shape(shape_of(hint), strict=False)
                if getattr(cls, "__total__", True):
                    required.append(name)
        return _object(describe(cls).text, properties, required=required, closed=False)


def defaults_of(cls: type[Any]) -> Mapping[str, Any]:
    """The defaults of a message's fields, as JSON."""
    attributes: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    made: dict[str, Any] = {}
    for attribute in attributes:
        default: Any = attribute.default
        if default is attrs.NOTHING:
            continue
        value = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]  # attrs types Factory as a function
        made[attribute.name] = value if isinstance(value, NoneType) else codec.to_json(value)
    return made


def _object(description: str, properties: Json, *, required: list[str], closed: bool) -> Json:
    made: Json = {"description": description, "type": "object", "properties": properties}
    if required:
        made["required"] = required
    if closed:
        made["additionalProperties"] = False
    return made


def _head(name: str, title: str, description: str) -> Json:
    return {
        "$schema": DIALECT,
        "$id": f"urn:agent-pods:protocol:{PROTOCOL_VERSION}:{name}",
        "title": title,
        "description": description,
    }


def _api_schema(api: Api) -> Json:
    definitions = _Definitions()
    requests: list[Json] = []
    answers: Json = {}
    for name, method in api.methods.items():
        params = definitions.refer(method.request, strict=True)
        needs_params = any(field.required for field in fields_of(method.request))
        requests.append(
            _object(
                f"the `{name}` request",
                {
                    "jsonrpc": {"const": "2.0"},
                    "id": _ID,
                    "method": {"const": name},
                    "params": params,
                },
                required=["jsonrpc", "id", "method", *(["params"] if needs_params else [])],
                closed=True,
            )
        )
        answers[name] = definitions.refer(method.result, strict=False)
    notifications = {
        name: definitions.refer(cls, strict=False) for name, cls in api.notifications.items()
    }
    return {
        **_head(
            api.name,
            f"What a {api.name}'s socket understands and says",
            "A valid value is one request. `x-results` has the schema of each method's result, "
            "`x-notifications` that of each notification's params.",
        ),
        "oneOf": requests,
        "x-results": answers,
        "x-notifications": notifications,
        "$defs": definitions.as_json(),
    }


def _events_schema() -> Json:
    definitions = _Definitions()
    event = definitions.refer(Event, strict=False)
    made = definitions.as_json()
    made |= {f"data.{kind}": definitions.typed_dict(cls) for kind, cls in EVENT_KINDS.items()}
    return {
        **_head(
            "events",
            "A journal's events",
            "A valid value is one event; a kind that is not listed is valid with any data.",
        ),
        **event,
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind}}},
                "then": {"properties": {"data": {"$ref": f"#/$defs/data.{kind}"}}},
            }
            for kind in EVENT_KINDS
        ],
        "$defs": made,
    }


_ID: Json = {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": MAX_ID_CHARACTERS}]}


def _envelope_schema() -> Json:
    version: Json = {"const": "2.0"}
    error = _object(
        "why a request failed",
        {
            "code": {"type": "integer", "description": "the error's number"},
            "message": {"type": "string", "description": "a sentence for people"},
            "data": _object(
                "facts for programs; which ones depends on the code",
                {
                    "code": {"type": "string", "description": "the error's stable name"},
                    "retryable": {"type": "boolean"},
                },
                required=["code", "retryable"],
                closed=False,
            ),
        },
        required=["code", "message", "data"],
        closed=False,
    )
    definitions = {
        "request": _object(
            "client to server; answered exactly once",
            {
                "jsonrpc": version,
                "id": _ID,
                "method": {"type": "string"},
                "params": {"type": "object"},
            },
            required=["jsonrpc", "id", "method"],
            closed=True,
        ),
        "result": _object(
            "server to client: a request succeeded",
            {"jsonrpc": version, "id": _ID, "result": {"type": "object"}},
            required=["jsonrpc", "id", "result"],
            closed=False,
        ),
        "error": _object(
            "server to client: a request failed; the id is null where none could be read",
            {"jsonrpc": version, "id": {"anyOf": [_ID, {"type": "null"}]}, "error": error},
            required=["jsonrpc", "id", "error"],
            closed=False,
        ),
        "notification": _object(
            "server to client, not answered",
            {"jsonrpc": version, "method": {"type": "string"}, "params": {"type": "object"}},
            required=["jsonrpc", "method", "params"],
            closed=False,
        ),
    }
    return {
        **_head("envelope", "One line", "A valid value is one line of a conversation."),
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in definitions],
        "$defs": definitions,
    }


if __name__ == "__main__":  # pragma: no cover - it rewrites committed files
    write()
