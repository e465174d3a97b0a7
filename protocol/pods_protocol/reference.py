"""The generated parts of the room's README: methods, errors, event kinds, the state diagram.

Owns their text, made from the same tables that the code runs on. `python -m
pods_protocol.reference` puts it between the README's marks and a test compares. Nothing at run
time imports it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NotRequired, assert_never, get_args, get_origin, get_type_hints

from pods_protocol import errors, states
from pods_protocol.api import Api
from pods_protocol.descriptions import describe
from pods_protocol.events import EVENT_KINDS
from pods_protocol.schema import defaults_of
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

README = Path(__file__).parents[1] / "README.md"

_WORDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def sections() -> dict[str, str]:
    """Every generated part: its mark -> its text."""
    return {
        "states": f"```text\n{states.draw()}```\n",
        "errors": _errors(),
        "events": _events(),
        **{api.name: _api(api) for api in APIS.values()},
        "values": _values(),
    }


def fill(readme: str) -> str:
    """The README with every generated part made anew.

    Raises:
        ValueError: a part's marks are missing.
    """
    for name, text in sections().items():
        marked = re.compile(rf"<!-- begin {name} -->\n.*?<!-- end {name} -->", re.DOTALL)
        found = marked.search(readme)
        if found is None:
            raise ValueError(f"cannot fill {name} in: the README has no marks for it")
        filled = f"<!-- begin {name} -->\n\n{text}\n<!-- end {name} -->"
        readme = readme[: found.start()] + filled + readme[found.end() :]
    return readme


def _errors() -> str:
    rows = ["| code | number | exit | again? | meaning |", "| --- | --- | --- | --- | --- |"]
    for code, kind in errors.ERROR_CLASSES.items():
        again = "yes" if kind.RETRYABLE else ""
        rows.append(f"| `{code}` | {kind.NUMBER} | {kind.EXIT_CODE} | {again} | {_cell(kind)} |")
    return "\n".join(rows) + "\n"


def _events() -> str:
    rows = ["| kind | `data` | meaning |", "| --- | --- | --- |"]
    for name, cls in EVENT_KINDS.items():
        total = getattr(cls, "__total__", True)
        hints = get_type_hints(cls, include_extras=True)
        fields = ", ".join(_event_field(field, hint, total) for field, hint in hints.items())
        rows.append(f"| `{name}` | {fields} | {_cell(cls)} |")
    return "\n".join(rows) + "\n"


def _event_field(name: str, hint: Any, total: bool) -> str:
    optional = get_origin(hint) is NotRequired
    shape = shape_of(get_args(hint)[0] if optional else hint)
    return f"`{name}{'?' if optional or not total else ''}`: {_word(shape)}"


def _api(api: Api) -> str:
    parts: list[str] = []
    for name, method in api.methods.items():
        description = describe(method.request)
        parts.append(f"#### `{name}`\n\n{description.text}\n")
        parts.append(_fields(method.request, "Params"))
        parts.append(_fields(method.result, "Result"))
        if description.raises:
            refusals = "; ".join(
                f"{_codes(names)}: {why.rstrip('.')}" for names, why in description.raises.items()
            )
            parts.append(f"Errors: {refusals}.\n")
    for name, cls in api.notifications.items():
        parts.append(f"#### notification `{name}`\n\n{describe(cls).text}\n")
        parts.append(_fields(cls, "Params"))
    return "\n".join(parts)


def _values() -> str:
    seen: list[type[Any]] = []
    roots: list[type[Any]] = []
    for api in APIS.values():
        for method in api.methods.values():
            roots += [method.request, method.result]
        roots += api.notifications.values()
    for root in roots:
        for field in fields_of(root):
            _collect(field.shape, seen)
    return "\n".join(
        f"#### {cls.__name__}\n\n{describe(cls).text}\n\n{_fields(cls, 'Fields')}" for cls in seen
    )


def _collect(shape: Shape, seen: list[type[Any]]) -> None:
    match shape:
        case Array(inner) | Table(inner) | Nullable(inner):
            _collect(inner, seen)
        case Message(cls):
            if cls not in seen:
                seen.append(cls)
                for field in fields_of(cls):
                    _collect(field.shape, seen)
        case Anything() | Primitive() | Choice():
            pass
        case _:  # pragma: no cover
            assert_never(shape)


def _fields(cls: type[Any], heading: str) -> str:
    fields = fields_of(cls)
    if not fields:
        return f"{heading}: an empty object.\n"
    description = describe(cls)
    defaults = defaults_of(cls)
    said = "" if heading != "Result" else f" ({cls.__name__}). {description.text}"
    lines = [f"{heading}{said}\n"]
    for field in fields:
        line = f"- `{field.name}` ({_word(field.shape)}"
        if field.name in defaults:
            line += f"; default `{json.dumps(defaults[field.name], ensure_ascii=False)}`"
        line += ")"
        if field.name in description.attributes:
            line += f": {description.attributes[field.name]}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _word(shape: Shape) -> str:
    match shape:
        case Anything():
            return "any JSON"
        case Primitive(kind):
            return _WORDS[kind]
        case Choice(words):
            return " or ".join(f"`{word}`" for word in words)
        case Array(item):
            return f"array of {_word(item)}"
        case Table(value):
            return f"object of {_word(value)}"
        case Nullable(inner):
            return f"{_word(inner)} or null"
        case Message(cls):
            return cls.__name__
        case _:  # pragma: no cover
            assert_never(shape)


def _codes(names: str) -> str:
    return ", ".join(f"`{getattr(errors, name).CODE}`" for name in names.split(", "))


def _cell(cls: type[Any]) -> str:
    return describe(cls).text.replace("\n", " ").replace("|", "\\|")


if __name__ == "__main__":  # pragma: no cover - it rewrites committed files
    README.write_text(fill(README.read_text(encoding="utf-8")), encoding="utf-8")
