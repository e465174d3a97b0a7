"""Turns a page of events into what a model reads, within a number of bytes.

Owns how each kind of event looks, which are always shown, and where an answer is cut: between
events, or inside the text of one that alone is too long, never inside a character. What is cut is
said by the cursor, so that the next read goes on exactly there. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import frozen

from pods_protocol.events import ASSISTANT_TEXT_KINDS, Event
from pods_tools.bookmarks import Cursor
from pods_tools.escape import escape

ALWAYS_SHOWN: Final = ("turn_ended", "question", "warning", "restarted", "stopped", "gap")
"""Beside the text: what a parent must not miss, whatever it asked for."""

MAX_ROW_LENGTH: Final = 240
"""Characters of an event that is not text; four bytes each still fit the smallest answer."""


@frozen(kw_only=True)
class Piece:
    """One event as it will be shown.

    Attributes:
        skipped: characters of the event's text that were shown before.
    """

    seq: int
    turn: int | None
    type: str
    text: str
    is_text: bool
    skipped: int = 0


@frozen(kw_only=True)
class Shown:
    """What fits.

    Attributes:
        pieces: in order; the last may be the head of a longer text.
        cursor: everything up to here is in `pieces`, or was left out on purpose.
        cut: there was more on the page.
        text: the assistant's text alone, made harmless.
        content: text and other events, in order, made harmless.
    """

    pieces: tuple[Piece, ...]
    cursor: Cursor
    cut: bool
    text: str
    content: str


def fresh_pieces(events: Iterable[Event], start: Cursor) -> list[Piece]:
    """The events after a cursor; the one that it stands in without what was shown of it."""
    pieces: list[Piece] = []
    for event in events:
        if event.seq <= start.seq:
            continue
        skipped = start.offset if event.seq == start.seq + 1 else 0
        is_text = event.type in ASSISTANT_TEXT_KINDS
        text = str(event.data.get("text", "")) if is_text else describe(event)
        if is_text and not text[skipped:]:
            continue
        pieces.append(
            Piece(
                seq=event.seq,
                turn=event.turn,
                type=event.type,
                text=text[skipped:] if is_text else text,
                is_text=is_text,
                skipped=skipped if is_text else 0,
            )
        )
    return pieces


def fit(pieces: Sequence[Piece], end: Cursor, max_bytes: int) -> Shown:
    """As much as fits `max_bytes` of UTF-8, at least a character.

    Args:
        pieces: what there is.
        end: the cursor where all of it is shown.
        max_bytes: for `content`.
    """
    chosen: list[Piece] = []
    size = 0
    for piece in pieces:
        # Two bytes for the lines' ends around it.
        size += len(escape(piece.text).encode("utf-8", "replace")) + 2
        if size > max_bytes and chosen:
            break
        chosen.append(piece)
    shown = _shown(chosen, pieces, end)
    while _bytes(shown.content) > max_bytes:
        # Rare: one long text, or a look-alike tag that stood across two events.
        if len(chosen) > 1:
            chosen.pop()
        else:
            chosen = [_head(chosen[0], _bytes(shown.content), max_bytes)]
        shown = _shown(chosen, pieces, end)
    return shown


def _head(piece: Piece, shown_bytes: int, max_bytes: int) -> Piece:
    """Shorter by at least a byte: to the bound, and then by what harmless tags add to it."""
    raw = piece.text.encode("utf-8", "replace")
    excess = shown_bytes - max_bytes
    size = max_bytes if len(raw) > max_bytes else max(len(raw) - excess, len(raw) // 2)
    kept = raw[:size].decode("utf-8", "ignore")
    return Piece(
        seq=piece.seq,
        turn=piece.turn,
        type=piece.type,
        text=kept,
        is_text=piece.is_text,
        skipped=piece.skipped,
    )


def _shown(chosen: Sequence[Piece], pieces: Sequence[Piece], end: Cursor) -> Shown:
    cursor, cut = end, False
    if chosen:
        last = chosen[-1]
        whole = pieces[len(chosen) - 1]
        if len(last.text) < len(whole.text):
            cursor, cut = Cursor(last.seq - 1, last.skipped + len(last.text)), True
        elif len(chosen) < len(pieces):
            cursor, cut = Cursor(last.seq), True
    return Shown(
        pieces=tuple(chosen),
        cursor=cursor,
        cut=cut,
        text=escape(_join([piece for piece in chosen if piece.is_text])),
        content=escape(_join(chosen)),
    )


def _join(pieces: Iterable[Piece]) -> str:
    """Pieces of text of one turn as they are; everything else on lines of its own."""
    joined = ""
    before: Piece | None = None
    for piece in pieces:
        glued = (
            before is not None
            and before.is_text
            and piece.is_text
            and before.turn == piece.turn
            and "text" not in (before.type, piece.type)
        )
        if joined and not glued and not joined.endswith("\n"):
            joined += "\n"
        joined += piece.text if piece.is_text else f"[{piece.text}]"
        before = piece
    return joined


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def describe(event: Event) -> str:
    """An event that is not text, on one line."""
    turn = "" if event.turn is None else f", turn {event.turn}"
    said = " ".join(_words(event.type, event.data).split())
    line = f"event {event.seq}{turn}: {event.type}{': ' + said if said else ''}"
    return line if len(line) <= MAX_ROW_LENGTH else line[: MAX_ROW_LENGTH - 1] + "…"


def _words(kind: str, data: dict[str, Any]) -> str:
    match kind:
        case "turn_ended":
            return outcome(
                str(data.get("stop_reason")), data.get("exit_status"), str(data.get("message", ""))
            )
        case "question":
            options = _json(data["options"]) if data.get("options") else ""
            return f"{data.get('question_id')} {data.get('prompt')} {options}"
        case "stopped":
            return f"{data.get('reason')} {data.get('message', '')}{_undelivered(data)}"
        case "thought":
            return str(data.get("text"))
        case "tool_call":
            return f"{data.get('name')} {_json(data.get('arguments'))}"
        case "tool_result":
            return ("error: " if data.get("is_error") else "") + str(data.get("summary"))
        case "message_accepted":
            return str(data.get("input"))
        case _:
            return _json(data) if data else ""


def _undelivered(data: dict[str, Any]) -> str:
    ids = data.get("undelivered")
    if not ids:
        return ""
    omitted = data.get("undelivered_omitted")
    more = f" and {omitted} more" if omitted else ""
    return f" (messages that it never took up: {', '.join(map(str, ids))}{more})"


def outcome(stop_reason: str, exit_status: Any, message: str) -> str:
    """How a turn ended, in a few words."""
    status = "" if exit_status is None else f"exit status {exit_status}"
    said = "" if message == status else message
    return f"{stop_reason}{', ' + status if status else ''}{': ' + said if said else ''}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
