"""JSON Schemas from attrs classes, and JSON values back into them.

Owns the mapping for the few types that tools use: strings, numbers, booleans, lists, `Literal`,
unions, free-form objects and attrs classes. Inputs are closed and their optional fields may be left
out; outputs are open and always whole. Judges no values (`arguments` does); the standard library
and attrs alone, so that importing the tools is cheap.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import attrs

Schema = dict[str, Any]

_PRIMITIVES: Final[Mapping[Any, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
}


def about(description: str, /, *, also: tuple[str, ...] = (), **keywords: Any) -> dict[str, Any]:
    """Metadata of a field.

    Args:
        description: for the model that fills the field.
        also: names that other tools use for the same thing; an unknown field of such a name is
            answered with this one.
        keywords: JSON Schema keywords. Those of a list's items go under `items`.
    """
    return {"description": description, "also": also, "keywords": keywords}


_hints: dict[type[Any], dict[str, Any]] = {}


def hints_of(kind: type[Any]) -> dict[str, Any]:
    """The resolved types of an attrs class's fields."""
    known = _hints.get(kind)
    if known is None:
        hints = get_type_hints(kind)
        known = _hints[kind] = {field.name: hints[field.name] for field in attrs.fields(kind)}
    return known


def input_schema(kind: type[Any]) -> Schema:
    """What may be given: unknown fields are refused, `None` is said by leaving a field out."""
    return _object_schema(kind, closed=True)


def output_schema(kind: type[Any]) -> Schema:
    """What comes back: every field, and room for more."""
    return _object_schema(kind, closed=False)


def synonyms(kind: type[Any]) -> dict[str, str]:
    """Other names of the fields -> the right ones."""
    return {
        other: field.name
        for field in attrs.fields(kind)
        for other in field.metadata.get("also", ())
    }


def required_fields(kind: type[Any]) -> list[str]:
    """The fields without a default."""
    return [field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING]


def object_branch(hint: Any) -> type[Any] | None:
    """The attrs class that a type is or allows, looking into lists and unions."""
    if attrs.has(hint):
        return cast("type[Any]", hint)
    for part in get_args(hint):
        found = object_branch(part)
        if found is not None:
            return found
    return None


def build(hint: Any, value: Any) -> Any:
    """The value that JSON, already judged by the schema, stands for."""
    if attrs.has(hint):
        hints = hints_of(cast("type[Any]", hint))
        return hint(**{name: build(hints[name], item) for name, item in value.items()})
    if get_origin(hint) is tuple:
        item_hint = get_args(hint)[0]
        return tuple(build(item_hint, item) for item in value)
    if _is_union(hint):
        if isinstance(value, dict):
            given = cast("dict[str, Any]", value)
            branch = object_branch(hint)
            return given if branch is None else build(branch, given)
        plain = [part for part in get_args(hint) if part in _PRIMITIVES]
        return build(plain[0], value) if len(plain) == 1 else _build_collection(hint, value)
    if hint is int:
        return int(value)  # JSON's 3.0 is the whole number 3
    return float(value) if hint is float else value


def to_data(value: Any) -> Any:
    """An output as JSON-ready dicts and lists."""
    kind: Any = value.__class__
    if attrs.has(kind):
        return {field.name: to_data(getattr(value, field.name)) for field in attrs.fields(kind)}
    if isinstance(value, tuple):
        return [to_data(item) for item in cast("Any", value)]
    return value


def _build_collection(hint: Any, value: Any) -> Any:
    for part in get_args(hint):
        if get_origin(part) is tuple and isinstance(value, list):
            return build(part, value)
    return value


def _object_schema(kind: type[Any], *, closed: bool) -> Schema:
    hints = hints_of(kind)
    schema: Schema = {
        "type": "object",
        "properties": {
            field.name: _field_schema(field, hints[field.name], closed=closed)
            for field in attrs.fields(kind)
        },
        "required": required_fields(kind) if closed else list(hints),
    }
    if closed:
        schema["additionalProperties"] = False
    return schema


def _field_schema(field: attrs.Attribute[Any], hint: Any, *, closed: bool) -> Schema:
    schema = _schema(hint, closed=closed)
    if "description" in field.metadata:
        schema = {"description": field.metadata["description"], **schema}
    keywords = dict(field.metadata.get("keywords", {}))
    items = keywords.pop("items", None)
    if items is not None:
        schema["items"] = {**schema["items"], **items}
    schema.update(keywords)
    if closed and isinstance(field.default, str | int | float):
        schema["default"] = field.default
    return schema


def _schema(hint: Any, *, closed: bool) -> Schema:
    if hint in _PRIMITIVES:
        return {"type": _PRIMITIVES[hint]}
    if attrs.has(hint):
        return _object_schema(cast("type[Any]", hint), closed=closed)
    origin = get_origin(hint)
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(hint))}
    if origin is tuple:
        return {"type": "array", "items": _schema(get_args(hint)[0], closed=closed)}
    if _is_union(hint):
        return _union_schema(hint, closed=closed)
    return {"type": "object"}


def _union_schema(hint: Any, *, closed: bool) -> Schema:
    parts = [part for part in get_args(hint) if part is not types.NoneType]
    schemas = [_schema(part, closed=closed) for part in parts]
    if not closed and types.NoneType in get_args(hint):
        schemas.append({"type": "null"})
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (types.UnionType, Union)
