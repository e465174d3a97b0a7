"""The few kinds of field that messages are made of, told from their type hints.

Owns the reading of hints, so that the codec, the search for faults and the schemas agree on what
a message may hold. A hint outside this list is refused when hooks are made, not when a message
comes. Called by `codec`, `faults` and `schema`.
"""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs
from attrs import frozen


@frozen
class Primitive:
    """A string, a whole number, a number, or true/false."""

    kind: type[str] | type[int] | type[float] | type[bool]


@frozen
class Anything:
    """Any JSON value."""


@frozen
class Choice:
    """One of a closed list of words."""

    words: tuple[str, ...]


@frozen
class Array:
    """Any number of items of one kind."""

    item: Shape


@frozen
class Table:
    """An object with free names and values of one kind."""

    value: Shape


@frozen
class Nullable:
    """null, or the shape."""

    inner: Shape


@frozen
class Message:
    """An object with the fields of an attrs class."""

    cls: type[Any]


Shape: TypeAlias = Primitive | Anything | Choice | Array | Table | Nullable | Message


@frozen
class Field:
    """One field of a message.

    Attributes:
        name: in Python and on the wire.
        shape: what it holds.
        required: whether it has no default.
    """

    name: str
    shape: Shape
    required: bool


_PRIMITIVES: dict[Any, Primitive] = {kind: Primitive(kind) for kind in (str, int, float, bool)}


def shape_of(hint: Any) -> Shape:
    """The shape of a type hint.

    Raises:
        TypeError: the hint is none that a message may have.
    """
    primitive = _PRIMITIVES.get(hint)
    if primitive is not None:
        return primitive
    if hint is Any:
        return Anything()
    if isinstance(hint, type) and attrs.has(hint):
        return Message(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal and all(isinstance(word, str) for word in arguments):
        return Choice(arguments)
    if origin in (Union, UnionType) and len(arguments) == 2 and arguments[1] is type(None):
        return Nullable(shape_of(arguments[0]))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return Array(shape_of(arguments[0]))
    if origin is list:
        return Array(shape_of(arguments[0]))
    if origin is dict and arguments[0] is str:
        return Table(shape_of(arguments[1]))
    raise TypeError(f"cannot put {hint!r} into a message: it has no place in the protocol")


_fields: dict[type[Any], tuple[Field, ...]] = {}


def fields_of(cls: type[Any]) -> tuple[Field, ...]:
    """The fields of a message class, in order."""
    known = _fields.get(cls)
    if known is None:
        attributes: tuple[attrs.Attribute[Any], ...] = attrs.fields(attrs.resolve_types(cls))
        known = _fields[cls] = tuple(
            Field(
                name=attribute.name,
                shape=shape_of(attribute.type),
                required=attribute.default is attrs.NOTHING,
            )
            for attribute in attributes
        )
    return known
