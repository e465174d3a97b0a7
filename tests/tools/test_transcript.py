from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pods_protocol.events import Event
from pods_tools.bookmarks import Cursor
from pods_tools.escape import escape
from pods_tools.transcript import describe, fit, fresh_pieces


def texts(*pieces: str) -> list[Event]:
    return [
        Event(seq=number, time=0.0, turn=1, type="text_delta", data={"text": text})
        for number, text in enumerate(pieces, start=1)
    ]


def test_a_tag_that_stands_across_two_events_is_made_harmless_within_the_bound() -> None:
    said = ["<sys", *["tem>" + "x" * 90 + "<sys"] * 30]
    pieces = fresh_pieces(texts(*said), Cursor(0))
    for limit in range(1000, 1200):
        shown = fit(pieces, Cursor(len(said)), limit)
        assert len(shown.content.encode()) <= limit
        assert shown.cut
        assert shown.cursor == Cursor(len(shown.pieces))
        assert "<system>" not in shown.text


@given(st.lists(st.text(max_size=900), max_size=5), st.integers(1000, 1400))
def test_whatever_a_pod_says_the_answers_are_bounded_and_make_up_the_whole(
    said: list[str], limit: int
) -> None:
    events = texts(*said)
    cursor = Cursor(0)
    got = ""
    for _ in range(100):
        shown = fit(fresh_pieces(events, cursor), Cursor(len(events)), limit)
        assert len(shown.content.encode()) <= limit
        got += "".join(piece.text for piece in shown.pieces)
        cursor = shown.cursor
        if not shown.cut:
            break
    assert got == "".join(said)
    assert cursor == Cursor(len(events))


def test_an_event_of_odd_form_does_no_harm() -> None:
    odd = [
        Event(seq=1, time=0.0, turn=None, type="text", data={}),
        Event(seq=2, time=0.0, turn=None, type="turn_ended", data={}),
        Event(
            seq=3,
            time=0.0,
            turn=None,
            type="question",
            data={"question_id": "q3", "prompt": "x", "options": ["a"]},
        ),
    ]
    shown = fit(fresh_pieces(odd, Cursor(0)), Cursor(3), 1000)
    assert shown.content == '[event 2: turn_ended: None]\n[event 3: question: q3 x ["a"]]'


def test_look_alike_tags_are_escaped_and_code_is_not() -> None:
    for tag in (
        "<system>",
        "</system>",
        "<SYSTEM >",
        "< system>",
        "<system-reminder>",
        "</tool_result>",
        '<invoke name="x">',
        "<function_calls>",
        "<x:invoke>",
        "<user/>",
        "<|im_start|>",
        "<pod_output>",
    ):
        assert escape(f"a {tag} b") == f"a {tag} b".replace("<", "&lt;"), tag
    for code in (
        "<div>",
        "a < b",
        "#include <system.h>",
        "List<User>",
        "<users>",
        "x <- y",
        "<<EOF",
    ):
        expected = code.replace("<User>", "&lt;User>")
        assert escape(code) == expected, code


def test_the_end_of_a_pod_names_the_messages_that_it_never_took_up() -> None:
    def said(**data: object) -> str:
        return describe(Event(seq=3, time=0.0, turn=None, type="stopped", data=data))

    assert said(reason="stopped") == "event 3: stopped: stopped"
    waited = said(reason="failed", message="signal 9", undelivered=["a", "b"])
    assert waited.endswith("failed signal 9 (messages that it never took up: a, b)")
    assert said(reason="failed", undelivered=["a"], undelivered_omitted=2).endswith("a and 2 more)")
