"""What a pod wrote, without the values of its variables: they reach no log and no error.

Owns how a value is recognised: as it is, a line of it, and as Python and JSON write it in quotes.
One that a pod wrote in any other way (in base64, say) is not. Pure; called by `bring_up`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

MIN_HIDDEN_CHARACTERS: Final = 6
"""A shorter value is left: hiding each `1`, `true` or `debug` would leave no text to read, and
nobody's key is that short."""

MAX_HIDDEN_FORMS: Final = 1024
"""Ways to write the values, to be looked for while everybody else waits. A text that may hold more
of them is withheld."""

MAX_CUT_CHARACTERS: Final = 1024
"""At the end of a text that was cut off: the piece of a value that may stand there. An agent's own
words are cut at half of that."""

HIDDEN: Final = "<hidden>"
WITHHELD: Final = "<withheld: the pod has too many variables to look for their values in here>"
CUT: Final = "..."


def hide(text: str, values: Iterable[str]) -> str:
    """The text without these values, and without the piece of one that is cut off at its end."""
    forms = {form for value in values for form in _forms(value)}
    if len(forms) > MAX_HIDDEN_FORMS:
        return WITHHELD
    ordered = sorted(forms, key=len, reverse=True)  # one may be a part of another
    for form in ordered:
        text = text.replace(form, HIDDEN)
    whole = text.removesuffix(CUT)
    for form in ordered:
        at = _cut_off(whole, form)
        if at is not None:
            return whole[:at] + HIDDEN + text[len(whole) :]
    return text


def longest(values: Iterable[str]) -> int:
    """Bytes of the longest way to write one of them."""
    return max((len(form.encode()) for value in values for form in _forms(value)), default=0)


def _forms(value: str) -> set[str]:
    quoted = {repr(value)[1:-1], ascii(value)[1:-1], json.dumps(value)[1:-1]}
    lines = {line.strip() for line in value.splitlines()}  # a traceback may indent each
    return {form for form in {value} | quoted | lines if len(form) >= MIN_HIDDEN_CHARACTERS}


def _cut_off(text: str, form: str) -> int | None:
    """Where the beginning of a value begins with which the text ends."""
    at = max(0, len(text) - MAX_CUT_CHARACTERS)
    while (at := text.find(form[:MIN_HIDDEN_CHARACTERS], at)) >= 0:
        if form.startswith(text[at:]):
            return at
        at += 1
    return None
