"""Cutting, decoding and joining text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pods.agents.text import Coalescer, Decoder, clean, shorten, split_text


@settings(max_examples=100)
@given(st.text(max_size=60), st.integers(min_value=4, max_value=20))
def test_pieces_are_bounded_and_make_up_the_text(text: str, bound: int) -> None:
    pieces = split_text(text, bound)
    assert "".join(pieces) == clean(text)
    assert all(0 < len(piece.encode()) <= bound for piece in pieces)


def test_halves_of_characters_are_replaced() -> None:
    assert clean("a\ud800b") == "a?b"
    assert split_text("\udcff") == ["?"]


def test_what_is_cut_says_how_much() -> None:
    assert shorten("äöü", 100) == "äöü"
    assert shorten("äöü", 3) == "ä\n[cut here: 4 more bytes]"


@settings(max_examples=100)
@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_bytes_decode_the_same_however_they_come(data: bytes, cuts: list[int]) -> None:
    decoder = Decoder()
    text, at = "", 0
    for cut in sorted(cuts):
        text += decoder.feed(data[at:cut])
        at = max(at, cut)
    text += decoder.feed(data[at:]) + decoder.end()
    assert text == data.decode("utf-8", "replace")


@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(st.none(), st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(max_size=9)))
    )
)
def test_joined_output_is_complete_bounded_and_in_order(
    given: list[tuple[str, str] | None],
) -> None:
    events: list[tuple[str, str]] = []
    coalescer = Coalescer(lambda stream, text: events.append((stream, text)), max_bytes=8)
    for one in given:
        if one is None:
            coalescer.flush()
            assert len(coalescer) == 0
        else:
            coalescer.feed(*one)
            assert len(coalescer) <= 8
    coalescer.flush()

    def characters(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(stream, character) for stream, text in pieces for character in text]

    assert characters(events) == characters([one for one in given if one])
    assert all(0 < len(text.encode()) <= 8 for _, text in events)
