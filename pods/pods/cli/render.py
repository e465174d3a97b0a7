"""Text for people: tables, ages, sizes, colours.

Owns how things look. Colours only on a terminal and without NO_COLOR. No rich: a table of a hundred
rows must not cost a hundred milliseconds of imports. Used by the verb files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, TextIO

COLOURS: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}

STATE_COLOURS: Final = {
    "working": "green",
    "idle": "blue",
    "waiting": "yellow",
    "paused": "yellow",
    "starting": "cyan",
    "stopping": "yellow",
    "stopped": "dim",
    "failed": "red",
    "lost": "red",
}

MAX_CELL_LENGTH: Final = 60
"""Characters of one cell; the whole value is in `inspect` and `--json`."""

MIN_FITTED_LENGTH: Final = 12
"""What a column keeps where a terminal is too narrow for its table: of a path, its last names."""

_AGES: Final = ((86400, "d"), (3600, "h"), (60, "m"))


def command(supervisor: str | None) -> str:
    """How a hint begins that goes to the same supervisor as the verb that gives it.

    Args:
        supervisor: what was given as `--supervisor`.
    """
    return "pods" if supervisor is None else f"pods --supervisor {supervisor}"


def write(text: str, stream: TextIO | None = None) -> None:
    """Write what an agent or a person said, whatever the terminal can show of it."""
    target = stream or sys.stdout
    try:
        target.write(text)
    except UnicodeEncodeError:
        encoding = target.encoding or "ascii"
        target.write(text.encode(encoding, "replace").decode(encoding))


def flush() -> None:
    """Let what was written be seen (or fail) now."""
    sys.stdout.flush()


def say(text: str = "") -> None:
    """One line on standard output."""
    write(text + "\n")


def note(text: str) -> None:
    """One line on standard error, for people: it is no part of the answer."""
    sys.stdout.flush()
    write(f"pods: {text}\n", sys.stderr)


def say_json(document: Any) -> None:
    """One JSON document on one line."""
    say(json.dumps(document, separators=(",", ":")))


def coloured(stream: TextIO | None = None) -> bool:
    """Whether to use colours on this stream."""
    target = stream or sys.stdout
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and target.isatty()


def paint(text: str, colour: str, *, on: bool) -> str:
    """`text` in a colour, if colours are on."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if on and text else text


def clean(text: str) -> str:
    """`text` on one line and without control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def clean_lines(text: str) -> str:
    """`text` in its lines, without other control characters."""
    return "\n".join(map(clean, text.split("\n")))


def cell(value: Any) -> str:
    """A value in a table: short, on one line, `-` where there is none."""
    if value is None or value == "":
        return "-"
    text = clean(str(value))
    return text if len(text) <= MAX_CELL_LENGTH else text[: MAX_CELL_LENGTH - 1] + "…"


def terminal_columns(stream: TextIO | None = None) -> int | None:
    """How wide the terminal of this stream is; None where it has none, or one that cannot tell."""
    target = stream or sys.stdout
    if not target.isatty():
        return None
    try:
        columns = os.environ.get("COLUMNS") or os.get_terminal_size(target.fileno()).columns
        return int(columns) or None
    except (OSError, ValueError):
        return None


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    state: int = -1,
    fit: int = -1,
    columns: int | None = None,
) -> str:
    """Aligned columns, two spaces apart.

    Args:
        headers: the titles.
        rows: cells, already short.
        state: the column to colour as a pod's state; -1 is none.
        fit: the column of paths that lose their beginning where a row is too long; -1 is none.
        columns: how long a row may be; None is any length.
    """
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    if fit >= 0 and columns is not None:
        over = max(0, sum(widths) + 2 * (len(widths) - 1) - columns)
        widths[fit] = min(widths[fit], max(MIN_FITTED_LENGTH, widths[fit] - over))
    on = coloured()
    lines = [paint(_line(headers, widths), "bold", on=on)]
    for row in rows:
        padded = [_end_of(text, width) for text, width in zip(row, widths, strict=True)]
        if on and state >= 0:
            padded[state] = paint(padded[state], STATE_COLOURS.get(row[state], "dim"), on=on)
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _end_of(text: str, width: int) -> str:
    """`text` in exactly so many characters: the end of a path is what tells it from others."""
    return text.ljust(width) if len(text) <= width else "…" + text[1 - width :]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip()


def age(seconds: float) -> str:
    """How long, in one unit: `12s`, `5m`, `3h`, `2d`."""
    for size, unit in _AGES:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def size(number: int | None) -> str:
    """Bytes, in one unit."""
    if number is None:
        return "-"
    value = float(number)
    for unit in ("B", "K", "M", "G"):
        if value < 1024 or unit == "G":
            break
        value /= 1024
    return f"{value:.0f}{unit}" if value >= 10 or unit == "B" else f"{value:.1f}{unit}"


def rule(scope_rule: dict[str, Any]) -> str:
    """A scope rule: `write /src` or `read /src (flat)`."""
    flat = "" if scope_rule["recursive"] else " (flat)"
    return f"{scope_rule['permission']} {clean(scope_rule['target'])}{flat}"


def outcome(turn: dict[str, Any]) -> str:
    """How a turn ended: `end_turn` or `error (exit status 2): why`."""
    text = str(turn["stop_reason"])
    message = turn.get("message") or ""
    status = f"exit status {turn['exit_status']}" if turn.get("exit_status") else ""
    if status and status not in message:
        text += f" ({status})"
    return f"{text}: {message}" if message else text
