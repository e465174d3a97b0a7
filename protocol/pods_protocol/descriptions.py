"""What the docstrings of messages say, as data: for the schemas and for the README.

Owns the reading of Google-style sections, so that a field is described once, beside its code.
Called by `schema` and `reference`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

_SECTION = re.compile(r"^(Attributes|Raises):$")
_ENTRY = re.compile(r"^    (?P<names>[A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): (?P<text>.*)$")


@frozen(kw_only=True)
class Description:
    """A docstring taken apart.

    Attributes:
        text: everything before the first section, one line a paragraph.
        attributes: field -> what it is.
        raises: error class, or several with commas -> when.
    """

    text: str
    attributes: Mapping[str, str]
    raises: Mapping[str, str]


def describe(cls: type[Any]) -> Description:
    """The description of a class of ours."""
    section = ""
    text: list[str] = []
    entries: dict[str, dict[str, str]] = {"Attributes": {}, "Raises": {}}
    names = ""
    for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
        heading = _SECTION.match(line)
        entry = _ENTRY.match(line)
        if heading is not None:
            section, names = heading[1], ""
        elif not section:
            text.append(line)
        elif entry is not None:
            names = entry["names"]
            entries[section][names] = entry["text"]
        elif line and names:
            entries[section][names] += " " + line.strip()
    return Description(
        text=_paragraphs(text),
        attributes={
            name: words
            for names, words in entries["Attributes"].items()
            for name in names.split(", ")
        },
        raises=entries["Raises"],
    )


def _paragraphs(lines: list[str]) -> str:
    paragraphs = "\n".join(lines).strip().split("\n\n")
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
