"""Where a value breaks the shape of a message, in words and as a path.

Owns the slow, exact search that the codec makes once its fast hooks have refused a value. It
must judge as they do; a test compares the two, and both with the JSON Schemas. It never repeats a
value of the other side except a wrong word from a closed list: a field may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, assert_never, cast

from attrs import frozen

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

MAX_QUOTED_CHARACTERS = 60
"""Of a name or a word of the peer's that an error repeats: enough to recognise it."""

_PRIMITIVE_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


@frozen(kw_only=True)
class Fault:
    """The first thing that is wrong.

    Attributes:
        path: like `allow[0].permission`; empty for the value itself.
        expected: what should be there.
        found: what is there.
        nearest: the valid name or word that comes closest, or None.
    """

    path: str
    expected: str
    found: str
    nearest: str | None = None

    def describe(self) -> str:
        """The fault as a clause of a sentence."""
        where = f"`{self.path}` " if self.path else "it "
        text = f"{where}must be {self.expected}, not {self.found}"
        return text if self.nearest is None else f"{text}; did you mean `{self.nearest}`?"


def quote(text: str) -> str:
    """A name or word of the peer's, cut to a bearable length and made safe to print and encode."""
    cut = text if len(text) <= MAX_QUOTED_CHARACTERS else text[: MAX_QUOTED_CHARACTERS - 3] + "..."
    return ascii(cut) if not cut.isprintable() else f"`{cut}`"


def nearest_of(word: str, valid: Iterable[str]) -> str | None:
    """The valid word that is most like it, if any is."""
    close = get_close_matches(word[:MAX_QUOTED_CHARACTERS], list(valid), n=1)
    return close[0] if close else None


def find_fault(shape: Shape, value: object, *, strict: bool, path: str = "") -> Fault | None:
    """The first fault of a value, or None where it fits.

    Args:
        shape: what it should be.
        value: JSON as Python has it.
        strict: whether unknown fields are a fault.
        path: where the value stands.
    """
    match shape:
        case Anything():
            return None
        case Nullable(inner):
            return None if value is None else _or_null(inner, value, strict, path)
        case Primitive(kind):
            if type(value) is kind or (kind is float and type(value) is int):
                return None
            return Fault(path=path, expected=_PRIMITIVE_WORDS[kind], found=describe_value(value))
        case Choice(words):
            return None if value in words else _wrong_word(words, value, path)
        case Array(item):
            if type(value) is not list:
                return Fault(path=path, expected="an array", found=describe_value(value))
            for index, element in enumerate(cast("list[object]", value)):
                fault = find_fault(item, element, strict=strict, path=f"{path}[{index}]")
                if fault is not None:
                    return fault
            return None
        case Table(inner):
            if type(value) is not dict:
                return Fault(path=path, expected="an object", found=describe_value(value))
            for name, element in cast("dict[str, object]", value).items():
                fault = find_fault(inner, element, strict=strict, path=_join(path, name))
                if fault is not None:
                    return fault
            return None
        case Message(cls):
            return _in_message(cls, value, strict, path)
        case _:  # pragma: no cover
            assert_never(shape)


def describe_value(value: object) -> str:
    """What kind of JSON value it is, never the value itself."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "a string"
        case int():
            return "a whole number"
        case float():
            return "a number with a point"
        case list() | tuple():
            return "an array"
        case dict():
            return "an object"
        case _:
            return f"a Python {type(value).__name__}"


def _or_null(inner: Shape, value: object, strict: bool, path: str) -> Fault | None:
    fault = find_fault(inner, value, strict=strict, path=path)
    if fault is None or fault.path != path:
        return fault
    return Fault(
        path=fault.path,
        expected=f"{fault.expected}, or null",
        found=fault.found,
        nearest=fault.nearest,
    )


def _wrong_word(words: tuple[str, ...], value: object, path: str) -> Fault:
    expected = " or ".join(f"`{word}`" for word in words)
    if isinstance(value, str):
        return Fault(
            path=path, expected=expected, found=quote(value), nearest=nearest_of(value, words)
        )
    return Fault(path=path, expected=expected, found=describe_value(value))


def _in_message(cls: type[Any], value: object, strict: bool, path: str) -> Fault | None:
    if type(value) is not dict:
        return Fault(path=path, expected="an object", found=describe_value(value))
    given = cast("dict[str, object]", value)
    fields = fields_of(cls)
    if strict:
        # Before the missing ones: a misspelt field is both, and its name says more.
        names = [field.name for field in fields]
        for name in given:
            if name not in names:
                listed = ", ".join(f"`{known}`" for known in names)
                return Fault(
                    path=_join(path, name),
                    expected=f"one of the fields {listed}" if names else "left out",
                    found=f"the unknown field {quote(name)}",
                    nearest=nearest_of(name, names),
                )
    for field in fields:
        place = _join(path, field.name)
        if field.name not in given:
            if field.required:
                return Fault(path=place, expected="given", found="left out")
            continue
        fault = find_fault(field.shape, given[field.name], strict=strict, path=place)
        if fault is not None:
            return fault
    return None


def _join(path: str, name: str) -> str:
    if len(name) > MAX_QUOTED_CHARACTERS or not name.isidentifier():
        return f"{path}[{quote(name)}]"
    return f"{path}.{name}" if path else name
