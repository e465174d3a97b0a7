"""Journals as files of JSON lines, read without any code of ours.

Owns the naming of segments and the reading; a line that is not JSON is a complaint, not an
exception. What retention has taken is read, too: `injected/sitecustomize.py` has put it aside. Used
by `rounds` and `actors`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ledger import Tape


def read_journal(directory: str) -> Tape:
    """All events of a journal in order, and what is wrong with its lines."""
    files: dict[str, Path] = {}
    for path in sorted(Path(directory).glob("*.jsonl*")):
        files.setdefault(path.name.partition(".")[0], path)  # `.jsonl` before what is put aside
    events: list[dict[str, Any]] = []
    torn: list[str] = []
    for path in files.values():
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # retention has just taken it
            content = Path(f"{path}.trimmed").read_bytes()
        content = content.rstrip(b" ")  # the room of a writer that was killed
        if content and not content.endswith(b"\n"):
            torn.append(f"{path} ends in the middle of a line")
        for line in content.splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                torn.append(f"{path} holds {line[:80]!r}")
    kept = [first for first, path in files.items() if path.name.endswith(".jsonl")]
    return Tape(events, int(min(kept, default="1")), torn)


def read_marks(directory: str, name: str) -> list[str]:
    """The messages whose turns left a mark in a pod's directory, in order."""
    path = Path(directory, f"{name}.ran")
    return path.read_text().split() if path.exists() else []
