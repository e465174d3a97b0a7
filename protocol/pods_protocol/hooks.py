"""The cattrs converters of the messages: strict about every type, and fast.

Owns how one value becomes a message and how a message becomes JSON-ready. cattrs by itself turns 5
into "5", takes unknown fields and lists for objects without a word; every hook here refuses
instead, with any exception: `codec` then looks for the fault and words it. Called by `codec` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, TypeAlias, assert_never, cast

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn
from cattrs.preconf.orjson import make_converter

from pods_protocol.events import Event, checked_event
from pods_protocol.shapes import (
    Anything,
    Array,
    Choice,
    Message,
    Nullable,
    Primitive,
    Table,
    fields_of,
    shape_of,
)

Structure: TypeAlias = Callable[[Any, Any], Any]
Unstructure: TypeAlias = Callable[[Any], Any]


class Refused(Exception):
    """A value does not fit; `faults` says where and why."""


def _structure_str(value: Any, _: Any) -> Any:
    if type(value) is not str:
        raise Refused
    return value


def _structure_int(value: Any, _: Any) -> Any:
    if type(value) is not int:  # which a bool is not
        raise Refused
    return value


def _structure_float(value: Any, _: Any) -> Any:
    if type(value) is float:
        return value
    if type(value) is not int:
        raise Refused
    return float(value)


def _structure_bool(value: Any, _: Any) -> Any:
    if type(value) is not bool:
        raise Refused
    return value


def _structure_anything(value: Any, _: Any) -> Any:
    return value


_STRUCTURE_PRIMITIVES: dict[Any, Structure] = {
    str: _structure_str,
    int: _structure_int,
    float: _structure_float,
    bool: _structure_bool,
}


def make_strict_converter() -> Converter:
    """For requests: an unknown field is refused."""
    return _make_converter(strict=True)


def make_lenient_converter() -> Converter:
    """For answers and notifications: what a newer peer adds is passed over."""
    return _make_converter(strict=False)


def _make_converter(*, strict: bool) -> Converter:
    converter = make_converter(detailed_validation=False, forbid_extra_keys=strict)

    def structure_factory(hint: Any) -> Structure:
        return _make_structure(converter, hint, strict=strict)

    def unstructure_factory(hint: Any) -> Unstructure:
        return _make_unstructure(converter, hint)

    for kind in _STRUCTURE_PRIMITIVES:
        # cattrs looks these up by class before it asks a factory.
        converter.register_structure_hook(kind, structure_factory(kind))
        converter.register_unstructure_hook(kind, unstructure_factory(kind))
    converter.register_structure_hook_factory(_is_ours, structure_factory)
    converter.register_unstructure_hook_factory(_is_ours, unstructure_factory)
    return converter


def _is_ours(hint: Any) -> bool:
    try:
        shape_of(hint)
    except TypeError:
        return False
    return True


def _make_structure(converter: Converter, hint: Any, *, strict: bool) -> Structure:
    shape = shape_of(hint)
    match shape:
        case Primitive(kind):
            return _STRUCTURE_PRIMITIVES[kind]
        case Anything():
            return _structure_anything
        case Choice(words):
            return _structure_choice(frozenset(words))
        case Nullable():
            inner = hint.__args__[0]
            return _structure_nullable(converter.get_structure_hook(inner), inner)
        case Array():
            inner = hint.__args__[0]
            return _structure_array(converter.get_structure_hook(inner), inner)
        case Table(Anything()):
            return _structure_object
        case Table():
            inner = hint.__args__[1]
            return _structure_table(converter.get_structure_hook(inner), inner)
        case Message(cls):
            if cls is Event:
                return _structure_event_strict if strict else _structure_event
            fields_of(cls)  # refuses a hint that cattrs would read in its own, looser way
            generated = make_dict_structure_fn(
                cls,
                converter,
                _cattrs_forbid_extra_keys=strict,
                _cattrs_detailed_validation=False,
            )
            return _structure_message(cast("Structure", generated))
        case _:  # pragma: no cover
            assert_never(shape)


def _structure_choice(words: frozenset[str]) -> Structure:
    def structure(value: Any, _: Any) -> Any:
        if value not in words:
            raise Refused
        return value

    return structure


def _structure_nullable(inner: Structure, hint: Any) -> Structure:
    def structure(value: Any, _: Any) -> Any:
        return None if value is None else inner(value, hint)

    return structure


def _structure_array(inner: Structure, hint: Any) -> Structure:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise Refused
        return tuple([inner(item, hint) for item in cast("Iterable[Any]", value)])

    return structure


def _structure_object(value: Any, _: Any) -> Any:
    if type(value) is not dict:
        raise Refused
    return cast("dict[str, Any]", value)


def _structure_table(inner: Structure, hint: Any) -> Structure:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Refused
        items = cast("dict[str, Any]", value).items()
        return {name: inner(item, hint) for name, item in items}

    return structure


def _structure_message(generated: Structure) -> Structure:
    def structure(value: Any, hint: Any) -> Any:
        # Generated code asks only `name in value`, which a list answers too.
        if type(value) is not dict:
            raise Refused
        return generated(value, hint)

    return structure


def _structure_event(value: Any, _: Any) -> Any:
    # By hand, as `checked_event` is, and for its reason.
    if type(value) is not dict:
        raise Refused
    given = cast("dict[str, Any]", value)
    seq, time, turn = given["seq"], given["time"], given["turn"]
    kind, data = given["type"], given["data"]
    if (
        type(seq) is not int
        or (type(time) is not float and type(time) is not int)
        or (turn is not None and type(turn) is not int)
        or type(kind) is not str
        or type(data) is not dict
    ):
        raise Refused
    return checked_event(
        seq, time if type(time) is float else float(time), turn, kind, cast("dict[str, Any]", data)
    )


def _structure_event_strict(value: Any, hint: Any) -> Any:
    event = _structure_event(value, hint)
    if len(value) != len(attrs.fields(Event)):
        raise Refused
    return event


def _make_unstructure(converter: Converter, hint: Any) -> Unstructure:
    shape = shape_of(hint)
    match shape:
        case Primitive(kind):
            return _unstructure_float if kind is float else _unstructure_same
        case Anything() | Choice() | Table(Anything() | Primitive()):
            return _unstructure_same
        case Nullable():
            inner = converter.get_unstructure_hook(hint.__args__[0])
            return inner if inner is _unstructure_same else _unstructure_nullable(inner)
        case Array():
            inner = converter.get_unstructure_hook(hint.__args__[0])
            return list if inner is _unstructure_same else _unstructure_array(inner)
        case Table():
            return _unstructure_table(converter.get_unstructure_hook(hint.__args__[1]))
        case Message(cls):
            if cls is Event:
                return _unstructure_event
            return cast("Unstructure", make_dict_unstructure_fn(cls, converter))
        case _:  # pragma: no cover
            assert_never(shape)


def _unstructure_same(value: Any) -> Any:
    return value


def _unstructure_float(value: Any) -> Any:
    # orjson would write null, and the reader would blame whoever it is for leaving it out.
    if not isfinite(value):
        raise Refused(f"{value} is no JSON number; leave the field out or give a finite one")
    return value


def _unstructure_nullable(inner: Unstructure) -> Unstructure:
    def unstructure(value: Any) -> Any:
        return None if value is None else inner(value)

    return unstructure


def _unstructure_array(inner: Unstructure) -> Unstructure:
    def unstructure(value: Any) -> Any:
        return [inner(item) for item in value]

    return unstructure


def _unstructure_table(inner: Unstructure) -> Unstructure:
    def unstructure(value: Any) -> Any:
        return {name: inner(item) for name, item in value.items()}

    return unstructure


def _unstructure_event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "time": event.time,
        "turn": event.turn,
        "type": event.type,
        "data": event.data,
    }
