"""Journals as files of JSON lines, read without any code of ours.

Owns the naming of segments and the reading; a line that is not JSON is a complaint, not an
exception. Used by `rounds`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_journal(directory: str) -> tuple[list[dict[str, Any]], list[str]]:
    """All events of a journal in order, and what is wrong with its lines."""
    events: list[dict[str, Any]] = []
    wrong: list[str] = []
    for path in sorted(Path(directory).glob("*.jsonl")):
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            wrong.append(f"{path} ends in the middle of a line")
        for line in content.splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                wrong.append(f"{path} holds {line[:80]!r}")
    return events, wrong


def read_marks(directory: str, name: str) -> list[str]:
    """The messages whose turns left a mark in a pod's directory, in order."""
    path = Path(directory, f"{name}.ran")
    return path.read_text().split() if path.exists() else []
