"""Judges the arguments of a call and words what is wrong with them.

Owns the checking by jsonschema and the sentences: which field, what was expected, what is near,
what a right call looks like. jsonschema is imported at the first call, and each tool's validator is
made once. Never repeats a value except a short name or path: a field may hold anything.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from pods_protocol.errors import InvalidParams, ParseError
from pods_protocol.faults import describe_value, nearest_of, quote
from pods_tools.fields import PATTERN_WORDS
from pods_tools.result import ToolResult
from pods_tools.schema import build, hints_of, input_schema, object_branch, synonyms
from pods_tools.tool import Tool

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_TYPE_WORDS: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
_ORDER: Final = {"additionalProperties": 0, "required": 1, "enum": 2}
"""An unknown field is often a missing one misspelt: its name says more. So do the right words of a
choice, where the type is wrong too."""


def read_arguments(tool: Tool, arguments: object) -> Any:
    """The tool's input class, filled.

    Args:
        tool: which.
        arguments: a mapping, or the JSON text of one as some vendors send it. A null stands for
            a field left out.

    Raises:
        ParseError: text that is not a JSON object.
        InvalidParams: `data` has `path`, `example` and where one is near `nearest`.
    """
    given = _as_object(tool, arguments)
    error = min(
        _validator(tool.input).iter_errors(given), key=lambda error: _rank(error), default=None
    )
    if error is not None:
        raise _refusal(tool, error)
    for path, value in _numbers(tool.input, given):
        if not math.isfinite(value):
            raise _wrong(tool, path, f"`{path}` must be a finite number")
    return build(tool.input, given)


def example_of(tool: Tool) -> str:
    """A right call, as text."""
    return f"{tool.name} {json.dumps(tool.example)}"


_validators: dict[type[Any], Validator] = {}


def _validator(kind: type[Any]) -> Validator:
    known = _validators.get(kind)
    if known is None:
        known = _validators[kind] = _make_validator(kind)
    return known


def _make_validator(kind: type[Any]) -> Validator:
    from jsonschema import validators  # a tenth of a second that only a call has to pay

    # Of Python's regular expressions, `$` lets a newline pass at the end: match the whole instead.
    extend: Any = cast("Any", validators).extend
    strict: Any = extend(validators.Draft202012Validator, {"pattern": _whole_pattern})
    return cast("Validator", strict(input_schema(kind)))


def _whole_pattern(
    _validator: Validator, pattern: str, instance: object, _schema: object
) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    match = re.fullmatch if pattern.endswith("$") else re.match
    if isinstance(instance, str) and match(pattern, instance) is None:
        yield ValidationError("the pattern does not match")


def _as_object(tool: Tool, arguments: object) -> dict[str, Any]:
    if isinstance(arguments, str | bytes):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise ParseError(
                f"cannot read the arguments: they are not JSON. A right call: {example_of(tool)}",
                example=tool.example,
            ) from None
    if not isinstance(arguments, Mapping):
        raise _wrong(tool, "", f"the arguments must be an object, not {describe_value(arguments)}")
    given = cast("Mapping[str, Any]", arguments)
    return {name: value for name, value in given.items() if value is not None}


def _rank(error: Any) -> tuple[int, str]:
    return _ORDER.get(str(error.validator), 3), error.json_path


def _refusal(tool: Tool, error: Any) -> InvalidParams:
    error = _innermost(error)
    path = _path(error.absolute_path)
    shown = f"`{path}`" if path else "the call"
    limit: Any = error.validator_value
    found = error.instance
    match error.validator:
        case "additionalProperties":
            return _unknown_field(tool, error, path)
        case "required":
            missing = next(name for name in limit if name not in found)
            place = f"{path}.{missing}" if path else str(missing)
            return _wrong(tool, place, f"`{place}` is missing")
        case "enum":
            near = nearest_of(found, limit) if isinstance(found, str) else None
            expected = f"{shown} must be one of {', '.join(json.dumps(word) for word in limit)}"
            return _wrong(tool, path, f"{expected}, not {_found(found)}", near)
        case "type":
            return _wrong(tool, path, f"{shown} must be {_TYPE_WORDS[limit]}, not {_found(found)}")
        case "anyOf":
            expected = " or ".join(_TYPE_WORDS[branch["type"]] for branch in limit)
            return _wrong(tool, path, f"{shown} must be {expected}, not {_found(found)}")
        case "pattern":
            expected = PATTERN_WORDS[limit]
            return _wrong(tool, path, f"{shown} must be {expected}, not {_found(found)}")
        case keyword:
            return _wrong(tool, path, f"{shown} must {_BOUNDS[str(keyword)].format(limit)}")


_BOUNDS: Final = {
    "minimum": "be at least {}",
    "maximum": "be at most {}",
    "exclusiveMinimum": "be above {}",
    "minLength": "have at least {} character(s)",
    "maxLength": "have at most {} characters",
    "minItems": "have at least {} item(s)",
    "maxItems": "have at most {} items",
}


def _innermost(error: Any) -> Any:
    """Of a union, the fault in the branch of the value's own type, where there is one."""
    while error.validator == "anyOf":
        branches: list[Any] = list(error.context)
        inside = [one for one in branches if one.validator != "type" or one.relative_path]
        if not inside:
            return error
        error = min(inside, key=_rank)
    return error


