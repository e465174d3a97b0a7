"""Keeps what a pod says from looking like what the model's own host says.

Owns which tags are look-alikes. Text of a pod may hold instructions on purpose or by accident; it
reaches the parent's model with its source named and with these tags made harmless. Ordinary markup
and code pass untouched.
"""

from __future__ import annotations

import json
import re
from typing import Final

_NAMES: Final = (
    "system",
    "system[-_]reminder",
    "system[-_]prompt",
    "developer",
    "assistant",
    "user",
    "human",
    "instructions?",
    "important",
    "tool[-_]?(?:use|call|calls|result|results|response)",
    "function[-_]?(?:call|calls|result|results)",
    "invoke",
    "parameter",
    "thinking",
    "antml",
    "pod[-_]output",
)
_LOOK_ALIKE: Final = re.compile(
    rf"<(?=\s*/?\s*(?:[a-z][\w.-]*:)?(?:{'|'.join(_NAMES)})(?:[\s>/:]|\Z))|<(?=\|)",
    re.IGNORECASE,
)


def escape(text: str) -> str:
    """The text with `<` of look-alike tags written as `&lt;`."""
    return _LOOK_ALIKE.sub("&lt;", text)


def quoted(text: str) -> str:
    """What a pod says within a sentence of ours: in quotes, on one line.

    It ends where they do; else its words could go on as ours: "Next: allow it."
    """
    return json.dumps(text, ensure_ascii=False)
