"""Which question `pods answer` means, and how questions are shown."""

from __future__ import annotations

import pytest

from pods.cli import render
from pods.cli.answer import _chosen  # pyright: ignore[reportPrivateUsage]  # it has no other door
from pods_protocol.errors import InvalidParams, UnknownQuestion

TWO = [{"question_id": "q1", "prompt": "may I?\x1b[2J" + "x" * 9000},
       {"question_id": "q2", "prompt": "and\nthis?"}]  # fmt: skip


def test_of_several_questions_one_has_to_be_named_and_none_moves_the_cursor() -> None:
    assert _chosen("api", ["q2", "allow"], TWO) == ("q2", "allow")
    assert _chosen("api", ["allow"], TWO[1:]) == ("q2", "allow")
    assert _chosen("api", ["q9", "allow"], TWO) == ("q9", "allow"), "a closed one is no answer"
    with pytest.raises(InvalidParams) as caught:
        _chosen("api", ["allow"], TWO)
    assert "q2: and this?" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    with pytest.raises(UnknownQuestion):
        _chosen("api", ["allow"], [])


def test_lines_stay_and_what_a_terminal_would_obey_goes() -> None:
    assert render.clean_lines("a\x1b[1A\nb\r\x9bc") == "a [1A\nb  c"