def _unknown_field(tool: Tool, error: Any, path: str) -> InvalidParams:
    known: dict[str, Any] = error.schema["properties"]
    name = next(str(name) for name in error.instance if name not in known)
    kind = _class_at(tool.input, error.absolute_path)
    near = synonyms(kind).get(name.lower()) or nearest_of(name, known)
    where = f" in `{path}`" if path else ""
    fields = ", ".join(f"`{field}`" for field in known) or "none"
    place = f"{path}.{name}" if path else name
    what = f"{quote(name)} is no field{where}; the fields are: {fields}"
    return _wrong(tool, place[:200], what, near)


def _class_at(kind: type[Any], path: Iterable[str | int]) -> type[Any]:
    for step in path:
        if isinstance(step, str):
            kind = object_branch(hints_of(kind)[step]) or kind
    return kind


def _wrong(tool: Tool, path: str, what: str, near: str | None = None) -> InvalidParams:
    hint = f"; did you mean `{near}`?" if near is not None else "."
    data: dict[str, Any] = {"path": path, "example": tool.example}
    if near is not None:
        data["nearest"] = near
    return InvalidParams(
        f"cannot take these arguments: {what}{hint} Nothing was done. "
        f"A right call: {example_of(tool)}",
        **data,
    )


def unknown_tool(name: str, known: Iterable[str]) -> ToolResult:
    """The answer to a call of a tool that there is not."""
    names = list(known)
    folded = {_fold(one): one for one in names}
    near = folded.get(_fold(name)) or nearest_of(name, names)
    hint = f" Did you mean {near}?" if near is not None else ""
    data: dict[str, Any] = {"code": "invalid_params", "retryable": False, "path": "name"}
    if near is not None:
        data["nearest"] = near
    return ToolResult(
        summary=f"cannot call {quote(name)}: there is no such tool.{hint} Nothing was done. The "
        f"tools are: {', '.join(names)}.",
        data=data,
        is_error=True,
    )


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _found(value: object) -> str:
    return quote(value) if isinstance(value, str) else describe_value(value)


def _path(steps: Iterable[str | int]) -> str:
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _numbers(
    kind: type[Any], given: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, float]]:
    """The declared numbers; a free-form object's are the wire's to judge."""
    for name, hint in hints_of(kind).items():
        value = given.get(name)
        if isinstance(value, float):
            yield f"{prefix}{name}", value
        elif isinstance(value, dict):
            inner = object_branch(hint)
            if inner is not None:
                yield from _numbers(inner, cast("dict[str, Any]", value), f"{prefix}{name}.")
